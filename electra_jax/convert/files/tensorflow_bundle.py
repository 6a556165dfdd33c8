"""Checkpoints of TensorFlow ("V2", tensor bundles), read and written without TensorFlow.

A checkpoint with prefix ``model.ckpt`` is a file ``model.ckpt.index`` and one or more data files, such as
``model.ckpt.data-00000-of-00001``. The data files are raw little-endian arrays, one after the other. The index is a
sorted string table (`sstable`). Its keys are the names of the tensors, its values small protocol buffers that say
where the bytes are:

    BundleHeaderProto (key "")      1 num_shards, 2 endianness, 3 version {1 producer}
    BundleEntryProto                1 dtype, 2 shape {2 dim {1 size}}, 3 shard_id, 4 offset, 5 size, 6 crc32c, 7 slices

Files written here equal those TensorFlow writes for the same tensors, byte for byte.
"""

import glob
import math
import os
import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import ml_dtypes  # noqa: F401  (makes numpy know the name bfloat16)
import numpy as np

from electra_jax.convert.files.protobuf_fields import (
    decode_message,
    encode_bytes,
    encode_number,
    encode_varint,
    last_value,
)
from electra_jax.convert.files.sstable import (
    FOOTER_BYTES,
    MAX_KEY_BYTES,
    SnappyError,
    decode_table,
    encode_table,
    ends_like_a_table,
    masked_crc,
)
from electra_jax.errors import UserError, listed
from electra_jax.files.atomic import new_file
from electra_jax.files.regular_files import open_regular, read_regular

# tensorflow/core/framework/types.proto
DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
DTYPE_CODES = {name: code for code, name in DTYPES.items()}
OTHER_DTYPES = {7: "string", 20: "resource", 21: "variant"}

# Bounds on what a file can make the reader allocate. The index of the largest ELECTRA, with its optimizer, has 100 kB.
MAX_INDEX_BYTES = 64 << 20
MAX_NAMES_BYTES = 64 << 20  # of all names together; the index stores shared prefixes only once
MAX_DIMENSIONS = 32

RESAVE = "load it with TensorFlow and save it again with tf.compat.v1.train.Saver"


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    sliced: bool


@dataclass(frozen=True)
class _Index:
    num_shards: int
    entries: dict[str, _Entry]


def is_checkpoint_prefix(path: Path) -> bool:
    """Return whether there is an index file at this prefix; it is not read."""
    return _index_file(path).is_file()


