"""Cleaning text before it is cut into tokens, with the way back from each character to the original's."""

import unicodedata
from collections.abc import Callable
from itertools import accumulate

from electra_jax.tokenizers.pinned_unicode import category, is_assigned

# Raised whenever a normaliser here gives other text than before, be it for another version of Unicode: saved
# tokenizers and fingerprints carry it. 1 is the code below under Unicode 14.0.0 (`pinned_unicode.UNICODE`).
RULES = 1


class CharacterMap(dict[int, str]):
    """A table for `str.translate`, filled as characters are met: fast, and one character at a time."""

    def __init__(self, rule: Callable[[str], str]):
        super().__init__()
        self._rule = rule

    def __missing__(self, code: int) -> str:
        self[code] = result = self._rule(chr(code))
        return result


class PlainNormalizer:
    """Lower case and stripping of accents, independently of each other; used before SentencePiece.

    SentencePiece applies NFKC afterwards, so a character is looked at in its compatible form: what NFKC
    takes apart (℃, ½, ´) must not bring capitals or accents back. Case is folded character by character,
    whatever the neighbours: Σ becomes σ even at the end of a word. U+2581, which SentencePiece writes for
    a space, becomes a space.
    """

    def __init__(self, *, lowercase: bool, strip_accents: bool):
        self._lowercase = lowercase
        self._strip = strip_accents
        self._map = CharacterMap(self._character)

    def _character(self, char: str) -> str:
        if char == "\u2581":
            return " "
        if char == "\0":
            return ""  # the one control character that SentencePiece would keep
        if not is_assigned(char):
            return char
        if category(char) == "Cs":
            return "\ufffd"  # half of a surrogate pair, which JSON can spell and UTF-8 cannot
        if self._lowercase:
            char = unicodedata.normalize("NFKC", char).lower()
        if self._strip:
            decomposed = unicodedata.normalize("NFKD", char)
            char = unicodedata.normalize("NFC", "".join(c for c in decomposed if not _is_mark(c)))
        return char

    def __call__(self, text: str) -> str:
        """Return the normalised text."""
        return text.translate(self._map)

    def aligned(self, text: str) -> tuple[str, list[int]]:
        """Return the normalised text, and for each of its characters the index of the original one it came from."""
        pieces = [self._map[ord(char)] for char in text]
        return "".join(pieces), [i for i, piece in enumerate(pieces) for _ in piece]


class CharacterNormalizer(PlainNormalizer):
    """Lower case and stripping of accents and nothing else, character by character; used before single characters.

    Without the two, text stays as it is; but for half of a surrogate pair, which becomes U+FFFD.
    """

    def _character(self, char: str) -> str:
        if not is_assigned(char):
            return char
        if category(char) == "Cs":
            return "\ufffd"
        if self._lowercase:
            char = char.lower()
        if self._strip:
            decomposed = unicodedata.normalize("NFD", char)
            char = unicodedata.normalize("NFC", "".join(c for c in decomposed if not _is_mark(c)))
        return char


class BertNormalizer:
    """Cleaning of text as BERT's own BasicTokenizer does it.

    Control characters go, every white space becomes a space, Chinese characters get spaces round them; then
    optionally lower case (by the rules of whole words: a final sigma) and accents stripped; then punctuation
    outside ASCII gets spaces round it. What is left to do is to split at white space and at ASCII punctuation.
    """

    def __init__(self, *, lowercase: bool, strip_accents: bool):
        self._lowercase = lowercase
        self._strip = strip_accents
        self._clean = CharacterMap(_clean_character)
        self._finish = CharacterMap(self._finish_character)

    def _finish_character(self, char: str) -> str:
        if self._strip and _is_mark(char):
            return ""
        return f" {char} " if ord(char) > 127 and category(char).startswith("P") else char

    def __call__(self, text: str) -> str:
        """Return the normalised text."""
        text = text.translate(self._clean)
        if self._lowercase:
            text = text.lower()
        if text.isascii():
            return text
        if self._strip:
            text = unicodedata.normalize("NFD", text)
        return text.translate(self._finish)

    def aligned(self, text: str) -> tuple[str, list[int]]:
        """Return the normalised text, and for each of its characters the index of the original one it came from."""
        cleaned = [(i, c) for i, char in enumerate(text) for c in self._clean[ord(char)]]
        lowered = "".join(c for _, c in cleaned)
        lowered = lowered.lower() if self._lowercase else lowered
        characters: list[tuple[int, str]] = []
        at = 0
        for index, char in cleaned:
            # Lower case depends on the neighbours (final sigma) but its length does not.
            width = len(char.lower()) if self._lowercase else 1
            piece = lowered[at : at + width]
            at += width
            piece = unicodedata.normalize("NFD", piece) if self._strip else piece
            characters += [(index, c) for c in piece]
        if self._strip:
            characters = _canonical_order(characters)
        finished = [(index, c) for index, char in characters for c in self._finish[ord(char)]]
        return "".join(c for _, c in finished), [index for index, _ in finished]


def is_accent(char: str) -> bool:
    """Return whether stripping accents leaves nothing of the character: a combining mark, or a half-width ﾞ or ﾟ."""
    return is_assigned(char) and all(map(_is_mark, unicodedata.normalize("NFKD", char)))


def _is_mark(char: str) -> bool:
    return category(char) == "Mn"


def _canonical_order(characters: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Sort the combining characters after each base by their class, as NFD does for a whole text."""
    classes = [unicodedata.combining(char) for _, char in characters]
    bases = accumulate(number == 0 for number in classes)
    keyed = sorted(zip(bases, classes, characters), key=lambda item: item[:2])
    return [character for _, _, character in keyed]


def _clean_character(char: str) -> str:
    code = ord(char)
    if char in "\t\n\r" or category(char) == "Zs":
        return " "
    if code in (0, 0xFFFD) or category(char).startswith("C"):
        return ""
    return f" {char} " if _is_chinese(code) else char


def _is_chinese(code: int) -> bool:
    """Return whether a code point is in the CJK Unified Ideographs blocks, as BERT lists them."""
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
