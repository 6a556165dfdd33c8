"""Metrics of one right answer among several, from its rank when the most probable comes first."""

from collections.abc import Sequence

import numpy as np

from electra_jax.tasks.measures import Measure, mean_of


def rank_of(scores: np.ndarray, right: int) -> int:
    """Return the place of an answer, from 1, when those of ``scores`` ``[count]`` are put in order, the largest first.

    Of equal ones the first comes first, as in an argmax; what is not a number comes before the right one.
    """
    before = ~(scores <= scores[right])
    before[:right] |= scores[:right] == scores[right]
    before[right] = False
    return 1 + int(before.sum())


def rank_measures(ranks: np.ndarray, names: Sequence[str]) -> dict[str, Measure]:
    """Return the metrics ``names`` in percent, of ranks int ``[examples]``.

    ``accuracy`` is the share of ranks of 1 (R@1, hits@1), ``recall@K`` that of ranks of at most K, and ``mrr`` the mean
    of 1 / rank.
    """

    def values(name: str) -> np.ndarray:
        if name == "mrr":
            return 1.0 / ranks
        most = 1 if name == "accuracy" else int(name.partition("@")[2])
        return ranks <= most

    return {name: mean_of(values(name)) for name in names}
