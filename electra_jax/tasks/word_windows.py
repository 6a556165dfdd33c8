"""Sentences that are longer than a row, in overlapping windows of whole words."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class WordWindow:
    """What a row shows of a sentence, and which of these words it answers for.

    Attributes:
        first: number of its first word.
        end: number of the word after its last.
        words: int ``[answered]``, numbers of words. Each word of a sentence is answered for in one row, the one that
            shows most around it.
        positions: int ``[answered]``, where in the row the first wordpiece of each stands.
    """

    first: int
    end: int
    words: np.ndarray
    positions: np.ndarray


def window_bounds(sizes: np.ndarray, room: int) -> list[tuple[int, int]]:
    """Return the first word of each window and the word after its last; nothing where there is no word.

    Each begins about half a window after the one before, and the last is as long as it can be.

    Args:
        sizes: int ``[words]``, wordpieces of each word, from 1 to ``room``.
        room: wordpieces of a window.
    """
    if not len(sizes):
        return []
    ends = np.cumsum(sizes)
    begins = ends - sizes
    last_first = int(np.searchsorted(begins, ends[-1] - room))  # From here on all the rest fits.
    first, bounds = 0, []
    while True:
        end = int(np.searchsorted(ends, begins[first] + room, side="right"))
        bounds.append((first, end))
        if end == len(sizes):
            return bounds
        half_way = int(np.searchsorted(begins, begins[first] + room // 2))
        first = min(max(half_way, first + 1), end, last_first)


def word_windows(sizes: np.ndarray, room: int) -> list[WordWindow]:
    """The windows of a sentence whose rows are ``[CLS]``, the wordpieces, ``[SEP]``; arguments as `window_bounds`.

    A word's context in a window is the smaller number of the wordpieces before and after it; of equal windows the
    first answers for it.
    """
    bounds = window_bounds(sizes, room)
    ends = np.cumsum(sizes)
    begins = ends - sizes
    context = np.full(len(sizes), -1)
    answering = np.zeros(len(sizes), int)
    for number, (first, end) in enumerate(bounds):
        part = slice(first, end)
        here = np.minimum(begins[part] - begins[first], ends[end - 1] - ends[part])
        better = here > context[part]
        context[part][better] = here[better]
        answering[part][better] = number
    windows = []
    for number, (first, end) in enumerate(bounds):
        words = np.flatnonzero(answering == number)
        windows.append(WordWindow(first, end, words, begins[words] - begins[first] + 1))
    return windows
