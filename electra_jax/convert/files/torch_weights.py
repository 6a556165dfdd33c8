"""Checkpoints of PyTorch (`pytorch_model.bin`, `.pt`, `.ckpt`), read without PyTorch and without running their pickles.

They hold a state dict, or dictionaries with one among other things (an optimizer, an epoch), as trainers write them.
Both layouts of `torch.save` are read: a zip file since 1.6 (``NAME/data.pkl`` for the dictionary, ``NAME/data/KEY`` for
the bytes of each storage), and before that several pickles in a row, followed by the storages.

A pickle may call anything it can name. This reader knows the few names that a dictionary of tensors consists of, and
those that trainers store beside it (settings, paths, NumPy numbers). The former stand for values of its own that do
nothing, the latter for nothing at all; every other name is refused.
"""

import io
import math
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np
from numpy.lib.stride_tricks import as_strided

from electra_jax.convert.files.inert_pickle import checked_key, read_pickle
from electra_jax.errors import UserError, listed
from electra_jax.files.regular_files import open_regular

_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# Tensors of a file, and how many of them may share the same numbers: tied tables are twice in a state dict.
_MAX_TENSORS = 100_000
_MAX_NAMES_PER_NUMBER = 4
_MAX_DIMENSIONS = 32
# Levels of nested dictionaries; trainers have three.
_DEEPEST = 8
_MAX_NAME_LENGTH = 1000
# Of the zip file's list of entries; for a thousand tensors it has 100 kB.
_MAX_LIST_BYTES = 16 << 20


class _StorageType(NamedTuple):
    dtype: np.dtype


class _Storage(NamedTuple):
    dtype: np.dtype
    key: str
    numel: int


class _Tensor(NamedTuple):
    """A tensor whose bytes are not read yet; only its storage has been checked."""

    storage: Any
    offset: Any
    size: Any
    stride: Any
    metadata: Any


class _Function(NamedTuple):
    """What a known name stands for: a tuple, so that no pickle can change it for the next one."""

    build: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.build(*arguments)


def _dictionary(pairs: Any = ()) -> dict[Any, Any]:
    """Return the items of an OrderedDict; the ``_metadata`` that PyTorch attaches to it is dropped."""
    return {checked_key(key): value for key, value in pairs}


class _Ignored:
    """Stands for a known object that is not a tensor, whatever its arguments."""

    __slots__ = ()

    def __init__(self, *_: Any):
        pass


def _rebuild_tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    gradient: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> _Tensor:
    """Return a tensor; ``metadata`` is not empty where PyTorch keeps a sign or a conjugation beside the numbers."""
    return _Tensor(storage, offset, size, stride, () if metadata is None else metadata)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Function(_dictionary),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_rebuild_parameter),
    **{
        ("torch", f"{name}Storage"): _StorageType(np.dtype(dtype))
        for name, dtype in {
            "Double": "<f8",
            "Float": "<f4",
            "Half": "<f2",
            "BFloat16": ml_dtypes.bfloat16,
            "Long": "<i8",
            "Int": "<i4",
            "Short": "<i2",
            "Char": np.int8,
            "Byte": np.uint8,
            "Bool": np.bool_,
        }.items()
    },
}


