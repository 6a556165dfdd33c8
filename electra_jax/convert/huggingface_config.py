"""A config.json of Hugging Face: classes and sizes of ours, and the section ``model`` that theirs become."""

from collections.abc import Mapping
from typing import Any

from electra_jax.config.fields import MAX_SIZE
from electra_jax.convert.names import Network
from electra_jax.convert.weights import Weights
from electra_jax.errors import UserError
from electra_jax.model.sizes import EncoderSizes

ARCHITECTURES: dict[Network, str] = {
    "discriminator": "ElectraForPreTraining",
    "generator": "ElectraForMaskedLM",
}
ENCODER_ARCHITECTURE = "ElectraModel"
CAUSAL_ARCHITECTURE = "ElectraForCausalLM"


def declared_class(settings: Mapping[str, Any]) -> str | None:
    """Return the class that a config.json names."""
    named = settings.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else None


def check_numbers(path: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse settings that are no numbers, of those whose defaults are.

    Raises:
        UserError: one is none, or is too large.
    """
    for key, default in defaults.items():
        number = isinstance(settings[key], int | float) and not isinstance(settings[key], bool)
        if type(default) in (int, float) and not (number and isinstance(settings[key], int | type(default))):
            raise UserError(f"{path}: {key} is {settings[key]!r}, but must be a number such as {default}")
        if type(default) is int and abs(settings[key]) > MAX_SIZE:
            raise UserError(f"{path}: {key} is {settings[key]:.6g}, but must be a number such as {default}")
    if settings["vocab_size"] < 1:
        raise UserError(f"{path}: vocab_size is {settings['vocab_size']}, but must be a number such as 30522")


def model_section(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section ``model`` of an ELECTRA with this config.json, defaults included."""
    return {
        "hidden_size": settings["hidden_size"],
        "num_layers": settings["num_hidden_layers"],
        "num_heads": settings["num_attention_heads"],
        "intermediate_size": settings["intermediate_size"],
        "embedding_size": settings["embedding_size"],
        "max_positions": settings["max_position_embeddings"],
        "type_vocab_size": settings["type_vocab_size"],
        "hidden_dropout": settings["hidden_dropout_prob"],
        "attention_dropout": settings["attention_probs_dropout_prob"],
        "initializer_range": settings["initializer_range"],
        "layer_norm_epsilon": settings["layer_norm_eps"],
    }


def config_json(
    weights: Weights, architecture: str, encoder: EncoderSizes, embedding_size: int
) -> dict[str, Any]:
    """Return the content of config.json with every value spelled out, so that no version's defaults matter."""
    model = weights.config.model
    return {
        "architectures": [architecture],
        "model_type": "electra",
        "vocab_size": weights.vocab_size,
        "embedding_size": embedding_size,
        "hidden_size": encoder.hidden_size,
        "num_hidden_layers": encoder.num_layers,
        "num_attention_heads": encoder.num_heads,
        "intermediate_size": encoder.intermediate_size,
        "hidden_act": "gelu",
        "hidden_dropout_prob": model.hidden_dropout,
        "attention_probs_dropout_prob": model.attention_dropout,
        "max_position_embeddings": model.max_positions,
        "type_vocab_size": model.type_vocab_size,
        "initializer_range": model.initializer_range,
        "layer_norm_eps": model.layer_norm_epsilon,
        "pad_token_id": 0 if weights.tokenizer is None else weights.tokenizer.pad_id,
        "tie_word_embeddings": True,
        "classifier_dropout": None,
        "summary_type": "first",
        "summary_use_proj": True,
        "summary_activation": "gelu",
        "summary_last_dropout": 0.1,
        "use_cache": True,
        "dtype": "float32",
    }
