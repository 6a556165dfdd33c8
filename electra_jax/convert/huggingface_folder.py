"""One folder of Hugging Face `transformers`: its config.json and its tensors, in whichever of the usual files."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from electra_jax.convert.torch_weights import read_torch_weights
from electra_jax.errors import UserError
from electra_jax.file_names import is_file_name
from electra_jax.json_files import read_object

CONFIG, SAFETENSORS, PICKLE = "config.json", "model.safetensors", "pytorch_model.bin"
# What `transformers` takes where config.json says nothing.
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
# Buffers, not parameters, that older versions saved along.
_BUFFERS = ("electra.embeddings.position_ids", "electra.embeddings.token_type_ids")
_TIED = "generator_lm_head.weight"
_WORDS = "electra.embeddings.word_embeddings.weight"


def is_huggingface_folder(path: Path) -> bool:
    """Whether ``path`` has a config.json, or weights as `transformers` names them."""
    return any((path / name).is_file() for name in (CONFIG, SAFETENSORS, PICKLE))


def read_settings(folder: Path) -> dict[str, Any]:
    """The config.json of a folder that holds an ELECTRA, with defaults.

    Raises:
        UserError: it does not, or the file cannot be read.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not a folder: a Hugging Face model is a folder with {CONFIG} and weights"
        )
    if not os.path.lexists(folder / CONFIG):
        raise UserError(
            f"{folder} has no {CONFIG}, without which a Hugging Face model cannot be read: copy it there"
        )
    settings = {**_DEFAULTS, **read_object(folder / CONFIG, "download it again")}
    _check_architecture(folder / CONFIG, settings)
    return settings


def _check_architecture(path: Path, settings: Mapping[str, Any]) -> None:
    kind = settings.get("model_type")
    if kind != "electra":
        raise UserError(
            f"{path} describes a model of type {kind!r}, not 'electra': only ELECTRA can be converted"
        )
    for key in ("hidden_act", "position_embedding_type", "is_decoder"):
        if settings[key] != _DEFAULTS[key]:
            raise UserError(f"{path}: {key} is {settings[key]!r}, and only {_DEFAULTS[key]!r} is supported")
    for key, default in _DEFAULTS.items():
        number = isinstance(settings[key], int | float) and not isinstance(settings[key], bool)
        if type(default) in (int, float) and not (number and isinstance(settings[key], int | type(default))):
            raise UserError(f"{path}: {key} is {settings[key]!r}, but must be a number such as {default}")


def read_tensors(folder: Path) -> dict[str, np.ndarray]:
    """The tensors of a folder, float32, by the names that today's `transformers` has.

    Raises:
        UserError: there are none, or their files cannot be read.
    """
    return _today(folder, _stored_tensors(folder))


def _stored_tensors(folder: Path) -> dict[str, np.ndarray]:
    for name, read in ((SAFETENSORS, _read_safetensors), (PICKLE, read_torch_weights)):
        if (folder / name).is_file():
            return _floats(folder / name, read(folder / name))
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = _shards(index)
            if absent := [shard for shard in shards if not (folder / shard).is_file()]:
                raise UserError(f"{folder} lacks {', '.join(absent)}, which {index.name} names")
            tensors: dict[str, np.ndarray] = {}
            for shard in shards:
                tensors |= _floats(folder / shard, read(folder / shard))
            return tensors
    others = [name for name in ("tf_model.h5", "flax_model.msgpack") if (folder / name).is_file()]
    there = f"; {', '.join(others)} cannot be read" if others else ""
    raise UserError(
        f"{folder} holds no weights: there is neither {SAFETENSORS} nor {PICKLE}, download one of them{there}"
    )


def _shards(index: Path) -> list[str]:
    """The files that an index names, all beside it.

    Raises:
        UserError: it does not name any, or names something else.
    """
    names = read_object(index, "download it again").get("weight_map")
    files = list(names.values()) if isinstance(names, dict) else []
    if not files or not all(isinstance(file, str) and is_file_name(file) for file in files):
        raise UserError(f"{index} names no files beside it in weight_map: download it again")
    return sorted(set(files))


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        hint = "it is incomplete or damaged: download it again"
        if path.stat().st_size < 1000 and path.read_bytes().startswith(b"version https://git-lfs"):
            hint = "it is only a pointer of Git LFS: fetch the file itself (git lfs pull)"
        raise UserError(f"{path} cannot be read ({error}): {hint}") from None


def _floats(path: Path, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Half precision becomes float32, exactly; whole and complex numbers can be no parameters, and stay."""
    return {
        name: array if array.dtype.kind in "iubc" else np.asarray(array, np.float32)
        for name, array in tensors.items()
    }


def _today(folder: Path, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names as today's `transformers` has them, without buffers and the tied copy of the word table.

    Raises:
        UserError: that copy is another table.
    """
    if (
        not any(name.startswith("electra.") for name in tensors)
        and "embeddings.word_embeddings.weight" in tensors
    ):
        tensors = {f"electra.{name}": array for name, array in tensors.items()}  # a bare ElectraModel
    named = {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): array
        for name, array in tensors.items()
        if name not in _BUFFERS
    }
    tied = named.pop(_TIED, None)
    if tied is not None and not np.array_equal(tied, named.get(_WORDS, tied)):
        raise UserError(
            f"{folder}: {_TIED} is not the word table ({_WORDS}); ELECTRA's generator has one table for both"
        )
    return named


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Writes the file; what the library reports in words, such as a full disk, becomes the OSError that it is."""
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        code = re.search(r"\(os error (\d+)\)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from None
