"""Sentences longer than a row, as overlapping windows of whole words."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class WordWindow:
    """The words of a sentence that a row holds, and those whose tags are read from it.

    Attributes:
        first: number of its first word.
        end: number of the word after its last.
        words: int ``[decided]``, numbers of the words that this row decides. Each word of a sentence is decided by one
            row, the one with most context around it.
        positions: int ``[decided]``, the position in the row of the first wordpiece of each of them.
    """

    first: int
    end: int
    words: np.ndarray
    positions: np.ndarray


def window_bounds(sizes: np.ndarray, room: int) -> list[tuple[int, int]]:
    """Return the first word of each window and the word after its last; [] where there is no word.

    Each window begins about half a window after the one before, and the last is as long as possible.

    Args:
        sizes: int ``[words]``, wordpieces of each word, from 1 to ``room``.
        room: wordpieces of a window.
    """
    if not len(sizes):
        return []
    ends = np.cumsum(sizes)
    begins = ends - sizes
    last_first = int(np.searchsorted(begins, ends[-1] - room))  # from here on the rest fits into one window
    first, bounds = 0, []
    while True:
        end = int(np.searchsorted(ends, begins[first] + room, side="right"))
        bounds.append((first, end))
        if end == len(sizes):
            return bounds
        half_way = int(np.searchsorted(begins, begins[first] + room // 2))
        first = min(max(half_way, first + 1), end, last_first)


def word_windows(sizes: np.ndarray, room: int) -> list[WordWindow]:
    """Return the windows of a sentence, for rows of [CLS], wordpieces and ``[SEP]``; arguments as in `window_bounds`.

    The context of a word in a window is the number of wordpieces before or after it, whichever is smaller; of equal
    windows the first decides the word.
    """
    bounds = window_bounds(sizes, room)
    ends = np.cumsum(sizes)
    begins = ends - sizes
    context = np.full(len(sizes), -1)
    deciding = np.zeros(len(sizes), int)
    for number, (first, end) in enumerate(bounds):
        part = slice(first, end)
        here = np.minimum(begins[part] - begins[first], ends[end - 1] - ends[part])
        better = here > context[part]
        context[part][better] = here[better]
        deciding[part][better] = number
    windows = []
    for number, (first, end) in enumerate(bounds):
        words = np.flatnonzero(deciding == number)
        windows.append(WordWindow(first, end, words, begins[words] - begins[first] + 1))
    return windows
