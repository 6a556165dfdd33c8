"""A figure of a run as a function of which items it is measured on, and two runs compared on the same items."""

import hashlib
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from electra_jax.tasks.measures import Measure
from electra_jax.tasks.paired_bootstrap import Comparison, draws, paired_bootstrap


@dataclass(frozen=True)
class Measured:
    """A figure of a run.

    Attributes:
        name: what was measured, the same for every run.
        measures: of each seed, in percent; larger is better.
        items: how many sentences, pairs or examples it is measured on.
        of_what: a hash of these; figures compare only where it is the same.
        truncated: texts that were cut since they were too long; None where this is not counted.
    """

    name: str
    measures: Sequence[Measure]
    items: int
    of_what: str
    truncated: int | None = None

    @property
    def by_seed(self) -> list[float]:
        """The figure of each seed on all items."""
        return [measure(np.arange(self.items)) for measure in self.measures]

    @property
    def value(self) -> float:
        """The mean over the seeds."""
        return statistics.fmean(self.by_seed)

    @property
    def deviation(self) -> float | None:
        """The standard deviation over the seeds; None of one, not a number where a figure is none."""
        found = self.by_seed
        if len(found) < 2:
            return None
        return statistics.stdev(found) if all(map(math.isfinite, found)) else math.nan


def fingerprint(items: Iterable[object]) -> str:
    """Return a hash of what a figure is measured on, by the ``repr`` of each item."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(repr(item).encode())
    return digest.hexdigest()[:16]


def compare(first: Measured, second: Measured, samples: int) -> Comparison | None:
    """Compare two runs by a paired bootstrap over the items; None where the items are not the same."""
    if (first.name, first.items, first.of_what) != (second.name, second.items, second.of_what):
        return None
    drawn = draws(first.items, samples, seed=0)
    return paired_bootstrap(first.measures, second.measures, first.items, drawn)
