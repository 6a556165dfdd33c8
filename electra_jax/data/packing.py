"""Packs documents of token ids into rows of fixed length; no token is thrown away.

A row is a sequence of segments, each `[CLS] tokens [SEP]` (or `[CLS] A [SEP] B [SEP]`, or for language models
`[CLS] tokens` where the document goes on), with [PAD] at the end at most. Nothing but ids is kept: segments, positions
and token types follow from where [CLS] and [SEP] stand.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np

# A document is not cut to fill a gap shorter than this ([CLS] and [SEP] included): the row is padded instead.
MIN_PIECE = 8
SINGLE_SEGMENT_PROBABILITY = 0.1
SHORT_TARGET_PROBABILITY = 0.05
MIN_TARGET_LENGTH = 5
# Rows that a packer fills before it hands them on.
_BUFFER_ROWS = 1024
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class Packer(Protocol):
    """A packer of documents, given one at a time, into rows that it gives back as they fill."""

    def add(self, ids: np.ndarray, sentence_ends: np.ndarray) -> Iterator[np.ndarray]:
        """Pack one document.

        Args:
            ids: the document's tokens, int [n].
            sentence_ends: where each of its sentences ends in ``ids``, increasing, the last one n.

        Yields:
            Finished rows, int32 [rows, length].
        """
        ...

    def finish(self) -> Iterator[np.ndarray]:
        """Yield the rows that are still held back, the last one padded."""
        ...


def make_packer(mode: str, length: int, *, cls_id: int, sep_id: int, pad_id: int) -> Packer:
    """Return the packer of `data.packing` for rows of ``length`` tokens."""
    rows = _Rows(length, cls_id, sep_id, pad_id)
    packers: dict[str, Callable[[_Rows], Packer]] = {
        "documents": DocumentPacker,
        "segment_pairs": PairPacker,
        "continuous": ContinuousPacker,
    }
    return packers[mode](rows)


def pack(packer: Packer, documents: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[np.ndarray]:
    """Pack documents, each given as (ids, sentence_ends); yield finished rows, int32 ``[rows, length]``."""
    for ids, sentence_ends in documents:
        yield from packer.add(ids, sentence_ends)
    yield from packer.finish()


def split_sentences(document: str) -> list[str]:
    """Split a document at line ends and after sentence-final punctuation; blanks are left out."""
    sentences = (s for line in document.splitlines() for s in _SENTENCE_END.split(line))
    return [s for s in sentences if s and not s.isspace()]


class _Rows:
    """Rows being filled from left to right."""

    def __init__(self, length: int, cls_id: int, sep_id: int, pad_id: int) -> None:
        self.length = length
        self._cls_id, self._sep_id, self._pad_id = cls_id, sep_id, pad_id
        self._buffer = self._empty()
        self._row = 0
        self._column = 0

    @property
    def free(self) -> int:
        """Positions left in the current row."""
        return self.length - self._column

    def place(self, *parts: np.ndarray) -> None:
        """Write ``[CLS] part [SEP] part [SEP] …`` into the current row, which must have room for it."""
        row, column = self._buffer[self._row], self._column
        row[column] = self._cls_id
        column += 1
        for part in parts:
            end = column + len(part)
            row[column:end] = part
            row[end] = self._sep_id
            column = end + 1
        self._column = column

    def place_piece(self, tokens: np.ndarray, *, is_last: bool) -> None:
        """Write ``[CLS] tokens``, and [SEP] if the document ends there, into the current row, which must have room."""
        row, start = self._buffer[self._row], self._column + 1
        end = start + len(tokens)
        row[start - 1] = self._cls_id
        row[start:end] = tokens
        if is_last:
            row[end] = self._sep_id
        self._column = end + is_last

    def end_row(self) -> Iterator[np.ndarray]:
        """Leave the current row as it is, unless it is empty, and go on to the next one."""
        if self._column == 0:
            return
        self._row, self._column = self._row + 1, 0
        if self._row == _BUFFER_ROWS:
            yield from self.take()

    def finish(self) -> Iterator[np.ndarray]:
        """Yield all rows that are not yet handed on, the current one as it is."""
        yield from self.end_row()
        yield from self.take()

    def take(self) -> Iterator[np.ndarray]:
        """Yield the rows that are ended and not yet handed on."""
        if self._row:
            full, self._buffer, self._row = self._buffer[: self._row], self._empty(), 0
            yield full

    def _empty(self) -> np.ndarray:
        return np.full((_BUFFER_ROWS, self.length), self._pad_id, np.int32)


class DocumentPacker:
    """`documents`: text runs on from row to row, several documents a row, each piece a segment of its own."""

    def __init__(self, rows: _Rows) -> None:
        self._rows = rows

    def add(self, ids: np.ndarray, sentence_ends: np.ndarray) -> Iterator[np.ndarray]:
        """See `Packer.add`."""
        del sentence_ends
        rows, start = self._rows, 0
        while start < len(ids):
            if rows.free < min(len(ids) - start + 2, MIN_PIECE):
                yield from rows.end_row()
            end = min(len(ids), start + rows.free - 2)
            rows.place(ids[start:end])
            start = end

    def finish(self) -> Iterator[np.ndarray]:
        """See `Packer.finish`."""
        yield from self._rows.finish()


class ContinuousPacker:
    """`continuous`: text for language models; [SEP] stands where a document ends, and nowhere else.

    Rows are filled to the last column: a document that does not fit goes on in the next row, behind another [CLS].
    One place, or two, stays empty where nothing but [CLS], or a document's end without its last token, would fit.
    """

    def __init__(self, rows: _Rows) -> None:
        self._rows = rows

    def add(self, ids: np.ndarray, sentence_ends: np.ndarray) -> Iterator[np.ndarray]:
        """See `Packer.add`."""
        del sentence_ends
        rows, start = self._rows, 0
        while start < len(ids):
            left, room = len(ids) - start, rows.free - 1
            # [SEP] never stands alone behind a [CLS]: that would be an empty text.
            size = left - 1 if left == room else min(left, room)
            if size < 1:
                yield from rows.end_row()
                continue
            rows.place_piece(ids[start : start + size], is_last=size == left)
            start += size
            if rows.free == 0:
                yield from rows.end_row()

    def finish(self) -> Iterator[np.ndarray]:
        """See `Packer.finish`."""
        yield from self._rows.finish()


class PairPacker:
    """`segment_pairs`: the reference's examples of two contiguous segments, one example a row.

    Sentences are appended up to a target length and divided between segments A and B. What does not fit in
    the row begins the next example, where the reference discards it. The draws depend on the documents alone.
    """

    def __init__(self, rows: _Rows) -> None:
        self._rows = rows
        # random.Random().random() is the one generator whose sequence Python guarantees for good.
        self._draw = random.Random(0).random
        self._target = rows.length

    def add(self, ids: np.ndarray, sentence_ends: np.ndarray) -> Iterator[np.ndarray]:
        """See `Packer.add`."""
        ends = sentence_ends.tolist()
        start = first = 0  # the example's first token; the sentence that holds it
        for last, end in enumerate(ends):
            # The document's last sentence ends an example however short it is.
            while end > start and (end - start >= self._target or last + 1 == len(ends)):
                middle, stop = self._divide(start, ends[first : last + 1])
                parts = [ids[start:middle], ids[middle:stop]] if stop > middle else [ids[start:middle]]
                self._rows.place(*parts)
                yield from self._rows.end_row()
                self._draw_target()
                start = stop
                while first <= last and ends[first] <= start:
                    first += 1

    def finish(self) -> Iterator[np.ndarray]:
        """See `Packer.finish`."""
        yield from self._rows.take()

    def _divide(self, start: int, ends: list[int]) -> tuple[int, int]:
        """Return where segment A and where segment B of the example at ``start`` end."""
        length = self._rows.length
        if self._draw() < SINGLE_SEGMENT_PROBABILITY:
            middle = ends[-1]
        else:
            target = (self._target - 3) // 2
            middle = ends[0]
            for end in ends[1:]:
                if end - start < target:
                    middle = end
                    continue
                # One sentence may take A past its target, half of the time.
                if middle - start < target and self._draw() < 0.5:
                    middle = end
                break
        middle = min(middle, start + length - 2)
        return middle, max(middle, min(ends[-1], start + length - 3))

    def _draw_target(self) -> None:
        length = self._rows.length
        self._target = length
        if self._draw() < SHORT_TARGET_PROBABILITY:
            self._target = MIN_TARGET_LENGTH + int(self._draw() * (length - MIN_TARGET_LENGTH + 1))
