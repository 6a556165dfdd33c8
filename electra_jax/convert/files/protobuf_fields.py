"""Protocol buffer messages as numbered fields, for formats that need few of them."""

import struct
from collections.abc import Mapping
from typing import Any


def decode_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return (value, position after it) of a number in groups of seven bits, the lowest first."""
    value = shift = 0
    while shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number of more than 64 bits")


def encode_varint(value: int) -> bytes:
    """Return the bytes of a number, the inverse of `decode_varint`."""
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def decode_message(message: bytes) -> dict[int, list[Any]]:
    """Return field number → its values in order: integers, or bytes for strings and nested messages."""
    fields: dict[int, list[Any]] = {}
    at = 0
    value: int | bytes
    while at < len(message):
        key, at = decode_varint(message, at)
        match key & 7:
            case 0:
                value, at = decode_varint(message, at)
            case 1:
                (value,), at = struct.unpack_from("<Q", message, at), at + 8
            case 2:
                length, at = decode_varint(message, at)
                if at + length > len(message):
                    raise ValueError("a message that is cut short")
                value, at = message[at : at + length], at + length
            case 5:
                (value,), at = struct.unpack_from("<I", message, at), at + 4
            case wire_type:
                raise ValueError(f"wire type {wire_type}")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def last_value(fields: Mapping[int, list[Any]], number: int, default: Any = 0) -> Any:
    """Return the value of a field that occurs once; of several the last counts."""
    return fields.get(number, [default])[-1]


def encode_number(number: int, value: int) -> bytes:
    """Return a varint field, empty for 0, which is what a missing field means."""
    return encode_varint(number << 3) + encode_varint(value) if value else b""


def encode_bytes(number: int, content: bytes) -> bytes:
    """Return a field of bytes, text or a nested message."""
    return encode_varint(number << 3 | 2) + encode_varint(len(content)) + content
