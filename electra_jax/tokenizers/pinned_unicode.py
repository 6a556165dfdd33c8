"""One version of Unicode, whatever Python's own is, so that tokens do not depend on the Python that makes them.

What Unicode says of a character it once assigned (decompositions, combining class, lower case) is stable from version
to version; what changes is which code points are characters. So a list of those that are assigned in one version
pins it: the others are treated as unassigned by every Python. Each Python's own tables answer for the rest;
`tests/tokenizers/test_pinned_unicode.py` compares what comes out for all code points with one recorded hash.

`unicode_14.py` holds the list. ``python -m electra_jax.tokenizers.pinned_unicode`` writes it, with a Python that has
this very version (3.11).
"""

import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from electra_jax.tokenizers.unicode_14 import ASSIGNED

UNICODE = "14.0.0"
UNASSIGNED = "Cn"

_HEADER = '''"""The code points that Unicode 14.0.0 assigns, as hexadecimal ranges; `pinned_unicode` writes this."""

ASSIGNED = """
'''
_COLUMNS = 100


def is_assigned(char: str) -> bool:
    """Return whether Unicode 14.0.0 assigns the character."""
    place = bisect_right(_FIRST, ord(char)) - 1
    return place >= 0 and ord(char) <= _LAST[place]


def category(char: str) -> str:
    """Return the general category in Unicode 14.0.0, such as "Lu"; "Cn" where it has no such character."""
    return unicodedata.category(char) if is_assigned(char) else UNASSIGNED


def assigned_ranges() -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each run of code points that this Python's own Unicode assigns."""
    first = None
    for code in range(sys.maxunicode + 2):
        there = code <= sys.maxunicode and unicodedata.category(chr(code)) != UNASSIGNED
        if there and first is None:
            first = code
        elif not there and first is not None:
            yield first, code - 1
            first = None


def _parse(ranges: str) -> tuple[list[int], list[int]]:
    ends = [entry.partition("-") for entry in ranges.split()]
    return [int(first, 16) for first, _, _ in ends], [int(last or first, 16) for first, _, last in ends]


_FIRST, _LAST = _parse(ASSIGNED)


def _write(path: Path) -> None:
    if unicodedata.unidata_version != UNICODE:
        raise SystemExit(
            f"this Python has Unicode {unicodedata.unidata_version}, not {UNICODE}: use Python 3.11"
        )
    lines = [""]
    for first, last in assigned_ranges():
        entry = f"{first:X}" if first == last else f"{first:X}-{last:X}"
        if len(lines[-1]) + 1 + len(entry) > _COLUMNS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {entry}".strip()
    path.write_text(_HEADER + "\n".join(lines) + '\n"""\n', encoding="utf-8")


if __name__ == "__main__":
    _write(Path(__file__).with_name("unicode_14.py"))
