"""Spans of words as one tag per word, in all common schemes, read as the official conlleval script reads them.

A tag is a letter with the type of the span. ``B`` tags the first word of a span, ``I`` or ``M`` one within it, ``E`` or
``L`` its last, ``S``, ``U`` or ``W`` its only one; the other words are ``O``. Types may be left out. How letter and
type are joined is a `Spelling`, which letters are used and where a `Scheme`; seqeval's conventions cover both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import NamedTuple

from electra_jax.config.tasks import TagScheme

# "BIO" is IOB2: every span begins with B. In IOB1 only a span that touches one of the same type does; IOE2 and IOE1
# are the same with E at the end. "BIOES" is also called IOBES. "plain" labels (parts of speech, for instance) are no
# spans.
Scheme = TagScheme

OUTSIDE = "O"

# Letters of a span's first word, of those within, of its last, and of its only one.
LETTERS: Mapping[Scheme, str] = MappingProxyType(
    {
        "BIO": "BIIB",
        "IOB1": "IIII",
        "IOE2": "IIEE",
        "IOE1": "IIII",
        "BIOES": "BIES",
        "BMES": "BMES",
        "BILOU": "BILU",
        "BMEWO": "BMEW",
    }
)
# Letters that differ where a span touches another of its type: IOB1's for the first word of the second span, IOE1's for
# the last word of the first.
_TOUCHING = {"IOB1": "B", "IOE1": "E"}

# What every letter means, as a letter of BIOES.
_MEANING = {
    **{"B": "B", "I": "I", "M": "I", "E": "E", "L": "E"},
    **{"S": "S", "U": "S", "W": "S"},
}


class Span(NamedTuple):
    """A span: the words ``start`` … ``end`` - 1."""

    type: str
    start: int
    end: int


@dataclass(frozen=True)
class Spelling:
    """How a letter and a type are joined to a tag.

    Attributes:
        separator: between them.
        suffix: whether the letter comes last, as in ``PER-B``; a type may contain the separator in either case.
        lower: whether the letter is lower-case, as in ``b-PER``; types are kept as they are.
        outside: the tag of words that are in no span.
    """

    separator: str = "-"
    suffix: bool = False
    lower: bool = False
    outside: str = OUTSIDE

    @property
    def name(self) -> str:
        """The tag outside spans and that of a span's first word, such as ``O B-TYPE``."""
        return f"{self.outside} {self.join('B', 'TYPE')}"

    def split(self, tag: str) -> tuple[str, str] | None:
        """Split a tag into its letter (upper-case) and its type.

        The tag outside spans gives ("O", ""), a tag that is spelled differently None.
        """
        if tag == self.outside:
            return OUTSIDE, ""
        parts = tag.rpartition(self.separator) if self.suffix else tag.partition(self.separator)
        if not parts[1]:
            letter, kind = tag, ""
        else:
            letter, kind = (parts[2], parts[0]) if self.suffix else (parts[0], parts[2])
            if not kind:
                return None
        if letter.upper() not in _MEANING or letter != self._cased(letter):
            return None
        return letter.upper(), kind

    def join(self, letter: str, kind: str) -> str:
        """Return the tag of a letter and a type, which may be ""."""
        if letter == OUTSIDE:
            return self.outside
        letter = self._cased(letter)
        if not kind:
            return letter
        return f"{kind}{self.separator}{letter}" if self.suffix else f"{letter}{self.separator}{kind}"

    def _cased(self, letter: str) -> str:
        return letter.lower() if self.lower else letter.upper()


STANDARD = Spelling()

# The standard one comes first, and is taken where several fit.
SPELLINGS: tuple[Spelling, ...] = tuple(
    Spelling(separator, suffix, lower, outside)
    for (lower, outside), separator, suffix in product(
        [(False, "O"), (True, "o"), (True, "O"), (False, "o")], "-_", (False, True)
    )
)
_BY_NAME = {spelling.name: spelling for spelling in SPELLINGS}


def spelling_by_name(name: str) -> Spelling:
    """Return the spelling with this `Spelling.name`.

    Raises:
        ValueError: there is none.
    """
    if name not in _BY_NAME:
        raise ValueError(f"tags are not spelled {name!r}, but in one of: {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def tags_to_spans(tags: Sequence[str], spelling: Spelling = STANDARD) -> list[Span]:
    """Return the spans of a sentence in order, for any scheme and even if the tags are inconsistent.

    As in conlleval, a span begins at B and S, after E, S and O, and where the type changes; it ends where the next
    begins or at O.

    Raises:
        ValueError: a tag that is spelled differently.
    """
    spans: list[Span] = []
    previous = (OUTSIDE, "")
    for position, tag in enumerate(tags):
        split = spelling.split(tag)
        if split is None:
            raise ValueError(f"{tag!r} is no tag of a span")
        letter, kind = current = _MEANING.get(split[0], OUTSIDE), split[1]
        if letter != OUTSIDE:
            if letter in "BS" or previous[0] in "ESO" or previous[1] != kind:
                spans.append(Span(kind, position, position + 1))
            else:
                spans[-1] = spans[-1]._replace(end=position + 1)
        previous = current
    return spans


def spans_to_tags(
    spans: Sequence[Span], length: int, scheme: Scheme, spelling: Spelling = STANDARD
) -> list[str]:
    """Return the tags of a sentence of ``length`` words, from spans in order that do not overlap."""
    tags = [spelling.outside] * length
    first, within, last, only = tuple(LETTERS[scheme])
    for number, span in enumerate(spans):
        size = span.end - span.start
        letters = [first, *[within] * (size - 2), last] if size > 1 else [only]
        touches_previous = number > 0 and _are_adjacent(spans[number - 1], span)
        touches_next = number + 1 < len(spans) and _are_adjacent(span, spans[number + 1])
        if scheme == "IOB1" and touches_previous:
            letters[0] = _TOUCHING[scheme]
        if scheme == "IOE1" and touches_next:
            letters[-1] = _TOUCHING[scheme]
        tags[span.start : span.end] = [spelling.join(letter, span.type) for letter in letters]
    return tags


def _are_adjacent(one: Span, other: Span) -> bool:
    return one.end == other.start and one.type == other.type


def convert_tags(
    tags: Sequence[str], scheme: Scheme, *, read: Spelling = STANDARD, write: Spelling = STANDARD
) -> list[str]:
    """Return the same spans in another scheme or spelling; inconsistent tags are repaired."""
    return spans_to_tags(tags_to_spans(tags, read), len(tags), scheme, write)


def entity_types(labels: Iterable[str], spelling: Spelling = STANDARD) -> tuple[str, ...]:
    """Return the types of the spans that some tags belong to, sorted."""
    split = (spelling.split(label) for label in labels)
    return tuple(sorted({kind for letter, kind in filter(None, split) if letter != OUTSIDE}))


def scheme_labels(types: Iterable[str], scheme: Scheme, spelling: Spelling = STANDARD) -> tuple[str, ...]:
    """Return every tag that spans of these types can have, sorted as in the reference."""
    letters = {*LETTERS[scheme], *_TOUCHING.get(scheme, "")}
    tags = {spelling.join(letter, kind) for kind in types for letter in letters}
    return tuple(sorted({spelling.outside, *tags}))
