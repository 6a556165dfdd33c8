"""How many rows the batch of each step has: as many in all, or more and more."""

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class BatchSizes:
    """Rows of the batches of a run, over all hosts.

    Attributes:
        starts: the steps, from 0, at which the number changes; the first is 0.
        rows: of a batch from each of them on.
    """

    starts: tuple[int, ...]
    rows: tuple[int, ...]

    @classmethod
    def constant(cls, rows: int) -> "BatchSizes":
        """Return batches that are all of one size."""
        return cls((0,), (rows,))

    def at(self, step: int) -> int:
        """Return the rows of the batch of a step, from 0."""
        return self.rows[bisect_right(self.starts, step) - 1]

    def before(self, step: int) -> int:
        """Return the rows of all batches before that of a step: where in the stream of rows it begins."""
        ends = (*self.starts[1:], step)
        return sum(
            rows * max(0, min(end, step) - start)
            for start, end, rows in zip(self.starts, ends, self.rows, strict=True)
        )
