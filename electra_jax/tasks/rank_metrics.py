"""Metrics of right answers among several, from their places when what has the largest score comes first."""

import math
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


def ranking_measures(
    ranked: Sequence[tuple[np.ndarray, Sequence[int]]], names: Sequence[str]
) -> dict[str, Measure]:
    """Return the metrics ``names`` in percent, means over examples that may have several right candidates.

    ``hits@K`` is 1 where a right one is among the first K, ``recall@K`` the share of the right ones that are, ``mrr``
    1 / the place of the first right one, and ``ndcg`` Σ 1 / log₂(1 + place) over the right ones, as a share of what it
    is where they come first (Järvelin & Kekäläinen 2002). Of equal scores a right one comes last: a model that says the
    same of all candidates is not right because the right one is listed first.

    Args:
        ranked: of each example the scores of its candidates ``[candidates]``, and the numbers of the right ones.
        names: some of the metrics.
    """
    places = []
    for scores, relevant in ranked:
        is_right = np.isin(np.arange(len(scores)), relevant)
        order = np.lexsort((is_right, -scores))  # what is not a number comes last
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(1, len(order) + 1)
        places.append(np.sort(place[list(relevant)]))

    return place_measures(places, names)


def place_measures(places: Sequence[np.ndarray], names: Sequence[str]) -> dict[str, Measure]:
    """Return the metrics ``names`` in percent, as `ranking_measures`; any of them may end in @K, as in ``ndcg@10``.

    Places beyond K count as not found, and then the best possible ``ndcg`` is that of K places, too.

    Args:
        places: of each example those of its right candidates, from 1, in order; infinite where it was not found.
        names: some of the metrics.
    """

    def value(name: str, of_one: np.ndarray) -> float:
        kind, _, given = name.partition("@")
        most = int(given) if given else math.inf
        found = of_one[of_one <= most]
        if kind == "ndcg":
            ideal = np.arange(1, 1 + min(len(of_one), most))
            return float((1 / np.log2(1 + found)).sum() / (1 / np.log2(1 + ideal)).sum())
        if kind == "mrr":
            return 1.0 / float(found[0]) if len(found) else 0.0
        return float(len(found) > 0) if kind == "hits" else len(found) / len(of_one)

    return {name: mean_of([value(name, of_one) for of_one in places]) for name in names}
