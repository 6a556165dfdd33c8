"""Sorted string tables (SSTable) as LevelDB has them and TensorFlow writes them, without compression.

A table is blocks of entries, whose keys leave out the prefix they share with the key before, an index block that finds
the blocks, and a footer.
"""

import struct
from collections.abc import Iterable, Iterator

import google_crc32c

from electra_jax.convert.files.protobuf_fields import decode_varint, encode_varint

TABLE_MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
BLOCK_TRAILER_BYTES = 5  # kind of compression, checksum
SNAPPY = 1

# TensorFlow's own settings; it would read files written with others, but they would not be the same bytes.
BLOCK_BYTES = 256 * 1024
RESTART_INTERVAL = 16

# A bound on what a file can make the reader allocate.
MAX_KEY_BYTES = 2048


class SnappyError(Exception):
    """A block is compressed with Snappy, which is not supported."""


def masked_crc(content: bytes) -> int:
    """Return the CRC-32C of some bytes, rotated and shifted as in LevelDB.

    The mask keeps checksums of data that contains checksums good ones.
    """
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def ends_like_a_table(table: bytes) -> bool:
    """Return whether a file with this end may be a table."""
    return len(table) >= FOOTER_BYTES and table.endswith(struct.pack("<Q", TABLE_MAGIC))


def decode_table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values in order.

    Raises:
        SnappyError: it is compressed.
        ValueError, LookupError, struct.error: it is damaged; checksums are verified.
    """
    footer = table[-FOOTER_BYTES:]
    _, at = _decode_handle(footer, 0)
    index_handle, _ = _decode_handle(footer, at)
    left = len(table)
    for _, value in _decode_block(_block_content(table, *index_handle)):
        handle, _ = _decode_handle(value, 0)
        left -= handle[1] + BLOCK_TRAILER_BYTES
        if left < 0:  # the index names the same block again and again
            raise ValueError("its blocks hold more than the file")
        yield from _decode_block(_block_content(table, *handle))


def _decode_handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Return ((offset, size) of a block, position after it)."""
    offset, at = decode_varint(data, at)
    size, at = decode_varint(data, at)
    return (offset, size), at


def _block_content(table: bytes, offset: int, size: int) -> bytes:
    block = table[offset : offset + size + BLOCK_TRAILER_BYTES]
    if len(block) < size + BLOCK_TRAILER_BYTES:
        raise ValueError("a block ends behind the end of the file")
    kind, crc = struct.unpack_from("<BI", block, size)
    if masked_crc(block[: size + 1]) != crc:
        raise ValueError("the checksum of a block is wrong")
    if kind == SNAPPY:
        raise SnappyError
    if kind:
        raise ValueError(f"compression of unknown kind {kind}")
    return block[:size]


def _decode_block(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise ValueError("a block without an end")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 * (restarts + 1)
    at, key = 0, b""
    while at < end:
        shared, at = decode_varint(block, at)
        rest, at = decode_varint(block, at)
        length, at = decode_varint(block, at)
        if shared > len(key) or at + rest + length > end:
            raise ValueError("an entry ends behind its block")
        if shared + rest > MAX_KEY_BYTES:
            raise ValueError("a name that is too long")
        key = key[:shared] + block[at : at + rest]
        at += rest
        yield key, block[at : at + length]
        at += length


class BlockBuilder:
    """A block under construction; every ``restart_interval``-th key is written out in full."""

    def __init__(self, restart_interval: int):
        self.restart_interval = restart_interval
        self.content = bytearray()
        self.restarts = [0]
        self.entries_since = 0
        self.last_key = b""

    def add(self, key: bytes, value: bytes) -> None:
        """Append an entry; its key is not before those that are there."""
        if self.entries_since == self.restart_interval:
            self.restarts.append(len(self.content))
            self.entries_since, self.last_key = 0, b""
        shared = _common_length(self.last_key, key)
        for number in (shared, len(key) - shared, len(value)):
            self.content += encode_varint(number)
        self.content += key[shared:] + value
        self.entries_since, self.last_key = self.entries_since + 1, key

    @property
    def size(self) -> int:
        """The size of the block so far, in bytes."""
        return len(self.content) + 4 * (len(self.restarts) + 1)

    def finish(self) -> bytes:
        """Return the block, with the positions of the full keys at its end."""
        numbers = [*self.restarts, len(self.restarts)]
        return bytes(self.content) + struct.pack(f"<{len(numbers)}I", *numbers)


def encode_table(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return entries, sorted by key and at least one, as a table without compression."""
    table = bytearray()
    index, block = BlockBuilder(restart_interval=1), BlockBuilder(RESTART_INTERVAL)
    last_key, handle = b"", b""
    for key, value in entries:
        if handle:
            index.add(separator(last_key, key), handle)
            handle = b""
        block.add(key, value)
        last_key = key
        if block.size >= BLOCK_BYTES:
            handle, block = append_block(table, block.finish()), BlockBuilder(RESTART_INTERVAL)
    if block.content:
        handle = append_block(table, block.finish())
    index.add(successor(last_key), handle)
    handles = append_block(table, BlockBuilder(RESTART_INTERVAL).finish())  # an empty metaindex block
    handles += append_block(table, index.finish())
    return bytes(table) + handles.ljust(FOOTER_BYTES - 8, b"\0") + struct.pack("<Q", TABLE_MAGIC)


def append_block(table: bytearray, content: bytes) -> bytes:
    """Append a block to the table, and return its handle."""
    handle = encode_varint(len(table)) + encode_varint(len(content))
    content += b"\0"
    table += content + struct.pack("<I", masked_crc(content))
    return handle


def _common_length(one: bytes, other: bytes) -> int:
    for at, (left, right) in enumerate(zip(one, other)):
        if left != right:
            return at
    return min(len(one), len(other))


def separator(start: bytes, limit: bytes) -> bytes:
    """Return a short key k with start ≤ k < limit, where start < limit."""
    at = _common_length(start, limit)
    if at < min(len(start), len(limit)) and start[at] + 1 < limit[at]:
        return start[:at] + bytes([start[at] + 1])
    return start


def successor(key: bytes) -> bytes:
    """Return a short key that is not before this one."""
    for at, byte in enumerate(key):
        if byte != 0xFF:
            return key[:at] + bytes([byte + 1])
    return key
