"""Words and punctuation marks of WordPiece as a person would write them: with blanks only where they belong.

BERT's tokenizer cuts text at white space and on both sides of every punctuation mark, and does not say which it was.
The rules here go from left to right and look one word ahead, so what stands before the last blank stays as it is when
more words are added. They know English's apostrophes; the rest is common to languages of the Latin alphabet.
"""

from collections.abc import Sequence

_CLOSING = frozenset(".,;:!?)]}%…”»›°、。，．！？；：）」』】》〉")
_OPENING = frozenset("([{“„«‹¿¡（「『【《〈")
_APOSTROPHES = frozenset("'’")
_CONTRACTIONS = frozenset(("s", "t", "re", "ve", "ll", "d", "m", "em", "clock"))
_CURRENCIES = frozenset("$£€¥#")
# What follows a full stop without a blank, where a word stands before it.
_DOMAINS = frozenset(
    ("com", "org", "net", "edu", "gov", "uk", "de", "eu", "io", "html", "htm", "txt", "py", "pdf", "js")
)


def write_words(words: Sequence[str]) -> str:
    """Return the words as one text.

    Args:
        words: of a text without its blanks, each punctuation mark one of its own.
    """
    written = _Written()
    for place, word in enumerate(words):
        written.add(word, words[place + 1] if place + 1 < len(words) else "")
    return "".join(written.parts)


class _Written:
    """What is written so far, and which quotation marks are open."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._previous = self._before_previous = ""
        self._joins_next = True  # no blank at the beginning
        self._open = {'"': False, "'": False}

    def add(self, word: str, following: str) -> None:
        """Write a word; ``following`` is the next one, "" if there is none."""
        joins_this, joins_next = self._joints(word, following)
        if not (self._joins_next or joins_this):
            self.parts.append(" ")
        self.parts.append(word)
        self._joins_next = joins_next
        self._before_previous, self._previous = self._previous, word

    def _joints(self, word: str, following: str) -> tuple[bool, bool]:
        """Return whether there is no blank before the word, and whether there is none behind it."""
        previous = self._previous
        between_words = _is_word(previous) and _is_word(following)
        if word == '"':
            closes = self._open[word]
            self._open[word] = not closes
            return closes, not closes
        if word in _APOSTROPHES:
            return self._apostrophe(word, following)
        if word in ("-", "/", "_", "‐", "‑"):
            if word == "-" and word in (previous, following):  # a dash of two
                return previous == word, following == word
            joins = between_words or word == "_" or previous in (":", word)
            # A minus, or a path: with what follows, not with what stands before.
            return joins, joins or not _is_word(previous) or following == word
        if word == "–":
            joins = previous.isdigit() and following.isdigit()
            return joins, joins
        if word in _CLOSING:
            return True, self._runs_on(word, following)
        if word in _OPENING:
            return False, True
        if word in _CURRENCIES or word == "@":
            return False, _is_word(following)
        if word == "‘":
            return False, True
        joins = _is_wide(word) and _is_wide(previous)
        if previous == "." and len(word) == 1 and word.isalpha() and following == ".":
            joins = len(self._before_previous) == 1 and self._before_previous.isalpha()  # u.s.
        return joins, False

    def _apostrophe(self, word: str, following: str) -> tuple[bool, bool]:
        previous = self._previous
        if _is_word(previous) and following in _CONTRACTIONS:
            return True, True
        if previous in ("o", "O", "d", "l", "D", "L") and _is_word(following):
            return True, True
        if word == "’":
            return True, False
        if self._open[word] or previous[-1:] in ("s", "S", ",", ".", "!", "?"):
            self._open[word] = False
            return True, False
        self._open[word] = True
        return False, True

    def _runs_on(self, mark: str, following: str) -> bool:
        """Return whether what follows a closing mark stands right behind it, as in 3.14, 1,000, 10:30 and a.com."""
        previous = self._previous
        if mark in "。、，．！？；：）」』】》〉":
            return True
        if mark == ":" and following == "/":
            return True
        if previous.isdigit() and following.isdigit():
            size = len(following)
            return (
                mark == "."
                or (mark == "," and size == 3 and len(previous) <= 3)
                or (mark == ":" and size == 2)
            )
        address = previous == "www" or (_is_word(previous) and following.lower() in _DOMAINS)
        return mark == "." and address


def _is_word(text: str) -> bool:
    return text[:1].isalnum()


def _is_wide(text: str) -> bool:
    """Return whether a word is of Chinese or Japanese characters, between which there are no blanks."""
    return bool(text) and all("\u3040" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" for char in text)
