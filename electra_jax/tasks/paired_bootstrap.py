"""The paired bootstrap: would the difference between two models be there on other examples of the same kind?

Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation" (https://aclanthology.org/W04-3250,
section 3): examples are drawn with replacement, as many as there are; both models are scored on the very same draw; and
how often the one that is better on all examples is better again says how sure one may be of it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from electra_jax.tasks.measures import Measure
from electra_jax.tasks.protocol import Task

# A smaller difference is none: the same sum in another order may differ in the last bits.
TIE = 1e-9


@runtime_checkable
class HasMeasures(Protocol):
    """A task that knows what is the same in every draw, and does that work once."""

    def measures(
        self, examples: Sequence[Any], predictions: Sequence[Mapping[str, Any]], names: Sequence[str]
    ) -> Mapping[str, Measure]:
        """Return those of the metrics ``names`` that can be measured so; the others are scored draw by draw."""


@dataclass(frozen=True)
class Comparison:
    """Two models compared on the same examples.

    Attributes:
        first: the metric of the first on all examples.
        second: that of the second.
        difference: second minus first.
        low: the 2.5th percentile of the difference over the draws in which both models have the metric (an area under
            a curve needs examples on both sides); not a number where there is no such draw.
        high: the 97.5th; between the two lies the 95 % interval (the percentile interval of Efron & Tibshirani 1993,
            chapter 13).
        p: (1 + the number of these draws in which the difference is zero or of the other sign) / (1 + their number):
            one-sided, never 0, and 1 where the two are equal on all examples.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


def measure_of(
    task: Task, examples: Sequence[Any], predictions: Sequence[Mapping[str, Any]], metric: str
) -> Measure:
    """Return a metric of a task as a measure: the task's own where it has one, else its `Task.score` of each draw."""
    if isinstance(task, HasMeasures):
        own = task.measures(examples, predictions, [metric])
        if metric in own:
            return own[metric]

    def score(chosen: np.ndarray) -> float:
        numbers = chosen.tolist()
        scores = task.score([examples[i] for i in numbers], [predictions[i] for i in numbers])
        return scores.get(
            metric, math.nan
        )  # such as that of questions without an answer, where none was drawn

    return score


def draws(examples: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield ``samples`` times as many numbers of examples as there are, int64 ``[examples]``, with replacement."""
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        yield rng.integers(examples, size=examples)


def paired_bootstrap(
    first: Sequence[Measure], second: Sequence[Measure], examples: int, drawn: Iterable[np.ndarray]
) -> Comparison:
    """Compare two models, or the means over the seeds of two, on the same examples.

    Args:
        first: the measure of each seed of the first.
        second: those of the second, of which there may be another number.
        examples: how many there are.
        drawn: what `draws` yields; one draw at least.
    """

    def both(chosen: np.ndarray) -> tuple[float, float]:
        means = [float(np.mean([measure(chosen) for measure in some])) for some in (first, second)]
        return means[0], means[1]

    scores = both(np.arange(examples))
    difference = scores[1] - scores[0]
    found = np.array([second_score - first_score for first_score, second_score in map(both, drawn)])
    found = found[~np.isnan(found)]
    low, high = np.quantile(found, [0.025, 0.975]) if len(found) else (np.nan, np.nan)
    sign = np.sign(difference) if abs(difference) > TIE else 0.0
    same = int((found * sign > TIE).sum())
    p = (1 + len(found) - same) / (1 + len(found))
    return Comparison(*scores, difference, float(low), float(high), p)
