"""Turns of a conversation, and the text that a network reads of them.

Every turn is a line: who speaks, a colon, what is said. Who speaks is told from the side of whoever replies, ``me`` and
``you`` (`Speakers`), so that a network that learned from people called Ann and Bob can talk to anybody. A turn whose
speaker is not known begins with a dash, as in printed dialogue. Where a vocabulary has no newlines the marks alone tell
turns apart: ``you: Hello! me: Hi.``
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Speakers = Literal["sides", "names", "none"]

ME, YOU = "me", "you"
_UNKNOWN = "-"


@dataclass(frozen=True)
class Turn:
    """What somebody says in a conversation.

    Attributes:
        text: that is said.
        speaker: by whom; None where it is not known.
    """

    text: str
    speaker: str | None = None


def reply_text(turn: Turn) -> str:
    """Return a turn as it is written or ranked: without its speaker, on one line, its blanks single."""
    return " ".join(turn.text.split())


def turns_text(turns: Sequence[Turn], replier: str | None = None, speakers: Speakers = "sides") -> str:
    r"""Return the turns before a reply as one text, a line each.

    >>> print(turns_text([Turn("Hello!", "Ann"), Turn("Hi.", "Bob"), Turn("All well?", "Ann")], "Bob"))
    you: Hello!
    me: Hi.
    you: All well?

    Args:
        turns: in their order; of any number, so none gives an empty text.
        replier: who replies; None where it is not known, and everybody else is ``you`` then.
        speakers: ``sides``: ``me`` for who replies, ``you`` for all others; ``names``: their own names, and a last line
            with the name of who replies; ``none``: a dash for every turn.
    """
    lines = [f"{_mark(turn.speaker, replier, speakers)} {reply_text(turn)}" for turn in turns]
    if speakers == "names" and replier is not None:
        lines.append(_mark(replier, replier, speakers))
    return "\n".join(lines)


def _mark(speaker: str | None, replier: str | None, speakers: Speakers) -> str:
    if speaker is None or speakers == "none":
        return _UNKNOWN
    name = " ".join(speaker.split()) if speakers == "names" else ME if speaker == replier else YOU
    return f"{name}:"


def alternating(texts: Sequence[str]) -> list[Turn]:
    """Return texts as the turns of two speakers, ``A`` and ``B``, who take turns."""
    return [Turn(text, "AB"[number % 2]) for number, text in enumerate(texts)]


def replies(turns: Sequence[Turn], history: int | None = None) -> Iterator[tuple[int, Sequence[Turn], Turn]]:
    """Yield the number of every turn but the first, the turns before it, and the turn.

    Args:
        turns: of a conversation.
        history: most turns before it, the last ones; None: all.
    """
    for number in range(1, len(turns)):
        start = 0 if history is None else max(0, number - history)
        yield number, turns[start:number], turns[number]


def last(turns: Sequence[Turn], most: int | None) -> Sequence[Turn]:
    """Return the last turns, ``most`` of them; all with None."""
    return turns if most is None else turns[max(0, len(turns) - most) :]


def turns_that_fit(
    turns: Sequence[Turn],
    room: int,
    length: Callable[[str], int],
    replier: str | None = None,
    speakers: Speakers = "sides",
) -> Sequence[Turn]:
    """Return the last turns whose text is not longer than ``room``, whole ones; the last alone where it is too long.

    Args:
        turns: of a conversation.
        room: for their text.
        length: of a text, such as its number of tokens.
        replier: as in `turns_text`.
        speakers: as in `turns_text`.
    """
    for start in range(len(turns) - 1):
        if length(turns_text(turns[start:], replier, speakers)) <= room:
            return turns[start:]
    return turns[-1:]


def next_speaker(turns: Sequence[Turn]) -> str | None:
    """Return who spoke last before the speaker of the last turn; None where nobody else is known."""
    others = [turn.speaker for turn in turns if turn.speaker not in (None, turns[-1].speaker)]
    return others[-1] if others else None
