"""Reading files as blocks of bytes, whatever they are compressed with."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

from electra_jax.errors import UserError
from electra_jax.files.regular_files import open_regular

Source = str | IO[bytes]

BLOCK_BYTES = 1 << 18
COMPRESSIONS = (".gz", ".xz", ".zst", ".bz2")
_OTHER_EXTENSIONS = {".gzip": ".gz", ".bgz": ".gz", ".zstd": ".zst", ".bzip2": ".bz2"}

_INPUT_BYTES = 1 << 16
_ZSTD_INPUT_BYTES = 1 << 9  # All that it expands to is in memory at once, at most 16 MB.
_ZSTD_MAX_WINDOW = 1 << 31  # Files made with --long are ordinary in corpora.
# How a stream begins. Zstandard has frames that are skipped besides, as pzstd writes them.
_MAGIC_BYTES = {
    ".gz": (b"\x1f\x8b",),
    ".xz": (b"\xfd7zXZ\0",),
    ".bz2": (b"BZh",),
    ".zst": (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + i]) + b"\x2a\x4d\x18" for i in range(16))),
}
_MAX_MAGIC_BYTES = 10
# Where these are files, they are what a shell hands over (`<(zcat a.gz)`), and not files of the user's.
_SHELL_PATHS = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")


def split_extension(path: str) -> tuple[str, str]:
    """Return the extension that says the format and the one that says the compression, "" for none."""
    stem, last = os.path.splitext(path.lower())
    last = _OTHER_EXTENSIONS.get(last, last)
    if last in COMPRESSIONS:
        return os.path.splitext(stem)[1], last
    return last, ""


def source_name(source: Source) -> str:
    """Return what messages call a source: its path, or standard input."""
    return source if isinstance(source, str) else "standard input"


def open_bytes(path: str) -> BinaryIO:
    """Open a file as it is.

    A named pipe or a device might be waited for, or read, without end; only what a shell hands over may be one.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return open(path, "rb") if path.startswith(_SHELL_PATHS) else open_regular(Path(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{path!r} cannot be read: it has a NUL byte in it.") from error


def read_blocks(source: Source) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, `BLOCK_BYTES` at a time (the last block may be shorter).

    How it is compressed is recognised by its first bytes, whatever its name: gzip, xz, bzip2, Zstandard or not at all.
    No more than a few blocks are in memory, however much a stream expands to.

    Raises:
        UserError: the file cannot be read, or its compressed stream is damaged or incomplete.
    """
    opened = open_bytes(source) if isinstance(source, str) else _NonClosing(source)
    compression = ""
    try:
        with io.BufferedReader(opened) as file:  # type: ignore[type-var]
            head = file.peek(_MAX_MAGIC_BYTES)
            compression = _detect_compression(head, source)
            yield from _equal_blocks(_decompressed(file, compression, source))
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{source_name(source)} cannot be read: {error.strerror}.") from error
        raise UserError(
            f"{source_name(source)} is damaged or incomplete: its {compression} stream cannot be read ({error}); get "
            "the file again."
        ) from error


class _NonClosing(io.RawIOBase):
    """Bytes of standard input, which stays open when they have been read."""

    def __init__(self, file: IO[bytes]):
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = getattr(self._file, "read1", self._file.read)
        data = read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _detect_compression(head: bytes, source: Source) -> str:
    """Return the extension that goes with a file's first bytes, "" for a file that is not compressed."""
    for compression, beginnings in _MAGIC_BYTES.items():
        if head.startswith(beginnings) and (compression != ".bz2" or _is_bzip2(head)):
            return compression
    # A few bytes are too little to tell; then the name does.
    named = split_extension(source_name(source))[1]
    if named and head and any(beginning.startswith(head) for beginning in _MAGIC_BYTES[named]):
        return named
    return ""


def _is_bzip2(head: bytes) -> bool:
    """Return whether "BZh", which is also text, begins a bzip2 file: a digit follows, and a block or the end."""
    blocks = (b"1AY&SY", b"\x17rE8P\x90")
    return head[3:4].isdigit() and any(block.startswith(head[4:10]) for block in blocks)


class _Stream(Protocol):
    """One compressed stream, as `bz2.BZ2Decompressor` and `lzma.LZMADecompressor` have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _GzipMember:
    """A `_Stream` over a member of a gzip file."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        piece = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self.needs_input = not self._stream.unconsumed_tail and len(piece) < max_length
        return piece

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data


class _ZstdFrame:
    """A `_Stream` over a frame of Zstandard; zstandard's own reader takes a cut-off file for a whole one."""

    needs_input = True  # All of the output is given at once.

    def __init__(self, name: str) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise UserError(f"{name} needs the package zstandard: pip install zstandard.") from error
        self._error = zstandard.ZstdError
        self._stream = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW).decompressobj()

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        try:
            return self._stream.decompress(data)
        except self._error as error:
            raise EOFError(str(error)) from error

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data


def _decompressed(file: IO[bytes], compression: str, source: Source) -> Iterator[bytes]:
    match compression:
        case ".gz":
            return _streams(file, _GzipMember)
        case ".xz":
            return _streams(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ))
        case ".bz2":
            return _streams(file, bz2.BZ2Decompressor)
        case ".zst":
            return _streams(file, lambda: _ZstdFrame(source_name(source)), _ZSTD_INPUT_BYTES)
    return iter(lambda: file.read(BLOCK_BYTES), b"")


def _streams(file: IO[bytes], new: Callable[[], _Stream], input_bytes: int = _INPUT_BYTES) -> Iterator[bytes]:
    """Yield what streams one after another hold, in pieces of bounded size; zero bytes may stand between them."""
    stream: _Stream | None = None
    while data := file.read(input_bytes):
        while True:
            if stream is None:
                if not (data := data.lstrip(b"\0")):
                    break
                stream = new()
            if piece := stream.decompress(data, BLOCK_BYTES):
                yield piece
            if stream.eof:
                data, stream = stream.unused_data, None
            elif stream.needs_input:
                break
            else:
                data = b""
    if stream is not None:
        raise EOFError("the file ends inside it")


def _equal_blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield pieces in blocks of equal size; before an error is raised, what was read ahead of it."""
    buffer = bytearray()
    failed: Exception | None = None
    while failed is None:
        try:
            piece = next(pieces)
        except StopIteration:
            break
        except Exception as error:
            failed, piece = error, b""
        for at in range(0, len(piece), BLOCK_BYTES):
            buffer += piece[at : at + BLOCK_BYTES]
            while len(buffer) >= BLOCK_BYTES:
                yield bytes(buffer[:BLOCK_BYTES])
                del buffer[:BLOCK_BYTES]
    if buffer:
        yield bytes(buffer)
    if failed is not None:
        raise failed
