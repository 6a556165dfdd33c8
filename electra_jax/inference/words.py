"""The words of a text as its writer sees them, and which tokens each of them is cut into."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence

# Characters that are part of a word between two letters, and of a number between two digits.
_BETWEEN_LETTERS = frozenset("'\u2019-\u2010\u00ad\u200c\u200d\u00b7")
_BETWEEN_DIGITS = frozenset(".,")
# Scripts that put no blanks between words: Thai and Lao, Myanmar, Khmer, kana, Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)

Span = tuple[int, int]


def word_spans(text: str, offsets: Sequence[Span] = ()) -> list[Span]:
    """Return (begin, end) of every word of a text in order, in its characters.

    A word is letters, digits and marks, with the apostrophes and hyphens between them; any other character that is no
    blank is a word of its own, with the marks behind it. In scripts without blanks between words each token is one. No
    word begins with a mark.

    Args:
        text: of a user.
        offsets: (begin, end) of its tokens.
    """
    starts = {begin for begin, _ in offsets}
    spans: list[Span] = []
    begin: int | None = None
    for place, character in enumerate(text):
        kind = unicodedata.category(character)[0]
        if begin is None:
            inside = kind != "M" and _is_letter(character)
        else:
            inside = _is_letter(character) or _joins(text, place)
        cut = begin is not None and place in starts and kind != "M" and _UNSPACED.match(character)
        if begin is not None and (cut or not inside):
            spans.append((begin, place))
            begin = None
        if inside:
            begin = place if begin is None else begin
        elif kind == "M":
            if spans and spans[-1][1] == place:
                spans[-1] = (spans[-1][0], place + 1)
        elif kind not in "ZC":
            spans.append((place, place + 1))
    return spans if begin is None else [*spans, (begin, len(text))]


def tokens_of_words(words: Sequence[Span], offsets: Sequence[Span]) -> list[list[int]]:
    """Return for each word the numbers of the tokens that hold characters of it.

    Args:
        words: (begin, end) of each, in order.
        offsets: (begin, end) of the tokens.
    """
    ends = [end for _, end in words]
    found: list[list[int]] = [[] for _ in words]
    for token, (begin, end) in enumerate(offsets):
        number = bisect_right(ends, begin)
        while begin < end and number < len(words) and words[number][0] < end:
            found[number].append(token)
            number += 1
    return found


def write_words(words: Sequence[str]) -> tuple[str, list[Span]]:
    """Return words as a text, and where each of them stands in it.

    Blanks are written between them, but none before closing punctuation, as in the texts that models are trained on.
    """
    text, spans = "", []
    for word in words:
        if text and not (len(word) == 1 and word in ".,;:!?)]}%\u2026"):
            text += " "
        spans.append((len(text), len(text) + len(word)))
        text += word
    return text, spans


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM" or character == "_"


def _joins(text: str, place: int) -> bool:
    """Return whether a character lies between two parts of one word or number."""
    if place + 1 == len(text):
        return False
    around = text[place - 1], text[place + 1]
    if text[place] in _BETWEEN_DIGITS:
        return all(map(str.isdigit, around))
    return text[place] in _BETWEEN_LETTERS and all(map(_is_letter, around))
