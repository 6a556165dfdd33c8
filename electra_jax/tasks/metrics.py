"""Metrics of classification and regression by scikit-learn and SciPy, in percent, with GLUE's definitions."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from scipy import stats
from sklearn import metrics as sklearn

from electra_jax.errors import UserError

Values = Sequence[str] | Sequence[float]


def accuracy(gold: Values, predicted: Values) -> float:
    """Share of the examples that are right."""
    return 100.0 * sum(a == b for a, b in zip(gold, predicted, strict=True)) / len(gold)


def matthews(gold: Values, predicted: Values) -> float:
    """Matthews' correlation coefficient; 0 where either has one class only."""
    return 100.0 * float(sklearn.matthews_corrcoef(list(gold), list(predicted)))


def binary_f1(gold: Values, predicted: Values) -> float:
    """F1 of the class ``1`` where there is one (MRPC, QQP), else the mean of the classes' F1 (macro)."""
    classes = set(gold) | set(predicted)
    if classes <= {"0", "1"}:
        return 100.0 * float(
            sklearn.f1_score(list(gold), list(predicted), pos_label="1", average="binary", zero_division=0.0)
        )
    return 100.0 * float(sklearn.f1_score(list(gold), list(predicted), average="macro", zero_division=0.0))


def pearson(gold: Values, predicted: Values) -> float:
    """Pearson's correlation; 0 where it is not defined, as of constant predictions."""
    return _correlation(stats.pearsonr, gold, predicted)


def spearman(gold: Values, predicted: Values) -> float:
    """Spearman's rank correlation, ties averaged; 0 where it is not defined."""
    return _correlation(stats.spearmanr, gold, predicted)


def _correlation(measure: Callable[..., object], gold: Values, predicted: Values) -> float:
    if len(gold) < 2:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(measure(list(map(float, gold)), list(map(float, predicted)))[0])  # type: ignore[index]
    return 0.0 if value != value else 100.0 * value


METRICS: Mapping[str, Mapping[str, Callable[[Values, Values], float]]] = MappingProxyType(
    {
        "classification": {"accuracy": accuracy, "f1": binary_f1, "matthews": matthews},
        "regression": {"spearman": spearman, "pearson": pearson},
    }
)


def check_metric(task: str, kind: str, name: str) -> None:
    """Refuses a metric that the kind of task does not have.

    Raises:
        UserError: see above.
    """
    if name not in METRICS[kind]:
        raise UserError(
            f"finetune.tasks.{task}.metric is {name!r}, but {kind} has: {', '.join(METRICS[kind])}"
        )


def classification_scores(
    kind: str, names: Sequence[str], gold: Values, predicted: Values
) -> dict[str, float]:
    """The metrics ``names`` of a classification or regression, in that order."""
    return {name: METRICS[kind][name](gold, predicted) for name in names}
