"""How many values a msgpack file has: each may take one byte there, and a hundred in Python."""


def has_more_items(content: bytes, most: int) -> bool:
    """Return whether there are more than ``most`` values; of a truncated file, those that are there count.

    The arrays of numpy (extensions) are msgpack themselves, and their content is counted, too.
    """
    at = count = 0
    while at < len(content) and count <= most:
        count += 1
        at += _step(content, at)
    return count > most


# First byte of a value with fixed size, or with parts that are values themselves → bytes to the next value.
_FIXED = {
    **dict.fromkeys((*range(0xA0), 0xC0, 0xC1, 0xC2, 0xC3, *range(0xE0, 0x100)), 1),
    **{0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9},
    **dict.fromkeys(range(0xD4, 0xD9), 2),  # small extensions
    **{0xC7: 3, 0xC8: 4, 0xC9: 6},  # extensions
    **{0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5},  # lists and maps
}
# First byte of binary data or text → how many bytes its length takes.
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}


def _step(content: bytes, at: int) -> int:
    first = content[at]
    if first in _FIXED:
        return _FIXED[first]
    if 0xA0 <= first < 0xC0:  # short text
        return 1 + first - 0xA0
    width = _SIZED[first]
    return 1 + width + int.from_bytes(content[at + 1 : at + 1 + width], "big")
