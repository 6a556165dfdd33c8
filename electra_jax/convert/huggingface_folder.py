"""Reading Hugging Face models: a folder with config.json and weights, or a file of tensors alone."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electra_jax.config.blocks import default_heads
from electra_jax.convert.huggingface_config import check_numbers
from electra_jax.convert.modernbert_config import MODEL_TYPE as MODERNBERT
from electra_jax.convert.modernbert_config import read_modernbert_settings
from electra_jax.convert.modernbert_tensors import is_modernbert, modernbert_state_dict
from electra_jax.convert.state_dicts import WORDS, NetworkStateDict, split_networks
from electra_jax.convert.weight_files import has_weights, is_weight_file, read_file, read_folder
from electra_jax.convert.weights import FlatParams
from electra_jax.errors import UserError
from electra_jax.files.json_files import read_object

CONFIG = "config.json"
# The defaults of `transformers` for keys that config.json lacks.
_DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 30522,
    "embedding_size": 128,
    "hidden_size": 256,
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "is_decoder": False,
}
ENCODER_DECODER = "encoder-decoder"  # the type of a model of two


@dataclass(frozen=True)
class StoredNetwork:
    """One network as it was found.

    Attributes:
        where: the folder or the file.
        config: path of the config.json that describes it; None where its sizes follow from its tensors alone.
        settings: the content of config.json, with defaults.
        network: its tensors.
        num_heads_known: whether its number of heads was read, and not assumed.
    """

    where: Path
    config: Path | None
    settings: dict[str, Any]
    network: NetworkStateDict
    num_heads_known: bool = True


def is_huggingface_folder(path: Path) -> bool:
    """Return whether ``path`` has a config.json, or weights as `transformers` names them."""
    return (path / CONFIG).is_file() or has_weights(path)


def read_networks(source: Path) -> tuple[list[StoredNetwork], list[str]]:
    """Read the network in a folder or a file, or a generator and a discriminator, with notes on how they were read.

    A folder must have a config.json. A file may have one beside it; without one, sizes follow from the tensors.

    Raises:
        UserError: it has no ELECTRA, or its files cannot be read.
    """
    if is_weight_file(source):
        described = source.with_name(CONFIG)
        config = described if os.path.lexists(described) else None
        settings = read_settings(source.parent) if config else None
        stored = read_file(source)
    else:
        config, settings = source / CONFIG, read_settings(source)
        stored = read_folder(source)
    if settings is not None and is_modern(settings):
        network, notes = modernbert_state_dict(str(source), stored.tensors, stored.others)
        return [StoredNetwork(source, config, settings, network)], [*stored.notes, *notes]
    if settings is None and is_modernbert(stored.tensors):
        raise UserError(
            f"{source} is a ModernBERT, whose tensors do not say how a token attends to others: put its {CONFIG} "
            "beside it"
        )
    networks, notes = split_networks(str(source), stored.tensors, stored.others)
    notes = [*stored.notes, *notes]
    if settings is not None and len(networks) == 1:
        return [StoredNetwork(source, config, settings, networks[0])], notes
    found = [_with_sizes_of_tensors(source, config, settings, network) for network in networks]
    if settings is not None and not any(one.num_heads_known for one in found):
        raise UserError(
            f"{config} describes neither network of {source}: their sizes are others, put the right one there or none"
        )
    return found, notes


def _with_sizes_of_tensors(
    source: Path, config: Path | None, settings: Mapping[str, Any] | None, network: NetworkStateDict
) -> StoredNetwork:
    """Return a network with the sizes of its tensors.

    Other settings are those of config.json, which may be that of another network.
    """
    sizes = _sizes_from_shapes(source, network.tensors)
    if settings is not None and all(settings[key] == size for key, size in sizes.items()):
        return StoredNetwork(source, config, dict(settings), network)
    heads = {"num_attention_heads": default_heads(sizes["hidden_size"])}
    rest = {"architectures": None, "id2label": None} if settings is not None else {}
    known = {
        **_DEFAULTS,
        "block": "bert",
        **(settings or {}),
        **rest,
        **sizes,
        **heads,
        **_num_labels(network.tensors),
    }
    return StoredNetwork(source, None, known, network, num_heads_known=False)


def _num_labels(tensors: FlatParams) -> dict[str, int]:
    """Return the number of outputs of a fine-tuning head, as ``num_labels``, if there is one."""
    last = (tensors.get(name) for name in ("classifier.out_proj.bias", "classifier.bias"))
    return next(({"num_labels": bias.size} for bias in last if bias is not None), {})


def _sizes_from_shapes(source: Path, tensors: FlatParams) -> dict[str, int]:
    """Return the sizes that follow from shapes, by the names of config.json.

    Raises:
        UserError: a tensor that is needed for it is missing, or is not a matrix.
    """

    def shape(name: str) -> tuple[int, int]:
        if name not in tensors or tensors[name].ndim != 2:
            raise UserError(
                f"{source} has no matrix {name}, from which sizes follow: put the model's {CONFIG} beside it"
            )
        rows, columns = tensors[name].shape
        return rows, columns

    feed_forward, width = shape("electra.encoder.layer.0.intermediate.dense.weight")
    rows, embedding = shape(WORDS)
    layers = {match[1] for name in tensors if (match := re.match(r"electra\.encoder\.layer\.(\d+)\.", name))}
    return {
        "vocab_size": rows,
        "embedding_size": embedding,
        "hidden_size": width,
        "num_hidden_layers": len(layers),
        "intermediate_size": feed_forward,
        "max_position_embeddings": shape("electra.embeddings.position_embeddings.weight")[0],
        "type_vocab_size": shape("electra.embeddings.token_type_embeddings.weight")[0],
    }


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the config.json of a folder that holds an ELECTRA or a ModernBERT, with defaults, by ELECTRA's names.

    Raises:
        UserError: it holds none, or the file cannot be read.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not a folder: a Hugging Face model is a folder with {CONFIG} and weights"
        )
    if not os.path.lexists(folder / CONFIG):
        raise UserError(
            f"{folder} has no {CONFIG}, without which a Hugging Face model cannot be read: copy it there, or give "
            "the file of its weights, whose sizes are then taken from its tensors"
        )
    described = read_object(folder / CONFIG, "download it again")
    if described.get("model_type") == MODERNBERT:
        return read_modernbert_settings(str(folder / CONFIG), described)
    settings = {**_DEFAULTS, **described, "block": "bert"}
    _check_type(str(folder / CONFIG), settings, "ELECTRA and ModernBERT")
    if settings.get("add_cross_attention"):
        raise UserError(
            f"{folder / CONFIG} describes a decoder that reads a source (add_cross_attention), which is supported "
            "behind an encoder alone: give the folder of the whole EncoderDecoderModel"
        )
    _check_settings(str(folder / CONFIG), settings)
    return settings


def is_modern(settings: Mapping[str, Any]) -> bool:
    """Return whether settings that were read are a ModernBERT's."""
    return settings.get("block") == "modern"


