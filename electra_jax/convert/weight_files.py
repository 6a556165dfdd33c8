"""Files of tensors in the formats that `transformers` and PyTorch's trainers write, each read as a state dict."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from electra_jax.convert.files.differences import first_difference
from electra_jax.convert.files.flax_weights import read_flax_weights
from electra_jax.convert.files.keras_weights import read_keras_weights
from electra_jax.convert.files.safetensors_header import check_header
from electra_jax.convert.files.torch_weights import read_torch_weights
from electra_jax.convert.state_dicts import comparable_tensors
from electra_jax.convert.weights import FlatParams, is_rounded
from electra_jax.errors import UserError, listed
from electra_jax.files.file_names import is_file_name
from electra_jax.files.json_files import read_object
from electra_jax.files.regular_files import open_regular

SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"
_FLAX, _KERAS = "flax_model.msgpack", "tf_model.h5"


@dataclass(frozen=True)
class StoredTensors:
    """The content of a file, or of several that an index names.

    Attributes:
        path: the file, or the index.
        tensors: float32, by the names that PyTorch has for them; integers, booleans and complex numbers, which can be
            no parameters, keep their dtype.
        others: names of what else is in the file.
        notes: what a user should know about how it was read.
    """

    path: Path
    tensors: FlatParams
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def has_weights(folder: Path) -> bool:
    """Return whether a folder has weights, under one of the names that `transformers` gives them."""
    return any((folder / name).is_file() for name in _STANDARD_NAMES)


def is_weight_file(path: Path) -> bool:
    """Return whether ``path`` is a file of tensors, by its content or its name."""
    try:
        return path.is_file() and _reader_of(path) is not None
    except OSError:  # reading it will say why it cannot be read
        return path.suffix.lower() in _BY_SUFFIX


def read_folder(folder: Path) -> StoredTensors:
    """Read the weights of a folder; if PyTorch's are there twice, both must be the same.

    Raises:
        UserError: there are none, their files cannot be read, or they differ.
    """
    there = [name for name in _STANDARD_NAMES if (folder / name).is_file()]
    if not there:
        raise UserError(
            f"{folder} holds no weights: there is neither {SAFETENSORS} nor {PICKLE} (nor {_FLAX}, {_KERAS}), "
            "download one of them"
        )
    first = _read_named(folder, there[0])
    notes = list(first.notes)
    for name in there[1:]:
        if name not in _PYTORCH_NAMES:
            notes.append(f"{there[0]} is taken, {name} beside it is left unread")
            continue
        try:
            other = _read_named(folder, name)
        except UserError as error:
            notes.append(f"{there[0]} is taken, {name} beside it cannot be compared with it: {error}")
            continue
        _check_same(first, other)
    return StoredTensors(first.path, first.tensors, first.others, tuple(notes))


def _check_same(one: StoredTensors, other: StoredTensors) -> None:
    """Refuse two files of one folder that hold different models: only the user knows which is meant.

    Raises:
        UserError: they hold different models.
    """
    ours, theirs = (
        comparable_tensors(str(one.path), one.tensors),
        comparable_tensors(str(other.path), other.tensors),
    )
    if only := sorted(ours.keys() ^ theirs.keys()):
        there = one.path.name if only[0] in ours else other.path.name
        what = f"{only[0]} is in {there} alone"
    else:
        differing = ((name, first_difference(array, theirs[name])) for name, array in ours.items())
        what = next((f"{name} differs {where}" for name, where in differing if where), "")
    if what:
        raise UserError(
            f"{one.path} and {other.path.name} beside it are not the same model: {what}; remove one of them, or give "
            "the file that is meant instead of the folder"
        )


def _read_named(folder: Path, name: str) -> StoredTensors:
    """Read the weights in one of a folder's files, or in all files that an index names."""
    if not name.endswith(".index.json"):
        return read_file(folder / name)
    index = folder / name
    shard_of = _shard_files(index)
    shards = sorted(set(shard_of.values()))
    if absent := [shard for shard in shards if not (folder / shard).is_file()]:
        raise UserError(f"{folder} lacks {', '.join(absent)}, which {index.name} names")
    tensors: dict[str, np.ndarray] = {}
    read_from: dict[str, str] = {}
    notes: list[str] = []
    for shard in shards:
        read = read_file(folder / shard)
        notes += read.notes
        for key, array in read.tensors.items():
            if key in tensors and (difference := first_difference(tensors[key], array)):
                raise UserError(
                    f"{folder}: {key} is in {read_from[key]} and in {shard}, which differ {difference}: "
                    "download both again"
                )
            if key not in tensors:
                tensors[key], read_from[key] = array, shard
        if wrong := [key for key, file in shard_of.items() if file == shard and key not in read.tensors]:
            raise UserError(
                f"{index} says that {listed(wrong, limit=3)} is in {shard}, which lacks it: download both again"
            )
    return StoredTensors(index, tensors, notes=tuple(notes))


