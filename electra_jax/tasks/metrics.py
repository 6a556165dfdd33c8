"""Metrics of all tasks but question answering, in percent: scikit-learn's and SciPy's, and conlleval's for spans.

The two libraries take two seconds to import, so they are where a figure of theirs is asked for.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from electra_jax.errors import UserError
from electra_jax.tasks.tag_schemes import STANDARD, Spelling, tags_to_spans

# Of pairs of texts with numbers; a ranking with one of them is evaluated on such.
SCORED_PAIRS = ("spearman", "pearson")
# The metrics that a kind of task can be selected by; the first is the default.
METRICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "classification": ("accuracy", "f1", "matthews"),
        "multi-label classification": ("micro_f1", "macro_f1", "exact_match", "mean_average_precision"),
        "regression": ("spearman", "pearson"),
        "multiple choice": ("accuracy", "recall@2", "mrr"),
        "ranking": ("hits@1", "recall@5", "recall@10", "mrr", "ndcg", *SCORED_PAIRS),
        "tagging of spans": ("f1", "precision", "recall", "accuracy"),
        "tagging with plain labels": ("accuracy",),
    }
)


def check_metric(task: str, kind: str, name: str) -> None:
    """Refuse a metric that does not exist for a kind of task.

    Args:
        task: its name, for the message.
        kind: a key of `METRICS`.
        name: of the metric.

    Raises:
        UserError: the kind does not have it.
    """
    if name not in METRICS[kind]:
        raise UserError(
            f"finetune.tasks.{task}.metric is {name!r}, but for {kind} it must be one of: {', '.join(METRICS[kind])}"
        )


def classification_scores(
    kind: str,
    names: Sequence[str],
    labels: Sequence[Any],
    predictions: Sequence[Any],
    num_classes: int = 2,
    positive: int | None = None,
) -> dict[str, float]:
    """Return the metrics ``names``, in percent and in that order.

    Args:
        kind: "classification" or "regression".
        names: some of `METRICS`.
        labels: numbers of the right classes, or the right values.
        predictions: the predicted ones.
        num_classes: of the task, whether or not all occur.
        positive: number of the class whose F1 is measured; None as in `f1`.
    """
    functions: dict[str, Callable[..., float]] = {"pearson": pearson, "spearman": spearman}
    if kind == "classification":
        functions = {
            "accuracy": accuracy,
            "f1": partial(f1, num_classes=num_classes, positive=positive),
            "matthews": matthews,
        }
    return {name: functions[name](labels, predictions) for name in names}


def multi_label_scores(
    names: Sequence[str], labels: np.ndarray, probabilities: np.ndarray, threshold: float
) -> dict[str, float]:
    """Return the metrics ``names``, in percent and in that order, as scikit-learn defines them.

    ``micro_f1`` counts all classes together, ``macro_f1`` is the mean of the classes' F1, ``exact_match`` the share of
    examples whose classes are all right (subset accuracy), ``mean_average_precision`` the mean over the classes, which
    does not depend on the threshold. A class that no example has, and that is never predicted, counts as 0.

    Args:
        names: some of `METRICS`.
        labels: ``[examples, classes]``, 1 for the classes of each example.
        probabilities: ``[examples, classes]``; NaN is not predicted.
        threshold: classes with at least this probability are predicted.
    """
    truth, given = labels.astype(bool), probabilities >= threshold

    def mean_f1(right: ArrayLike, counted: ArrayLike) -> float:
        return 100.0 * float(np.mean(2 * np.asarray(right) / np.maximum(counted, 1)))

    # Not scikit-learn's: it would average F1 over both values of a single class, and is slow for many thresholds.
    right, counted = (truth & given).sum(axis=0), truth.sum(axis=0) + given.sum(axis=0)
    functions: dict[str, Callable[[], float]] = {
        "micro_f1": lambda: mean_f1(right.sum(), counted.sum()),
        "macro_f1": lambda: mean_f1(right, counted),
        "exact_match": lambda: percent(int((truth == given).all(axis=1).sum()), len(truth)),
        "mean_average_precision": lambda: _mean_average_precision(truth, probabilities),
    }
    return {name: functions[name]() for name in names}


def _mean_average_precision(truth: np.ndarray, probabilities: np.ndarray) -> float:
    import sklearn.metrics

    values = [
        float(
            sklearn.metrics.average_precision_score(truth[:, number], np.nan_to_num(probabilities[:, number]))
        )
        if truth[:, number].any()
        else 0.0
        for number in range(truth.shape[1])
    ]
    return 100.0 * float(np.mean(values))


def accuracy(labels: Sequence[Any], predictions: Sequence[Any]) -> float:
    """Return the share of predictions that are right, in percent; 0 for none."""
    right = sum(label == prediction for label, prediction in zip(labels, predictions, strict=True))
    return percent(right, len(labels))


def matthews(labels: Sequence[int], predictions: Sequence[int]) -> float:
    """Return Matthews' correlation coefficient (CoLA) times 100, for any number of classes.

    It is 0 where labels or predictions have one class only.
    """
    import sklearn.metrics

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A single label was found")  # the result is 0, see above
        return 100.0 * float(sklearn.metrics.matthews_corrcoef(labels, predictions))


def f1(
    labels: Sequence[int], predictions: Sequence[int], num_classes: int = 2, positive: int | None = None
) -> float:
    """Return F1 of the class ``positive``, in percent.

    None is class 1 of two, as in GLUE (MRPC, QQP), and the mean over the classes that occur (macro) if there are more.
    It is 0 for a class that is never predicted correctly.
    """
    import sklearn.metrics

    if positive is None and num_classes != 2:
        return 100.0 * float(
            sklearn.metrics.f1_score(labels, predictions, average="macro", zero_division=0.0)
        )
    of = 1 if positive is None else positive
    truth, given = ([number == of for number in numbers] for numbers in (labels, predictions))
    return 100.0 * float(sklearn.metrics.f1_score(truth, given, zero_division=0.0))


def pearson(labels: Sequence[float], predictions: Sequence[float]) -> float:
    """Return Pearson's correlation times 100.

    It is 0 where SciPy has nan: for constant predictions, or fewer than two values.
    """
    return _correlation("pearsonr", labels, predictions)


def spearman(labels: Sequence[float], predictions: Sequence[float]) -> float:
    """Return Spearman's rank correlation times 100, ties averaged; 0 where SciPy has nan, as in `pearson`."""
    return _correlation("spearmanr", labels, predictions)