def is_encoder_decoder(source: Path) -> bool:
    """Return whether a folder, or the one a file is in, is said to hold an encoder with a decoder.

    Raises:
        UserError: its config.json cannot be read.
    """
    path = (source.parent if is_weight_file(source) else source) / CONFIG
    return path.is_file() and read_object(path, "download it again").get("model_type") == ENCODER_DECODER


def read_settings_of_two(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Read the config.json of an encoder with a decoder: the whole, and with defaults what it says of each.

    Raises:
        UserError: they are no ELECTRAs, or not an encoder and a decoder that reads its states.
    """
    path = folder / CONFIG
    whole = read_object(path, "download it again")
    both = []
    for part in ("encoder", "decoder"):
        described = whole.get(part)
        if not isinstance(described, dict):
            raise UserError(f"{path} does not describe its {part}: download it again")
        settings = {**_DEFAULTS, "add_cross_attention": False, **described}
        where = f"the {part} in {path}"
        _check_type(where, settings)
        _check_settings(where, settings)
        for key in ("is_decoder", "add_cross_attention"):
            if bool(settings[key]) != (part == "decoder"):
                raise UserError(f"{where} has {key} {str(bool(settings[key])).lower()}: {_NEEDED[part]}")
        both.append(settings)
    encoder, decoder = both
    between = decoder.get("cross_attention_hidden_size")
    if between is not None and not between == encoder["hidden_size"] == decoder["hidden_size"]:
        raise UserError(
            f"the decoder in {path} has cross_attention_hidden_size {between!r}, but ELECTRA's attention to a source "
            f"is as wide as the decoder, {decoder['hidden_size']}: only a projection of the encoder's "
            f"{encoder['hidden_size']} (null) can be converted"
        )
    return whole, encoder, decoder


_NEEDED = {
    "encoder": "an encoder sees all of a text, and reads no other",
    "decoder": "a decoder sees what is before a token and attends to the encoder's states, so this one cannot be "
    "converted",
}


def _check_type(where: str, settings: Mapping[str, Any], known: str = "ELECTRA") -> None:
    kind = settings.get("model_type")
    if kind != "electra":
        raise UserError(
            f"{where} describes a model of type {kind!r}, not 'electra': only {known} can be converted"
        )


def _check_settings(path: str, settings: Mapping[str, Any]) -> None:
    if not isinstance(settings["is_decoder"], bool):
        raise UserError(f"{path}: is_decoder is {settings['is_decoder']!r}, but must be true or false")
    for key in ("hidden_act", "position_embedding_type"):
        if settings[key] != _DEFAULTS[key]:
            raise UserError(f"{path}: {key} is {settings[key]!r}, and only {_DEFAULTS[key]!r} is supported")
    check_numbers(path, settings, _DEFAULTS)
