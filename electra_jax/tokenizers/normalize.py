"""Cleaning text before it is cut into tokens, character by character, so that offsets can be traced back."""

import unicodedata
from collections.abc import Callable


class CharacterMap(dict[int, str]):
    """A table for `str.translate`, filled as characters are met: fast, and one character at a time."""

    def __init__(self, rule: Callable[[str], str]):
        super().__init__()
        self._rule = rule

    def __missing__(self, code: int) -> str:
        self[code] = result = self._rule(chr(code))
        return result


def strip_accents(text: str) -> str:
    """Decomposes and drops combining marks (category Mn)."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")


class PlainNormalizer:
    """Lower-cases and strips accents, independently of each other; used before SentencePiece.

    U+2581, which SentencePiece writes for a space, becomes a space.
    """

    def __init__(self, *, lowercase: bool, strip_accents: bool):
        self._lowercase = lowercase
        self._strip = strip_accents
        self._map = CharacterMap(self._character)

    def _character(self, char: str) -> str:
        if char == "\u2581":
            return " "
        if unicodedata.category(char) == "Cs":
            return "\ufffd"  # half of a surrogate pair, which JSON can spell and UTF-8 cannot
        if self._lowercase:
            char = char.lower()
        return unicodedata.normalize("NFC", strip_accents(char)) if self._strip else char

    def __call__(self, text: str) -> str:
        """The normalised text."""
        return text.translate(self._map)

    def aligned(self, text: str) -> tuple[str, list[int]]:
        """The normalised text, and for each of its characters the index of the one it came from."""
        pieces = [self._map[ord(char)] for char in text]
        return "".join(pieces), [i for i, piece in enumerate(pieces) for _ in piece]


class BertNormalizer:
    """Cleans text as BERT's own BasicTokenizer does, punctuation splitting left to what follows.

    Control characters go, every white space becomes a space, Chinese characters get spaces round them; then
    optionally lower case (by the rules of whole words: a final sigma) and accents stripped.
    """

    def __init__(self, *, lowercase: bool, strip_accents: bool):
        self._lowercase = lowercase
        self._strip = strip_accents
        self._clean = CharacterMap(_clean_character)
        self._without_marks = CharacterMap(lambda c: "" if unicodedata.category(c) == "Mn" else c)

    def __call__(self, text: str) -> str:
        """The normalised text."""
        text = text.translate(self._clean)
        if self._lowercase:
            text = text.lower()
        if self._strip and not text.isascii():
            text = unicodedata.normalize("NFD", text).translate(self._without_marks)
        return text

    def aligned(self, text: str) -> tuple[str, list[int]]:
        """The normalised text, and for each of its characters the index of the one it came from."""
        cleaned = [(i, c) for i, char in enumerate(text) for c in self._clean[ord(char)]]
        lowered = "".join(c for _, c in cleaned)
        lowered = lowered.lower() if self._lowercase else lowered
        result: list[str] = []
        origin: list[int] = []
        at = 0
        for index, char in cleaned:
            # Lower case depends on the neighbours (final sigma) but its length does not.
            width = len(char.lower()) if self._lowercase else 1
            piece = lowered[at : at + width]
            at += width
            piece = strip_accents(piece) if self._strip else piece
            result.append(piece)
            origin += [index] * len(piece)
        return "".join(result), origin


def _clean_character(char: str) -> str:
    code = ord(char)
    if char in "\t\n\r" or unicodedata.category(char) == "Zs":
        return " "
    if code in (0, 0xFFFD) or unicodedata.category(char).startswith("C"):
        return ""
    return f" {char} " if _is_chinese(code) else char


def _is_chinese(code: int) -> bool:
    """The CJK Unified Ideographs blocks, as BERT lists them."""
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0x20000 <= code <= 0x2A6DF
        or 0x2A700 <= code <= 0x2B73F
        or 0x2B740 <= code <= 0x2B81F
        or 0x2B820 <= code <= 0x2CEAF
        or 0xF900 <= code <= 0xFAFF
        or 0x2F800 <= code <= 0x2FA1F
    )
