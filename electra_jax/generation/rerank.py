"""Choosing among texts that were written for the same source: scores of several judges, mixed by weights.

A log-linear mixture whose weights are tuned on the metric itself, one at a time, as Och, "Minimum Error Rate Training
in Statistical Machine Translation", ACL 2003 (§3 to §5), does it. Here a line is searched at the weights where the
choice for some source changes, and not between all of them.

Scores are float64 ``[sources, candidates, judges]``; a candidate with a score that is not a number comes last, and
lists are filled up with such ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

# Numbers of candidates, int [sources], each counted from the first of the first source → how good they are.
Quality = Callable[[np.ndarray], float]

# Of the weights at which choices change, so many are tried, evenly spread over them.
_TRIED = 64
_MAX_ROUNDS = 10


def mixed(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return Σ weight · score, float64 ``[sources, candidates]``; −inf where a score is not a number.

    Args:
        scores: float64 ``[sources, candidates, judges]``.
        weights: float64 ``[judges]``.
    """
    known = np.isfinite(scores).all(axis=-1)
    return np.where(known, np.where(known[..., None], scores, 0.0) @ weights, -np.inf)


def chosen(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the best candidate of each source, int64 ``[sources]``; of equal ones the first."""
    return mixed(scores, weights).argmax(axis=1)


def counted_through(picks: np.ndarray, candidates: int) -> np.ndarray:
    """Return the numbers of candidates, int64 ``[sources]``, counted from the first of the first source."""
    return np.arange(len(picks)) * candidates + picks


def tune_weights(scores: np.ndarray, quality: Quality, either_sign: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the weights of a mixture whose choices are good, and how good they are.

    The search begins with the order of the lists themselves, with each judge alone and with all alike, and goes on from
    each by one weight at a time until nothing is gained. Of equally good mixtures the first one found is kept, so that
    a judge that does not help has the weight 0; where none helps all have. The largest weight is 1 or -1 where every
    judge's scores differ as much within a list as the others'.

    Args:
        scores: float64 ``[sources, candidates, judges]``.
        quality: of a choice of one candidate for each source, as `counted_through` numbers them; larger is better.
        either_sign: bool ``[judges]``, whose weights may be negative. Of the others that would only fit chance: the
            larger their score, the better the candidate.
    """
    spread = _spread(scores)
    unit = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    scaled = scores * unit
    useful = np.flatnonzero(spread > 0)
    candidates = scores.shape[1]

    def value(weights: np.ndarray) -> float:
        return quality(counted_through(chosen(scaled, weights), candidates))

    best = np.zeros(scores.shape[-1])
    most = value(best)
    for start in _starts(scores.shape[-1], useful):
        weights, reached = start, value(start)
        for _ in range(_MAX_ROUNDS):
            before = reached
            for judge in useful.tolist():
                for tried in _on_a_line(scaled, weights, judge, signed=bool(either_sign[judge])):
                    if (here := value(tried)) > reached:
                        weights, reached = tried, here
            if reached <= before:
                break
        if reached > most:
            best, most = weights, reached
    return best * unit / (np.abs(best).max() or 1.0), most


def best_of_each(known: np.ndarray, quality: Quality) -> np.ndarray:
    """Return the candidate of each source that is best by itself, int64 ``[sources]``: what no judge can improve on.

    Args:
        known: bool ``[sources, candidates]``, false for what only fills a list up.
        quality: see `tune_weights`.
    """
    sources, candidates = known.shape
    each = np.array([quality(np.array([number])) for number in range(known.size)])
    return np.where(known, each.reshape(sources, candidates), -np.inf).argmax(axis=1)


def _spread(scores: np.ndarray) -> np.ndarray:
    """Return how much each judge's scores differ within a list, the mean over lists, float64 ``[judges]``."""
    known = np.isfinite(scores).all(axis=-1, keepdims=True)
    counts = np.maximum(known.sum(axis=1, keepdims=True), 1)
    values = np.where(known, scores, 0.0)
    deviations = np.where(known, values - values.sum(axis=1, keepdims=True) / counts, 0.0)
    found: np.ndarray = np.sqrt((deviations**2).sum(axis=1) / counts[:, 0]).mean(axis=0)
    return np.where(found > 1e-9, found, 0.0)  # below it is rounding


def _starts(judges: int, useful: np.ndarray) -> Iterator[np.ndarray]:
    yield np.zeros(judges)
    each = np.eye(judges)[useful]
    yield from each
    if len(useful) > 1:
        yield each.sum(axis=0)


def _on_a_line(scores: np.ndarray, weights: np.ndarray, judge: int, *, signed: bool) -> Iterator[np.ndarray]:
    """Yield mixtures that differ in one weight, those nearest to 0 first."""
    others = weights.copy()
    others[judge] = 0.0
    known = np.isfinite(scores).all(axis=-1)
    values = np.where(known[..., None], scores, 0.0)
    base, slope = values @ others, values[..., judge]
    now = chosen(scores, weights)[:, None]
    rise = np.take_along_axis(base, now, axis=1) - base
    run = slope - np.take_along_axis(slope, now, axis=1)
    crossings = (rise[known & (run != 0)] / run[known & (run != 0)]) if known.any() else np.zeros(0)
    shares = np.linspace(0.0, 1.0, _TRIED)
    between = np.quantile(crossings, shares) if len(crossings) else np.zeros(0)
    tried = np.unique(np.concatenate([[-1.0, 0.0, 1.0], (between[1:] + between[:-1]) / 2]))
    tried = tried if signed else tried[tried >= 0]
    for weight in tried[np.argsort(np.abs(tried), kind="stable")]:
        yield np.where(np.arange(len(weights)) == judge, weight, others)
