"""Reading files as blocks of bytes, whatever they are compressed with."""

from __future__ import annotations

import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from electra_jax.errors import UserError

BLOCK_BYTES = 1 << 18
COMPRESSIONS = (".gz", ".xz", ".zst")

_ZSTD_INPUT_BYTES = 1 << 16  # Small, because all that it expands to is in memory at once.
_ZSTD_MAX_WINDOW = 1 << 31  # Files made with --long are ordinary in corpora.


def split_extension(path: str) -> tuple[str, str]:
    """Returns the extension that says the format and the one that says the compression, "" for none."""
    stem, last = os.path.splitext(path.lower())
    if last in COMPRESSIONS:
        return os.path.splitext(stem)[1], last
    return last, ""


def read_blocks(path: str) -> Iterator[bytes]:
    """Yields the decompressed bytes of a file, `BLOCK_BYTES` at a time (the last block may be shorter).

    Raises:
        UserError: The file cannot be read, or its compressed stream is damaged or incomplete.
    """
    compression = split_extension(path)[1]
    try:
        with open(path, "rb") as file:
            yield from _equal_blocks(_decompressed(file, compression))
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{path} cannot be read: {error.strerror}.") from error
        raise UserError(
            f"{path} is damaged or incomplete: its {compression} stream cannot be read ({error}); get the file again."
        ) from error


def _decompressed(file: IO[bytes], compression: str) -> Iterator[bytes]:
    if compression == ".gz":
        with gzip.GzipFile(fileobj=file) as stream:
            yield from _pieces(stream.read)
    elif compression == ".xz":
        with lzma.LZMAFile(file) as stream:
            yield from _pieces(stream.read)
    elif compression == ".zst":
        yield from _zstd_pieces(file)
    else:
        yield from _pieces(file.read)


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while piece := read(BLOCK_BYTES):
        yield piece


def _zstd_pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yields decompressed pieces, frame by frame: zstandard's own reader takes a cut-off file for a whole one."""
    try:
        import zstandard
    except ImportError as error:
        raise UserError(f"{file.name} needs the package zstandard: pip install zstandard.") from error
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW)
    frame = None
    try:
        while data := file.read(_ZSTD_INPUT_BYTES):
            while data:
                if frame is None or frame.eof:
                    frame = decompressor.decompressobj()
                yield frame.decompress(data)
                data = frame.unused_data if frame.eof else b""
    except zstandard.ZstdError as error:
        raise EOFError(str(error)) from error
    if frame is not None and not frame.eof:
        raise EOFError("the file ends inside a frame")


def _equal_blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= BLOCK_BYTES:
            yield bytes(buffer[:BLOCK_BYTES])
            del buffer[:BLOCK_BYTES]
    if buffer:
        yield bytes(buffer)
