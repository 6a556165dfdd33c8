"""A config.json of Hugging Face's ModernBERT, which is what ``model.block=modern`` is there: written and read.

Read, it says what an ELECTRA's says by the names of that one (see `huggingface_config`), and besides ``block`` and what
only modern blocks have. Source: transformers, ``configuration_modernbert.py``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from electra_jax.convert.huggingface_config import check_numbers
from electra_jax.convert.names import Network
from electra_jax.convert.weights import Weights
from electra_jax.errors import UserError
from electra_jax.model.sizes import EncoderSizes

MODEL_TYPE = "modernbert"
ARCHITECTURES: dict[Network, str] = {
    "discriminator": "ModernBertForTokenClassification",
    "generator": "ModernBertForMaskedLM",
}
ENCODER_ARCHITECTURE = "ModernBertModel"
# By kind of task.
HEAD_ARCHITECTURES: Mapping[str, str] = {
    "classification": "ModernBertForSequenceClassification",
    "regression": "ModernBertForSequenceClassification",
    "tagging": "ModernBertForTokenClassification",
    "question_answering": "ModernBertForQuestionAnswering",
    "multiple_choice": "ModernBertForMultipleChoice",
}
FULL, SLIDING = "full_attention", "sliding_attention"
_LAST = "classifier.weight"  # of every head but the one over the vocabulary
# What only modern blocks have, in settings that were read.
ATTENTION_KEYS = ("window", "global_every", "rope_theta", "rope_theta_global")

# What `transformers` takes for keys that config.json lacks.
_DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 50368,
    "hidden_size": 768,
    "intermediate_size": 1152,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "max_position_embeddings": 8192,
    "initializer_range": 0.02,
    "norm_eps": 1e-5,
    "attention_dropout": 0.0,
    "mlp_dropout": 0.0,
    "local_attention": 128,
    "global_attn_every_n_layers": 3,
}
# The only values there are in the released models, and here.
_FIXED: Mapping[str, Any] = {
    "hidden_activation": "gelu",
    "classifier_activation": "gelu",
    "norm_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
    "classifier_bias": False,
    "decoder_bias": True,
    "tie_word_embeddings": True,
}


def read_modernbert_settings(where: str, described: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config.json says by ELECTRA's names, with defaults.

    Args:
        where: the file, for messages.
        described: its content.

    Raises:
        UserError: something that the modern block cannot compute, or of the wrong type.
    """
    settings = {**_DEFAULTS, **described}
    for key, value in _FIXED.items():
        if settings.get(key, value) != value:
            raise UserError(f"{where}: {key} is {settings[key]!r}, and only {value!r} is supported")
    check_numbers(where, settings, _DEFAULTS)
    return {
        **settings,
        "block": "modern",
        "type_vocab_size": 2,
        "embedding_size": settings["hidden_size"],
        "hidden_dropout_prob": settings["mlp_dropout"],
        "attention_probs_dropout_prob": settings["attention_dropout"],
        "layer_norm_eps": settings["norm_eps"],
        "is_decoder": False,
        **_attention(where, settings),
    }


