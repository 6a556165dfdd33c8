"""Minimal pairs by every score that a model has."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from electra_jax.benchmark.measured import Measured, fingerprint
from electra_jax.inference.model import Model
from electra_jax.inference.pairs import Pair, points_of_pair, read_pairs
from electra_jax.inference.scoring import score_texts
from electra_jax.scoring.methods import usable_methods
from electra_jax.tasks.measures import Measure


def first_of_each_group(path: Path, most: int) -> list[Pair]:
    """Return the first pairs of each group of a file, in its order.

    Raises:
        UserError: it cannot be read.
    """
    taken: dict[str | None, int] = {}
    pairs = []
    for pair in read_pairs(str(path)):
        taken[pair.group] = taken.get(pair.group, 0) + 1
        if taken[pair.group] <= most:
            pairs.append(pair)
    return pairs


def pairs_accuracies(model: Model, name: str, pairs: Sequence[Pair]) -> list[Measured]:
    """Measure how often the good text has the larger score, ties counted as a half: the mean over groups."""
    found = []
    texts = [pair.good for pair in pairs] + [pair.bad for pair in pairs]
    for method in usable_methods(model.config.objective, model._params):
        cut: list[bool] = []
        scores = [some.score for some in score_texts(model, texts, method, cut=cut)]
        points = np.array(list(map(points_of_pair, scores[: len(pairs)], scores[len(pairs) :])))
        measure = mean_over_groups(points, pairs)
        found.append(Measured(f"{name}, {method}", [measure], len(pairs), fingerprint(pairs), sum(cut)))
    return found


def mean_over_groups(points: np.ndarray, pairs: Sequence[Pair]) -> Measure:
    """Return the measure of the mean over groups, in percent, of points a pair, float64 ``[pairs]``."""
    _, groups = np.unique([pair.group or "" for pair in pairs], return_inverse=True)
    count = int(groups.max()) + 1

    def measure(chosen: np.ndarray) -> float:
        sizes = np.bincount(groups[chosen], minlength=count)
        sums = np.bincount(groups[chosen], points[chosen], minlength=count)
        return float(100 * (sums[sizes > 0] / sizes[sizes > 0]).mean())

    return measure
