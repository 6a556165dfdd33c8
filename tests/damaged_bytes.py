"""Bytes with mistakes in them, drawn by hypothesis, for the tests of readers of foreign files."""

from collections.abc import Sequence

from hypothesis import strategies as st

Edit = tuple[int, int, bytes, int]


def edits_of(parts: Sequence[bytes], reach: int) -> st.SearchStrategy[Edit]:
    """One change in the first ``reach`` bytes, with one of ``parts`` where something is put in; see `edited`."""
    return st.tuples(st.integers(0, 4), st.integers(0, reach), st.sampled_from(parts), st.integers(0, 255))


def edited(content: bytes, edits: Sequence[Edit]) -> bytes:
    """The bytes with some of them changed, put in, put in place of others, taken out or repeated."""
    made = bytearray(content)
    for what, where, part, value in edits:
        at = where % (len(made) + 1)
        match what:
            case 0 if made:
                made[at - 1] = value
            case 1:
                made[at:at] = part
            case 2:
                made[at : at + len(part)] = part
            case 3:
                del made[at : at + 1 + value % 32]
            case 4:
                made[at:at] = made[: value % 64]
    return bytes(made)
