"""Which rows of a batch one host reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from electra_jax.errors import UserError


@dataclass(frozen=True)
class HostShare:
    """Some of the equal parts that the rows of a batch are cut into; all of it by default.

    A host's devices need not hold neighbouring parts: on a TPU the mesh follows the torus, and hosts lie across it.

    Attributes:
        parts: the numbers of its parts, increasing.
        of: how many parts a batch has.

    Raises:
        ValueError: parts that are none, out of order or beyond the last.
    """

    parts: tuple[int, ...] = (0,)
    of: int = 1

    def __post_init__(self) -> None:
        ordered = all(first < second for first, second in pairwise(self.parts))
        if not self.parts or not ordered or self.parts[0] < 0 or self.parts[-1] >= self.of:
            raise ValueError(
                f"parts {self.parts} of {self.of}: they must increase from 0 on, below {self.of}"
            )

    def size(self, batch_size: int) -> int:
        """Return how many of a batch's rows the host reads.

        Raises:
            UserError: the batch cannot be cut into such parts.
        """
        if batch_size % self.of:
            raise UserError(
                f"train.batch_size {batch_size} cannot be cut into {self.of} equal parts, one for each place on "
                f"mesh.data x mesh.fsdp: set it to a multiple of {self.of}"
            )
        return batch_size // self.of * len(self.parts)

    def pieces(self, batch_size: int) -> Iterator[tuple[int, int]]:
        """Yield first row and number of rows of each piece, neighbouring parts together.

        Raises:
            UserError: see `size`.
        """
        rows = self.size(batch_size) // len(self.parts)
        begins = [number for number, part in enumerate(self.parts) if part - 1 not in self.parts[:number]]
        for begin, end in pairwise([*begins, len(self.parts)]):
            yield self.parts[begin] * rows, (end - begin) * rows

    def take(self, array: np.ndarray) -> np.ndarray:
        """Return the host's rows of a whole batch, ``[batch, …]``.

        Raises:
            UserError: see `size`.
        """
        pieces = [array[first : first + count] for first, count in self.pieces(len(array))]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
