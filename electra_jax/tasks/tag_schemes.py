"""Spans of words as a tag for each word: IOB2, IOB1, BIOES and BILOU, read as the official conlleval script reads them.

A span's words are tagged ``B-TYPE`` (its first), ``I-TYPE``, ``E-TYPE`` or ``L-TYPE`` (its last), ``S-TYPE`` or
``U-TYPE`` (its only one); the other words are ``O``. Types may be left out.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

# "BIO" is IOB2: every span begins with B. In IOB1 only a span that touches one of the same type does. "plain" labels
# (parts of speech, for instance) are no spans.
Scheme = Literal["BIO", "IOB1", "BIOES", "BILOU", "plain"]

OUTSIDE = "O"
_TAG = re.compile(r"([BIESLU])(?:-(.+))?", re.DOTALL)


class Span(NamedTuple):
    """The words ``start`` … ``end`` - 1."""

    type: str
    start: int
    end: int


def split_tag(tag: str) -> tuple[str, str] | None:
    """Letter and type of a tag, ("O", "") of the one outside spans; None for a plain label."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    match = _TAG.fullmatch(tag)
    return (match[1], match[2] or "") if match else None


def scheme_of(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme of some sentences' tags; "plain" where there is no span, or anything that is no tag of a span.

    BIO with mistakes is BIO: IOB1 is what has an I that begins a span, and no B but behind a word of the same type.
    """
    letters: set[str] = set()
    begun: set[str] = set()  # letters behind a word that is not of the same type
    for tags in sentences:
        before = (OUTSIDE, "")
        for tag in tags:
            current = split_tag(tag)
            if current is None:
                return "plain"
            letters.add(current[0])
            if before[0] == OUTSIDE or before[1] != current[1]:
                begun.add(current[0])
            before = current
    letters.discard(OUTSIDE)
    if not letters:
        return "plain"
    if letters <= set("BI"):
        return "IOB1" if "I" in begun and "B" not in begun else "BIO"
    if letters <= set("BIES"):
        return "BIOES"
    return "BILOU" if letters <= set("BILU") else "plain"


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans of a sentence in order, whatever the scheme, and whatever is wrong with it.

    As conlleval has it, a span begins at B, S and U, behind E, L, S, U and O, and where the type changes; it goes on as
    long as none begins and there is no O.

    Raises:
        ValueError: a plain label.
    """
    spans: list[Span] = []
    before = (OUTSIDE, "")
    for place, tag in enumerate(tags):
        current = split_tag(tag)
        if current is None:
            raise ValueError(f"{tag!r} is no tag of a span")
        letter, kind = current
        if letter != OUTSIDE:
            if letter in "BSU" or before[0] in "ELSUO" or before[1] != kind:
                spans.append(Span(kind, place, place + 1))
            else:
                spans[-1] = spans[-1]._replace(end=place + 1)
        before = current
    return spans


def tags_of(spans: Sequence[Span], length: int, scheme: Scheme) -> list[str]:
    """The tags of a sentence of ``length`` words, from spans in order that do not overlap."""
    tags = [OUTSIDE] * length
    last, single = _ENDS.get(scheme, ("I", "B"))
    for number, span in enumerate(spans):
        letters = ["I"] * (span.end - span.start)
        before = spans[number - 1] if number else None
        touches = before is not None and before.end == span.start and before.type == span.type
        letters[-1] = last
        if scheme != "IOB1" or touches:
            letters[0] = "B" if len(letters) > 1 else single
        tags[span.start : span.end] = [join_tag(letter, span.type) for letter in letters]
    return tags


_ENDS = {"BIOES": ("E", "S"), "BILOU": ("L", "U")}  # letters of a span's last word, and of its only one


def join_tag(letter: str, kind: str) -> str:
    """The tag of a letter and a type, which may be ""."""
    return f"{letter}-{kind}" if kind else letter


def convert(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The same spans in another scheme; mistakes are repaired."""
    return tags_of(spans_of(tags), len(tags), scheme)


def types_of(labels: Iterable[str]) -> tuple[str, ...]:
    """The types among tags of spans, sorted."""
    split = (split_tag(label) for label in labels)
    return tuple(sorted({kind for letter, kind in filter(None, split) if letter != OUTSIDE}))


def scheme_labels(types: Iterable[str], scheme: Scheme) -> tuple[str, ...]:
    """Every tag that spans of these types can have, sorted as in the reference."""
    letters = {"BIOES": "BIES", "BILOU": "BILU"}.get(scheme, "BI")
    return tuple(sorted({OUTSIDE, *(join_tag(letter, kind) for kind in types for letter in letters)}))