_PLAIN = {
    *("bool", "bytearray", "complex", "dict", "float", "frozenset", "int", "list", "range", "set", "slice"),
    *("str", "tuple"),
}
# Classes of objects that trainers store beside the tensors, by module. None is imported; the objects are ignored.
_IGNORED_CLASSES: dict[str, set[str]] = {
    "argparse": {"Namespace"},
    "builtins": _PLAIN,
    "__builtin__": _PLAIN,
    "collections": {"defaultdict", "Counter", "deque"},
    "datetime": {"datetime", "date", "time", "timedelta", "timezone"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"scalar", "_reconstruct"},
    "numpy._core.multiarray": {"scalar", "_reconstruct"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
    "pathlib": {"Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"},
    "pathlib._local": {"Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"},
    "torch": {"Size", "device", "float16", "float32", "float64", "bfloat16", "int32", "int64", "bool"},
    "torch.serialization": {"_get_layout"},
    "_codecs": {"encode"},
}
# Packages of which all classes are ignored in the same way: their settings are objects of many classes.
_IGNORED_PACKAGES = {
    *("accelerate", "fastai", "fastcore", "lightning", "lightning_fabric", "lightning_utilities"),
    *("omegaconf", "pytorch_lightning", "transformers", "__main__"),
}


def _is_ignored(module: str, name: str) -> bool:
    return name in _IGNORED_CLASSES.get(module, ()) or module.partition(".")[0] in _IGNORED_PACKAGES


class TorchCheckpoint(NamedTuple):
    """The content of a file of `torch.save`.

    Attributes:
        tensors: by name, in the file's order, with their own shapes and dtypes. The name of a tensor in nested
            dictionaries begins with their keys, joined with dots: ``state_dict.electra.…``.
        others: names, made in the same way, of what is not a tensor and was skipped.
    """

    tensors: dict[str, np.ndarray]
    others: tuple[str, ...]


def read_torch_weights(path: Path) -> TorchCheckpoint:
    """Read the tensors of a state dict, or of dictionaries with one in them, and the names of the rest.

    The arrays are read-only. Tensors that share memory in PyTorch do here, too; views keep their strides.

    Raises:
        UserError: the file does not exist, is damaged or not PyTorch's, has no dictionary of tensors, names what is
            neither a tensor nor known to be harmless (it may contain code, none of which is run), or is big-endian.
    """
    try:
        with open_regular(path) as file:
            start = file.read(4)
            file.seek(0)
            state, flat = _read_zip(file, path) if start == b"PK\3\4" else _read_legacy(file, path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    tensors, others = _tensors(state, path)
    arrays = {name: _array(name, tensor, flat, path) for name, tensor in tensors}
    _check_size(arrays, flat, path)
    return TorchCheckpoint(arrays, others)


def _read_zip(file: BinaryIO, path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """Return the unpickled object, and each storage as a flat array."""
    length = file.seek(0, io.SEEK_END)
    try:
        bounded = _Bounded(file, _MAX_LIST_BYTES)
        archive = zipfile.ZipFile(bounded)  # type: ignore[arg-type]
        bounded.most = length
        entries = {entry.filename: entry for entry in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError):
        raise _damaged_error(path, "is not a whole zip file") from None
    # Entries can overlap, each as large as the file.
    if sum(entry.compress_size for entry in entries.values()) > length:
        raise _damaged_error(path, "has entries that hold more together than the file")

    def read(name: str) -> bytes:
        entry = entries.get(name)
        if entry is None:
            raise _damaged_error(path, f"lacks {name}")
        if entry.compress_type != zipfile.ZIP_STORED:  # it could be a decompression bomb
            raise UserError(
                f"{path} has {name} compressed, which PyTorch never does: save it anew with torch.save"
            )
        try:
            if entry.file_size != entry.compress_size:
                raise ValueError
            return archive.read(entry)
        except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, NotImplementedError, OverflowError):
            raise _damaged_error(path, f"has a {name} that cannot be read") from None

    roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise UserError(f"{path} is a zip file, but not one of torch.save: expected one NAME/data.pkl in it")
    root = roots[0]
    # PyTorch writes it since 2.0; files without it are little-endian.
    if f"{root}byteorder" in entries and read(f"{root}byteorder").strip() != b"little":
        raise _big_endian_error(path)
    state, storages = _load(io.BytesIO(read(f"{root}data.pkl")), path)
    return state, {key: _flat(read(f"{root}data/{key}"), s, path) for key, s in storages.items()}


class _Bounded(io.BufferedIOBase):
    """A file for `zipfile`, which would read a list of entries as large as the file says."""

    def __init__(self, file: BinaryIO, most: int):
        self._file, self.most = file, most

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as from any file, but not more than ``most`` bytes.

        Raises:
            BadZipFile: there are more.
        """
        content = self._file.read(self.most + 1 if size is None or size < 0 else min(size, self.most + 1))
        if len(content) > self.most:
            raise zipfile.BadZipFile
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Seek as in any file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position, as any file."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Return True, as any file that can seek."""
        return True


def _read_legacy(file: BinaryIO, path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """Return the same as `_read_zip`."""
    magic, _ = _load(file, path)
    if magic != _MAGIC:
        raise UserError(f"{path} is a pickle, but not one of torch.save: expected a PyTorch checkpoint")
    (protocol, _), (machine, _) = _load(file, path), _load(file, path)
    if protocol != _LEGACY_PROTOCOL or not isinstance(machine, dict):
        raise UserError(f"{path} has a layout that is not known here: save it anew with torch.save")
    if machine.get("little_endian") is not True:
        raise _big_endian_error(path)
    state, storages = _load(file, path)
    keys, _ = _load(file, path)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or {*keys} != {*storages}:
        raise _damaged_error(path, "does not hold the storages that its tensors name")
    flat = {}
    for key in keys:
        storage = storages[key]
        size = storage.numel * storage.dtype.itemsize
        place = file.tell()
        left = file.seek(0, io.SEEK_END) - place - 8
        file.seek(place)
        if left < size or int.from_bytes(file.read(8), "little") != storage.numel:
            raise _damaged_error(path, f"has another size of storage {key} than its tensors name")
        flat[key] = _flat(file.read(size), storage, path)
    return state, flat


def _flat(content: bytes, storage: _Storage, path: Path) -> np.ndarray:
    """Return the items of a storage, read-only; never more than there are bytes for."""
    if len(content) < storage.numel * storage.dtype.itemsize:
        raise _damaged_error(
            path, f"has {len(content)} bytes for storage {storage.key} of {storage.numel} numbers"
        )
    if storage.dtype == np.bool_:
        flat = np.frombuffer(content, np.uint8, storage.numel) != 0
        flat.setflags(write=False)
        return flat
    return np.frombuffer(content, storage.dtype, storage.numel)


def _tensors(state: Any, path: Path) -> tuple[list[tuple[str, _Tensor]], tuple[str, ...]]:
    """Return the tensors in nested dictionaries with their names, and the names of what else is in them."""
    tensors: list[tuple[str, _Tensor]] = []
    others: list[str] = []
    for name, value in _leaves(state, "", 0, set()):
        if isinstance(value, _Tensor):
            tensors.append((name, value))
        else:
            others.append(name)
    names = Counter(name for name, _ in tensors)
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise UserError(
            f"{path} has two tensors called {twice}: save the state dict of one model with torch.save"
        )
    if not tensors:
        shown = f", but {listed(others, limit=5)}" if any(others) else ""
        raise UserError(
            f"{path} holds no dictionary of tensors{shown}: save model.state_dict() with torch.save"
        )
    return tensors, tuple(others)


def _leaves(value: Any, name: str, depth: int, walked: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield what is in dictionaries whose keys are all text, with the joined keys that lead to it.

    Each dictionary is visited once. Numbered things (an optimizer's state of each parameter) and lists are not a state
    dict, and stay whole.
    """
    words = isinstance(value, dict) and all(isinstance(key, str) for key in value)
    if not words or depth == _DEEPEST or len(name) > _MAX_NAME_LENGTH or id(value) in walked:
        yield name, value
        return
    walked.add(id(value))
    for key, inner in value.items():
        yield from _leaves(inner, f"{name}.{key}" if depth else key, depth + 1, walked)


def _check_size(arrays: dict[str, np.ndarray], flat: dict[str, np.ndarray], path: Path) -> None:
    """Refuse too many names for the same numbers: each becomes an array of its own later.

    Raises:
        UserError: too many names share one storage.
    """
    named = sum(array.size for array in arrays.values())
    held = sum(items.size for items in flat.values())
    if named > _MAX_NAMES_PER_NUMBER * held or len(arrays) > _MAX_TENSORS:
        raise UserError(
            f"{path} names {named:,} numbers in {len(arrays):,} tensors and holds {held:,}: it is no model's, or save "
            "the state dict without views of the same tensor"
        )


def _array(name: str, tensor: _Tensor, flat: dict[str, np.ndarray], path: Path) -> np.ndarray:
    """Return the view of its storage that a tensor is, after a check that it lies inside."""
    storage, offset, size, stride, metadata = tensor
    if not (
        isinstance(storage, _Storage)
        and _is_count(offset)
        and isinstance(size, tuple)
        and isinstance(stride, tuple)
        and len(size) == len(stride) <= _MAX_DIMENSIONS
        and all(map(_is_count, size + stride))
    ):
        raise _damaged_error(path, f"describes tensor {name!r:.80} wrongly")
    if metadata:
        raise UserError(
            f"{path} holds tensor {name!r:.80} with its sign beside the numbers (a lazy view): save it anew with "
            "resolve_neg() and resolve_conj()"
        )
    items = flat[storage.key]
    numel = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    # Expanded tensors, which repeat their storage, are refused too: a few bytes could name any amount of memory.
    if numel > items.size or (numel > 0 and last >= items.size):
        raise UserError(
            f"{path} names more numbers for tensor {name!r:.80} than its storage of {items.size} holds: "
            "fetch it again, or save it with contiguous tensors"
        )
    try:
        steps = tuple(step * items.itemsize for step in stride)
        array = as_strided(items[offset:], size, steps) if numel else np.empty(size, items.dtype)
    except (ValueError, OverflowError):
        raise _damaged_error(path, f"describes tensor {name!r:.80} wrongly") from None
    array.setflags(write=False)
    return array


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


class _NameResolver:
    """Resolves the names of tensors and dictionaries only, and collects the storages that are named."""

    def __init__(self, path: Path):
        self._path = path
        self.storages: dict[str, _Storage] = {}

    def find(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is None and _is_ignored(module, name):
            return _Ignored
        if known is None:
            raise _code_error(self._path, f"{module}.{name}" if module else name)
        return known

    def storage(self, pid: Any) -> _Storage:
        match pid:
            # The legacy layout has None at the end, where its first versions had views of other storages.
            case ("storage", _StorageType(dtype), str(key), str(), numel, *rest) if _is_count(
                numel
            ) and rest in ([], [None]):
                storage = _Storage(dtype, key, numel)
                if self.storages.setdefault(key, storage) != storage:
                    raise _damaged_error(self._path, f"describes storage {key!r:.40} in two ways")
                return storage
        raise _damaged_error(self._path, "refers to something that is not a storage")


def _load(file: BinaryIO, path: Path) -> tuple[Any, dict[str, _Storage]]:
    """Return the next pickle of a file, and the storages it names; what follows it in the file is not read."""
    try:
        begin, names = file.tell(), _NameResolver(path)
        value, length = read_pickle(file, names.find, names.storage)
        file.seek(begin + length)
        return value, names.storages
    except (UserError, OSError):
        raise
    except Exception:  # a hostile or damaged pickle can raise anything
        raise _damaged_error(path, "is not a PyTorch checkpoint, or not a whole one") from None


def _code_error(path: Path, name: str) -> UserError:
    what = "objects that are no plain tensors" if name.startswith("torch.") else "code"
    return UserError(
        f"{path} holds {what}: {name:.200}; nothing was executed, use a file that holds tensors only, "
        "such as model.safetensors"
    )


def _damaged_error(path: Path, what: str) -> UserError:
    return UserError(f"{path} {what}: fetch it again")


def _big_endian_error(path: Path) -> UserError:
    return UserError(f"{path} was written on a big-endian machine: save it anew on another one")
