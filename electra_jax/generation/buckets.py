"""Few shapes for prompts of any length: each shape is a program to compile."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


def sizes(most: int, *, first: int = 16, multiple: int = 16, growth: float = 1.4) -> tuple[int, ...]:
    """Return lengths that grow to ``most``, multiples but for the last."""
    found = []
    size = first
    while size < most:
        found.append(size)
        size = max(size + multiple, int(size * growth) // multiple * multiple)
    return (*found, most)


def row_sizes(most: int, devices: int) -> tuple[int, ...]:
    """Return numbers of rows, each twice the one before: one, then what every device shares, all of them equally."""
    most = max(devices, most // devices * devices)
    found = [devices]
    while found[-1] < most:
        found.append(min(2 * found[-1], most))
    return tuple(dict.fromkeys((1, *found)))


@dataclass(frozen=True)
class Bucket:
    """A shape: what is compiled for it serves every batch that fits.

    Attributes:
        rows: prompts in a batch.
        length: tokens that prompts are filled up to.
        slots: tokens of prompt and text.
    """

    rows: int
    length: int
    slots: int


@dataclass(frozen=True)
class Buckets:
    """All shapes there are.

    Attributes:
        rows: numbers of rows, increasing.
        lengths: lengths of prompts, increasing.
        slots: lengths of prompts with their texts, increasing; the last is all that the model has.
    """

    rows: tuple[int, ...]
    lengths: tuple[int, ...]
    slots: tuple[int, ...]

    def fitting(self, rows: int, length: int, new_tokens: int) -> Bucket:
        """Return the smallest shape for prompts of up to this length; their texts end where the slots do."""
        padded = _at_least(self.lengths, length)
        return Bucket(_at_least(self.rows, rows), padded, _at_least(self.slots, padded + new_tokens))

    def room(self, new_tokens: int) -> int:
        """Return the slots for texts of up to this length, their prompts not counted."""
        return _at_least(self.slots, new_tokens)

    def batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield the numbers of prompts that go together, the shortest first: a batch has one length to fill up to."""
        order = sorted(range(len(lengths)), key=lambda number: lengths[number])
        batch: list[int] = []
        for number in order:
            is_longer = batch and _at_least(self.lengths, lengths[number]) != _at_least(
                self.lengths, lengths[batch[0]]
            )
            if is_longer or len(batch) == self.rows[-1]:
                yield batch
                batch = []
            batch.append(number)
        if batch:
            yield batch


def _at_least(of: Sequence[int], value: int) -> int:
    return of[min(bisect_left(of, value), len(of) - 1)]