def _correlation(measure: str, labels: Sequence[float], predictions: Sequence[float]) -> float:
    if len(labels) < 2:
        return 0.0
    from scipy import stats

    with warnings.catch_warnings():
        # Constant predictions give 0, as documented; an untrained head may well make them.
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        value = float(getattr(stats, measure)(labels, predictions).statistic)
    return 100.0 * value if value == value else 0.0


def entity_scores(
    gold_tags: Sequence[Sequence[str]],
    predicted_tags: Sequence[Sequence[str]],
    spelling: Spelling = STANDARD,
) -> dict[str, float]:
    """Return conlleval's figures over all sentences: a span is right if its type, first and last word are.

    Args:
        gold_tags: of each sentence, in any of the schemes.
        predicted_tags: of the same words; in the same scheme, since ``accuracy`` compares tags.
        spelling: of both.

    Returns:
        ``f1``, ``precision`` and ``recall`` of spans, ``accuracy`` of tags, in percent; 0 where the denominator is 0.

    Raises:
        ValueError: plain labels, or another number of tags.
    """
    return entity_figures(entity_counts(gold_tags, predicted_tags, spelling).sum(axis=0))


def entity_counts(
    gold_tags: Sequence[Sequence[str]],
    predicted_tags: Sequence[Sequence[str]],
    spelling: Spelling = STANDARD,
) -> np.ndarray:
    """Return what `entity_figures` needs of each sentence, int64 ``[sentences, 5]``; arguments as of `entity_scores`.

    Raises:
        ValueError: as `entity_scores`.
    """
    counts = []
    for gold, guess in zip(gold_tags, predicted_tags, strict=True):
        gold_spans, guessed_spans = set(tags_to_spans(gold, spelling)), set(tags_to_spans(guess, spelling))
        right_tags = sum(a == b for a, b in zip(gold, guess, strict=True))
        spans = (len(gold_spans & guessed_spans), len(guessed_spans), len(gold_spans))
        counts.append((*spans, right_tags, len(gold)))
    return np.array(counts, np.int64).reshape(-1, 5)


def entity_figures(counts: np.ndarray) -> dict[str, float]:
    """Return the figures of `entity_scores` from the sums of `entity_counts`, ``[5]``."""
    right, predicted, there, right_tags, words = counts.tolist()
    return {
        "f1": percent(2 * right, predicted + there),
        "precision": percent(right, predicted),
        "recall": percent(right, there),
        "accuracy": percent(right_tags, words),
    }


def percent(part: float, whole: float) -> float:
    """Return 100 · part / whole; 0 where the whole is 0."""
    return 100.0 * part / whole if whole else 0.0