def _shard_files(index: Path) -> dict[str, str]:
    """Return the tensors of an index with the names of their files, which are beside it.

    Raises:
        UserError: it names none, or something else.
    """
    names = read_object(index, "download it again").get("weight_map")
    shard_of = names if isinstance(names, dict) else {}
    if not shard_of or not all(isinstance(file, str) and is_file_name(file) for file in shard_of.values()):
        raise UserError(f"{index} names no files beside it in weight_map: download it again")
    return shard_of


def read_file(path: Path) -> StoredTensors:
    """Read the tensors of one file; its content tells its format, or else its name.

    Raises:
        UserError: its format cannot be read, or it is damaged.
    """
    try:
        kind = _reader_of(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if kind is None:
        raise UserError(f"{path} is no file of tensors that can be read here: give {SAFETENSORS} or {PICKLE}")
    tensors, others = kind(path)
    return _to_float32(path, tensors, others)


_Read = Callable[[Path], tuple[Mapping[str, np.ndarray], tuple[str, ...]]]


def _reader_of(path: Path) -> _Read | None:
    """Return the function that reads a file.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    with open_regular(path) as file:
        start = file.read(16)
    if start.startswith((b"PK\3\4", b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5")):
        return read_torch_weights
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32:
        return _read_safetensors
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return read_keras_weights
    return _BY_SUFFIX.get(path.suffix.lower())


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    try:
        check_header(path)
        return load_file(path), ()
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "it is incomplete or damaged: download it again"
        if path.stat().st_size < 1000 and path.read_bytes().startswith(b"version https://git-lfs"):
            hint = "it is only a pointer of Git LFS: fetch the file itself (git lfs pull)"
        raise UserError(f"{path} cannot be read ({error}): {hint}") from None


_PYTORCH_NAMES = tuple(name + ending for name in (SAFETENSORS, PICKLE) for ending in ("", ".index.json"))
_STANDARD_NAMES = (*_PYTORCH_NAMES, _FLAX, _KERAS)
_BY_SUFFIX: dict[str, _Read] = {
    ".safetensors": _read_safetensors,
    ".msgpack": read_flax_weights,
    **dict.fromkeys((".h5", ".hdf5"), read_keras_weights),
    **dict.fromkeys((".bin", ".pt", ".pth", ".ckpt"), read_torch_weights),
}


def _to_float32(path: Path, tensors: Mapping[str, np.ndarray], others: tuple[str, ...]) -> StoredTensors:
    """Return half precision as float32, which is exact, and rounded double precision, with a note if values change."""
    floats: dict[str, np.ndarray] = {}
    rounded = []
    for name, array in tensors.items():
        if array.dtype.kind in "iubc" or array.dtype == np.float32:
            floats[name] = array
            continue
        with np.errstate(over="ignore"):  # infinite parameters are noted later, for every format
            floats[name] = np.asarray(array, np.float32)
        if is_rounded(array, floats[name]):
            rounded.append(name)
    notes = (f"{path}: rounded from float64 to float32: {listed(rounded, limit=3)}",) if rounded else ()
    return StoredTensors(path, floats, others, notes)


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write the file; what the library reports in words, such as a full disk, becomes the OSError that it is."""
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        code = re.search(r"\(os error (\d+)\)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from None
