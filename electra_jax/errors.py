"""The exceptions a user is meant to read, what keeps a message on one line, and names in it."""

import re
from collections.abc import Iterable

# Enough for a dozen long paths; a terminal shows some 25 lines of it.
MAX_MESSAGE_LENGTH = 2000
# A path may have a few parts of 255 bytes; what is longer and without a blank is no name anybody chose.
MAX_WORD_LENGTH = 800


def one_line(text: str) -> str:
    r"""Return the text as a terminal may show it: on one line, every character visible, of bounded length.

    Names that come from files can hold line ends, escape codes and characters that turn the writing around; those
    are spelled out (``\n``, ``\x1b``, ``\u202e``). What is too long loses its middle, so that both the beginning
    and the advice at the end stay. Applied twice it changes nothing more.
    """
    if len(text) > 4 * MAX_MESSAGE_LENGTH:  # not every character of a hundred megabytes need be looked at
        text = _without_middle(text, 4 * MAX_MESSAGE_LENGTH)
    visible = text if text.isprintable() else "".join(c if c.isprintable() else _spelled(c) for c in text)
    visible = re.sub(
        rf"\S{{{MAX_WORD_LENGTH + 1},}}", lambda word: _without_middle(word[0], MAX_WORD_LENGTH), visible
    )
    return _without_middle(visible, MAX_MESSAGE_LENGTH)


def visible(text: str) -> str:
    r"""Return a text whose control characters are spelled out (``\x1b``), so that a terminal shows and obeys none.

    Line ends and tabs stay.
    """
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: _spelled(found[0]), text)


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _without_middle(text: str, longest: int) -> str:
    """Return at most ``longest`` characters: two thirds of them from the beginning, one from the end."""
    if len(text) <= longest:
        return text
    end = longest // 3
    return f"{text[: longest - end - 1]}…{text[-end:]}"


def listed(names: Iterable[object], limit: int = 8) -> str:
    """Join names for a message with commas; those beyond ``limit`` are counted. No names are no text."""
    texts = [str(name) for name in names]
    more = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {more:,} more" if more > 0 else "")


def quoted(names: Iterable[object], limit: int = 30) -> str:
    """Join names as `listed`, each in quotation marks; "none" if there are none."""
    return listed(map(repr, names), limit) or "none"


class UserError(Exception):
    """Something the user can put right: the message says what was wrong, where, and what to do.

    Command lines print it as one sentence and exit with ``status``; library callers catch it by type. Whatever the
    message was made of, it is one printable line (`one_line`), so that whoever raises it can put names from files in
    it as they are.
    """

    status = 2

    def __init__(self, message: object = ""):
        super().__init__(one_line(str(message)))


class HostLost(UserError):
    """Another host of the run no longer answers; the same command on every host goes on from the last checkpoint."""

    status = 75  # EX_TEMPFAIL of sysexits.h: try again