def modern_section(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the section ``model`` has besides what it has for ELECTRA."""
    section = {"block": "modern", "rope_theta": settings["rope_theta"]}
    if settings["window"] is None:
        return section
    theta = settings["rope_theta_global"]
    return {
        **section,
        "rope_theta_global": None if theta == settings["rope_theta"] else theta,
        "local_attention": {"window": settings["window"], "global_every": settings["global_every"]},
    }


def _attention(where: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return which layers have a window and how wide it is, and the bases of the wavelengths of positions.

    Raises:
        UserError: the layers follow no pattern that there is here, or positions are scaled.
    """
    layers, every = settings["num_hidden_layers"], settings["global_attn_every_n_layers"]
    kinds = settings.get("layer_types")
    if kinds is None:
        kinds = _layer_types(layers, every)
    known = isinstance(kinds, list) and all(kind in (FULL, SLIDING) for kind in kinds)
    if not known or len(kinds) != layers:
        raise UserError(f"{where}: layer_types must be {FULL} or {SLIDING} for each of {layers} layers")
    if _layer_types(layers, every) != kinds:
        every = next((number for number in range(1, len(kinds)) if kinds[number] == FULL), max(layers, 2))
    if _layer_types(layers, every) != kinds:
        raise UserError(
            f"{where}: its layers with {FULL} are not the first and every so many after it, and only that is supported"
        )
    theta = _theta(where, settings, FULL, "global_rope_theta", 160_000.0)
    if every < 2:
        return {"window": None, "rope_theta": theta}
    window = settings["local_attention"] // 2 * 2  # as many tokens on each side
    if window < 2:
        raise UserError(f"{where}: local_attention is {settings['local_attention']}, but must be at least 2")
    if window > settings["max_position_embeddings"]:
        raise UserError(
            f"{where}: local_attention {settings['local_attention']} is above max_position_embeddings "
            f"{settings['max_position_embeddings']}, so no layer is local, and that is not supported: where it is "
            "meant, make every layer full_attention"
        )
    default = theta if settings.get("local_rope_theta", 0) is None else 10_000.0  # null is that of the others
    local_theta = _theta(where, settings, SLIDING, "local_rope_theta", default)
    return {
        "window": window,
        "global_every": every,
        "rope_theta": local_theta,
        "rope_theta_global": theta,
    }


def _layer_types(layers: int, every: int) -> list[str]:
    return [SLIDING if number % max(1, every) else FULL for number in range(layers)]


def _theta(where: str, settings: Mapping[str, Any], kind: str, older: str, default: float) -> float:
    """Return the base of the wavelengths in one kind of layer, as transformers 5 or 4 writes it."""
    given = settings.get("rope_parameters") or {}
    rope = (given.get(kind) or {}) if isinstance(given, Mapping) else None
    if (
        not isinstance(rope, Mapping)
        or settings.get("rope_scaling")
        or rope.get("rope_type", "default") != "default"
    ):
        raise UserError(f"{where} scales its rotary positions, and only rope_type 'default' is supported")
    theta = rope.get("rope_theta", settings.get(older))
    theta = default if theta is None else theta
    if not isinstance(theta, int | float) or isinstance(theta, bool) or not 1 < theta < 1e30:
        raise UserError(
            f"{where}: rope_theta of {kind} is {theta!r}, but must be a number such as {default:g}"
        )
    return float(theta)


def is_fine_tuned(named: str | None, tensors: Mapping[str, np.ndarray]) -> bool:
    """Return whether tensors are those of a head of fine-tuning, by the class that config.json names.

    Token classification with one label is a discriminator.
    """
    if named not in HEAD_ARCHITECTURES.values() or _LAST not in tensors:
        return False
    return named != ARCHITECTURES["discriminator"] or tensors[_LAST].shape[:1] != (1,)


def check_modernbert_class(where: str, named: str | None, tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Return a note where the tensors do not fit the class that config.json names.

    Args:
        where: the folder, for messages.
        named: the class.
        tensors: by name.

    Raises:
        UserError: a head that is not there, or of which nothing says what it is.
    """
    there, heads = ENCODER_ARCHITECTURE, sorted({*HEAD_ARCHITECTURES.values()})
    if "decoder.bias" in tensors:
        there = ARCHITECTURES["generator"]
    elif _LAST in tensors and named in heads:
        return []
    elif _LAST in tensors:
        raise UserError(
            f"{where} is a {named or 'ModernBERT with a head'}, and what its head computes its tensors do not say, "
            f"which all of ModernBERT's heads have: let architectures in its config.json name one of {', '.join(heads)}"
        )
    if there == ENCODER_ARCHITECTURE and named in (ARCHITECTURES["generator"], *heads):
        raise UserError(
            f"{where} says {named}, but has no such head: give its weights, or say {ENCODER_ARCHITECTURE} if the "
            "encoder alone is meant"
        )
    if named in (None, there):
        return []
    return [f"{where} says {named}, but its tensors are those of a {there}, as which it is taken"]


def modernbert_config_json(weights: Weights, architecture: str, encoder: EncoderSizes) -> dict[str, Any]:
    """Return the content of config.json with every value spelled out, by the names of transformers 5 and of 4."""
    model = weights.config.model
    local, theta = model.local_attention, model.rope_theta
    every = 1 if local.window is None else local.global_every
    global_theta = theta if model.rope_theta_global is None else model.rope_theta_global
    described: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": MODEL_TYPE,
        "vocab_size": weights.vocab_size,
        "hidden_size": encoder.hidden_size,
        "num_hidden_layers": encoder.num_layers,
        "num_attention_heads": encoder.num_heads,
        "intermediate_size": encoder.intermediate_size,
        **_FIXED,
        "max_position_embeddings": model.max_positions,
        "initializer_range": model.initializer_range,
        "initializer_cutoff_factor": 3.0,
        "norm_eps": model.layer_norm_epsilon,
        "layer_types": _layer_types(encoder.num_layers, every),
        "global_attn_every_n_layers": every,
        "local_attention": local.window or _DEFAULTS["local_attention"],
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": base}
            for kind, base in ((FULL, global_theta), (SLIDING, theta))
        },
        "global_rope_theta": global_theta,
        "local_rope_theta": theta,
        "embedding_dropout": model.hidden_dropout,
        "mlp_dropout": model.hidden_dropout,
        "attention_dropout": model.attention_dropout,
        "classifier_dropout": 0.0,
        "classifier_pooling": "mean",
        "sparse_prediction": False,
        "dtype": "float32",
        **_special_ids(weights),
    }
    if architecture == ARCHITECTURES["discriminator"]:
        described |= {"id2label": {"0": "replaced"}, "label2id": {"replaced": 0}}
    return described


def _special_ids(weights: Weights) -> dict[str, int | None]:
    """Return the ids of special tokens; without a vocabulary they are not known, but for row 0, which pads."""
    tokenizer = weights.tokenizer
    if tokenizer is None:
        return {"pad_token_id": 0, **dict.fromkeys((*_STARTS, *_ENDS))}
    ends = {**dict.fromkeys(_STARTS, tokenizer.cls_id), **dict.fromkeys(_ENDS, tokenizer.sep_id)}
    return {"pad_token_id": tokenizer.pad_id, **ends}


_STARTS, _ENDS = ("cls_token_id", "bos_token_id"), ("sep_token_id", "eos_token_id")