def tensor_shapes(prefix: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return name → (name of the dtype, shape), sorted by name as in the file; only the index is read.

    Raises:
        UserError: there is no index, or it cannot be read.
    """
    return {name: (entry.dtype, entry.shape) for name, entry in _read_index(prefix).entries.items()}


def read_tensors(prefix: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read the tensors of these names, or all, sorted by name; every checksum is verified.

    Raises:
        UserError: the checkpoint or a name does not exist, a file is damaged, or a tensor is of an unsupported kind:
            strings, and variables partitioned into slices.
    """
    index = _read_index(prefix)
    if names is not None:
        _check_present(prefix, index.entries, names)
    wanted = {name: entry for name, entry in index.entries.items() if names is None or name in names}
    for name, entry in wanted.items():
        _check_readable(prefix, name, entry)
    arrays: dict[str, np.ndarray] = {}
    for shard in sorted({entry.shard for entry in wanted.values()}):
        with _open_shard(prefix, shard, index.num_shards) as file:
            _check_no_overlap(file, [entry for entry in wanted.values() if entry.shard == shard])
            for name, entry in wanted.items():
                if entry.shard == shard:
                    arrays[name] = _read_array(file, name, entry)
    return {name: arrays[name] for name in wanted}


def write_tensors(prefix: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write an index and one data file that TensorFlow reads, replacing an older checkpoint at the prefix.

    Parent directories are created.

    Raises:
        UserError: a tensor without a name, or with a dtype that TensorFlow lacks.
    """
    arrays = {name: _to_disk_layout(name, tensors[name]) for name in sorted(tensors)}
    prefix.parent.mkdir(parents=True, exist_ok=True)
    entries: list[tuple[bytes, bytes]] = [(b"", _encode_header(num_shards=1))]
    offset = 0
    # The index comes last, so that an interrupted export does not look like a checkpoint.
    with new_file(_index_file(prefix)) as index, new_file(_shard_file(prefix, 0, 1)) as data:
        for name, array in arrays.items():
            content = array.tobytes()
            data.write(content)
            entry = _Entry(array.dtype.name, array.shape, 0, offset, len(content), masked_crc(content), False)
            entries.append((name.encode(), _encode_entry(entry)))
            offset += len(content)
        index.write(encode_table(entries))


# Files and arrays


def _index_file(prefix: Path) -> Path:
    return Path(f"{prefix}.index")


def _shard_file(prefix: Path, shard: int, num_shards: int) -> Path:
    return Path(f"{prefix}.data-{shard:05d}-of-{num_shards:05d}")


def _open_shard(prefix: Path, shard: int, num_shards: int) -> BinaryIO:
    file = _shard_file(prefix, shard, num_shards)
    try:
        return open_regular(file)
    except FileNotFoundError:
        raise UserError(
            f"{file} is missing: copy all data files of the checkpoint ({num_shards}) to where its index is"
        ) from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None


def _check_no_overlap(file: BinaryIO, entries: Collection[_Entry]) -> None:
    """Refuse tensors that overlap: a small file could be read as any amount of memory."""
    length = os.fstat(file.fileno()).st_size
    if (total := sum(entry.size for entry in entries if entry.offset + entry.size <= length)) > length:
        raise UserError(
            f"{file.name} has {length:,} bytes, and its index finds tensors of {total:,} in it: copy the checkpoint "
            "again"
        )


def _read_array(file: BinaryIO, name: str, entry: _Entry) -> np.ndarray:
    length = os.fstat(file.fileno()).st_size
    if entry.offset + entry.size > length:
        raise UserError(
            f"{file.name} is cut short: tensor {name} ends at byte {entry.offset + entry.size:,} and the file at "
            f"{length:,}; copy the checkpoint again"
        )
    file.seek(entry.offset)
    content = file.read(entry.size)
    if masked_crc(content) != entry.crc:
        raise UserError(
            f"{file.name} is damaged: the checksum of tensor {name} is wrong; copy the checkpoint again"
        )
    try:
        return np.frombuffer(bytearray(content), np.dtype(entry.dtype)).reshape(entry.shape)
    except ValueError:  # a dimension of 0 beside others whose product overflows
        raise UserError(
            f"{file.name} is damaged: tensor {name} has no shape: copy the checkpoint again"
        ) from None


def _to_disk_layout(name: str, array: np.ndarray) -> np.ndarray:
    """Return the array in row-major order and little-endian, as on disk."""
    if not name or name.startswith("\0"):
        raise UserError(f"a tensor cannot be named {name!r} in a TensorFlow checkpoint: name it otherwise")
    array = np.asarray(array)
    if array.dtype.name not in DTYPE_CODES:
        raise UserError(
            f"tensor {name} has dtype {array.dtype}, which a TensorFlow checkpoint cannot hold: convert it to one "
            f"of {', '.join(DTYPE_CODES)}"
        )
    return np.asarray(array, np.dtype(array.dtype.name).newbyteorder("<"), order="C")


def _check_present(prefix: Path, entries: Collection[str], names: Collection[str]) -> None:
    absent = sorted(set(names) - set(entries))
    if absent:
        raise UserError(
            f"TensorFlow checkpoint {prefix} has no {listed(absent, limit=5)}: ask for some of what it has, "
            f"{listed(entries, limit=5) or 'nothing'}"
        )


def _check_readable(prefix: Path, name: str, entry: _Entry) -> None:
    if entry.sliced:
        raise UserError(
            f"tensor {name} of {prefix} is partitioned into slices, which are not read: {RESAVE}, "
            "from a graph without partitioned variables"
        )
    if entry.dtype not in DTYPE_CODES:
        raise UserError(
            f"tensor {name} of {prefix} is of type {entry.dtype}, which is not read: ask for other tensors by name"
        )
    fits = len(entry.shape) <= MAX_DIMENSIONS and all(size < 1 << 48 for size in entry.shape)
    if not fits or entry.size != math.prod(entry.shape) * np.dtype(entry.dtype).itemsize:
        raise UserError(
            f"{_index_file(prefix)} is damaged: it gives tensor {name} {entry.size} bytes, which does not fit "
            f"{entry.dtype} {entry.shape}; copy the checkpoint again"
        )


# The index


def _read_index(prefix: Path) -> _Index:
    file = _index_file(prefix)
    try:
        table = read_regular(file, MAX_INDEX_BYTES)
    except FileNotFoundError:
        raise UserError(_why_no_index(prefix)) from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UserError(f"{file} cannot be read: {getattr(error, 'strerror', error)}") from None
    if not ends_like_a_table(table):
        raise UserError(
            f"{file} is not the index of a TensorFlow checkpoint, or is cut short: give the prefix of another "
            "checkpoint, or copy this one again"
        )
    try:
        return _decode_index(decode_table(table))
    except SnappyError:
        raise UserError(f"{file} is compressed with Snappy, which is not read: {RESAVE}") from None
    except (ValueError, LookupError, TypeError, struct.error) as error:
        raise UserError(f"{file} is damaged ({error}): copy the checkpoint again") from None


def _why_no_index(prefix: Path) -> str:
    """Return a sentence: an old checkpoint, a file of a checkpoint, a folder of checkpoints, or nothing is there."""
    parent, name = prefix.parent, glob.escape(prefix.name)
    single_files = [prefix, *parent.glob(f"{name}-?????-of-?????")] if name else [prefix]
    if any(file.is_file() and ends_like_a_table(_last_bytes(file)) for file in single_files):
        if prefix.suffix == ".index":
            return f"{prefix} is a file of a TensorFlow checkpoint: give its prefix, {prefix.with_suffix('')}"
        return f"{prefix} is a TensorFlow checkpoint of the old kind (V1, without index), which is not read: {RESAVE}"
    without, found, _ = str(prefix).rpartition(".data-")
    if found and is_checkpoint_prefix(Path(without)):
        return f"{prefix} is a file of a TensorFlow checkpoint: give its prefix, {without}"
    nearby = sorted(
        str(file.with_suffix("")) for file in (prefix if prefix.is_dir() else parent).glob("*.index")
    )
    advice = f"such as {listed(nearby, limit=5)}" if nearby else "the path of its .index file without .index"
    what = f"{prefix} is a folder" if prefix.is_dir() else f"there is no file {_index_file(prefix)}"
    return f"{what}: give the prefix of a TensorFlow checkpoint, {advice}"


def _last_bytes(file: Path) -> bytes:
    with open_regular(file) as opened:
        opened.seek(max(0, os.fstat(opened.fileno()).st_size - FOOTER_BYTES))
        return opened.read(FOOTER_BYTES)


def _decode_index(table: Iterable[tuple[bytes, bytes]]) -> _Index:
    items: dict[bytes, bytes] = {}
    names_bytes = 0
    for key, value in table:
        names_bytes += len(key)
        if len(key) > MAX_KEY_BYTES or names_bytes > MAX_NAMES_BYTES:
            raise ValueError("names of tensors that are too long")
        items[key] = value
    if b"" not in items:
        raise ValueError("no header")
    header = decode_message(items.pop(b""))
    if last_value(header, 2):
        raise ValueError("big-endian data")
    num_shards = last_value(header, 1)
    if not isinstance(num_shards, int) or not 0 <= num_shards < 100_000:  # five digits in the files' names
        raise ValueError("a number of data files that is none")
    # Keys that begin with a zero byte are the slices of partitioned variables, which have an entry by name as well.
    value_of = {key.decode(): value for key, value in items.items() if not key.startswith(b"\0")}
    return _Index(num_shards, {name: _decode_entry(value) for name, value in value_of.items()})


def _decode_entry(message: bytes) -> _Entry:
    fields = decode_message(message)
    dims = decode_message(last_value(fields, 2, b"")).get(2, [])
    dtype = last_value(fields, 1)
    shape = tuple(last_value(decode_message(dim), 1) for dim in dims)
    if not all(
        isinstance(number, int) for number in (*shape, *(last_value(fields, n) for n in (1, 3, 4, 5, 6)))
    ):
        raise ValueError("a number that is none")
    return _Entry(
        dtype=DTYPES.get(dtype) or OTHER_DTYPES.get(dtype) or f"number {dtype}",
        shape=shape,
        shard=last_value(fields, 3),
        offset=last_value(fields, 4),
        size=last_value(fields, 5),
        crc=last_value(fields, 6),
        sliced=7 in fields,
    )


def _encode_header(num_shards: int) -> bytes:
    version = encode_number(1, 1)
    return encode_number(1, num_shards) + encode_bytes(3, version)


def _encode_entry(entry: _Entry) -> bytes:
    shape = b"".join(encode_bytes(2, encode_number(1, size)) for size in entry.shape)
    return b"".join(
        [
            encode_number(1, DTYPE_CODES[entry.dtype]),
            encode_bytes(2, shape),
            encode_number(3, entry.shard),
            encode_number(4, entry.offset),
            encode_number(5, entry.size),
            encode_varint(6 << 3 | 5) + struct.pack("<I", entry.crc) if entry.crc else b"",
        ]
    )
