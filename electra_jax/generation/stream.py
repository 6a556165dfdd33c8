"""Text as it becomes certain, out of tokens as they come; and where stop strings cut it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# What a decoder shows for bytes that are no character yet.
_UNFINISHED = "\ufffd"


class TextStream:
    """Turns ids into text piece by piece; the pieces put together are the text of all ids.

    Held back are a character whose bytes are not all there, what the next tokens may still change, and what may be the
    beginning of a stop string.
    """

    def __init__(
        self,
        detokenize: Callable[[Sequence[int]], str],
        stop_strings: Sequence[str] = (),
        *,
        prompt: Sequence[int] = (),
        whole_words: bool = False,
    ):
        """Begin a text.

        Args:
            detokenize: from ids to text.
            stop_strings: the text ends before the first of them.
            prompt: ids that the text goes on from, and that are no part of it.
            whole_words: whether what follows the last blank may look different when more tokens follow.
        """
        self._detokenize, self._stops = detokenize, tuple(stop_strings)
        self._prompt, self._whole_words = list(prompt), whole_words
        self._ids: list[int] = []
        self._shown = ""
        self.stopped = False

    @property
    def ids(self) -> list[int]:
        """The tokens so far; where a stop string was met, up to the one that completed it."""
        return list(self._ids)

    @property
    def text(self) -> str:
        """All of the text so far, the stop string and what comes after it cut off."""
        return self._cut(self._text(self._ids))

    def add(self, ids: Sequence[int]) -> str:
        """Return the text that has become certain with these tokens."""
        if self.stopped:
            return ""
        first = len(self._ids) + 1
        self._ids += [int(id) for id in ids]
        if self._stops and self._has_stop(self._ids):
            while first < len(self._ids) and not self._has_stop(self._ids[:first]):
                first += 1
            del self._ids[first:]
            self.stopped = True
            return self._show(self.text)
        certain = self._text(self._ids).rstrip(_UNFINISHED)
        if self._whole_words:
            certain = certain[: max(certain.rfind(" "), 0)]
        return self._show(certain[: len(certain) - self._begun(certain)])

    def finish(self) -> str:
        """Return what was held back, when no more tokens come."""
        return "" if self.stopped else self._show(self.text)

    def _text(self, ids: Sequence[int]) -> str:
        return continuation(self._detokenize, self._prompt, ids)

    def _has_stop(self, ids: Sequence[int]) -> bool:
        text = self._text(ids)
        return any(stop in text for stop in self._stops)

    def _cut(self, text: str) -> str:
        return text[: min((at for stop in self._stops if (at := text.find(stop)) >= 0), default=None)]

    def _begun(self, text: str) -> int:
        """Return how many of the last characters may be the beginning of a stop string."""
        longest = 0
        for stop in self._stops:
            fitting = (count for count in range(len(stop) - 1, 0, -1) if text.endswith(stop[:count]))
            longest = max(longest, next(fitting, 0))
        return longest

    def _show(self, certain: str) -> str:
        new = certain[len(self._shown) :]
        self._shown += new
        return new


def continuation(
    detokenize: Callable[[Sequence[int]], str], prompt: Sequence[int], ids: Sequence[int]
) -> str:
    """Return the text of ``ids`` as it goes on from a prompt, its first blank included."""
    if not prompt:
        return detokenize(ids)
    before, whole = detokenize(prompt), detokenize([*prompt, *ids])
    return whole[len(before) :] if whole.startswith(before) else detokenize(ids)
