"""Metrics as functions of which examples are counted, so that they can be computed for any sample of the examples."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

# Numbers of examples, int ``[count]``, some of them perhaps several times → the metric over these.
Measure = Callable[[np.ndarray], float]


def of_sums(statistics: ArrayLike, metric: Callable[[np.ndarray], float]) -> Measure:
    """Return the measure of a metric that follows from sums over the examples.

    Args:
        statistics: ``[examples, numbers]``, of each example; counts are exact in float64.
        metric: float64 ``[numbers]``, the sums → the metric.
    """
    values = np.asarray(statistics, dtype=np.float64)
    return lambda chosen: metric(values[chosen].sum(axis=0))


def ratio_of(parts: ArrayLike, wholes: ArrayLike, scale: float = 100.0) -> Measure:
    """Return the measure ``scale`` · Σ parts / Σ wholes, 0 where the wholes are; each is ``[examples]``."""
    return of_sums(
        np.stack([np.asarray(parts, np.float64), np.asarray(wholes, np.float64)], axis=1),
        lambda sums: float(scale * sums[0] / sums[1]) if sums[1] else 0.0,
    )


def mean_of(values: ArrayLike, scale: float = 100.0) -> Measure:
    """Return the measure ``scale`` · the mean of ``values``, ``[examples]``."""
    return ratio_of(values, np.ones_like(np.asarray(values, np.float64)), scale)
