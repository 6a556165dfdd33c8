"""Metrics against closed forms, other definitions of the same, and seqeval."""

import math
import random
import warnings

import numpy as np
import pytest
import sklearn.metrics
from scipy.stats import rankdata

from electra_jax.errors import UserError
from electra_jax.tasks.metrics import (
    METRICS,
    accuracy,
    check_metric,
    classification_scores,
    entity_scores,
    f1,
    matthews,
    multi_label_scores,
    pearson,
    spearman,
)

LETTERS = {
    "BIO": "BI",
    "BIOES": "BIES",
}


def _confusion(labels, predictions):
    pairs = list(zip(labels, predictions))
    return [pairs.count(pair) for pair in ((1, 1), (0, 1), (1, 0), (0, 0))]


@pytest.mark.parametrize("seed", range(20))
def test_two_classes_by_their_confusion_matrix(seed, within):
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(0, 2, (2, 40)).tolist()
    tp, fp, fn, tn = _confusion(labels, predictions)
    root = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    within("metrics: Matthews", abs(matthews(labels, predictions) - 100 * (tp * tn - fp * fn) / root), 1e-10)
    within("metrics: F1", abs(f1(labels, predictions) - 100 * 2 * tp / (2 * tp + fp + fn)), 1e-10)
    within("metrics: accuracy", abs(accuracy(labels, predictions) - 100 * (tp + tn) / 40), 1e-10)


@pytest.mark.parametrize("seed", range(10))
def test_several_classes(seed, within):
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(0, 4, (2, 60))
    # Matthews as the correlation of indicators (Gorodkin's R_K); F1 class by class.
    x, y = np.eye(4)[labels], np.eye(4)[predictions]
    x, y = x - x.mean(0), y - y.mean(0)
    expected = (x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum())
    within("metrics: Matthews of four classes", abs(matthews(labels, predictions) - 100 * expected), 1e-10)
    each = [f1((labels == c).astype(int), (predictions == c).astype(int)) for c in range(4)]
    within("metrics: macro F1", abs(f1(labels, predictions, 4) - np.mean(each)), 1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_any_number_of_labels_as_scikit_learn_has_it(seed, within):
    rng = np.random.default_rng(seed)
    has, probabilities = (rng.random((30, 4)) < 0.3).astype(np.int8), rng.random((30, 4)).round(1)
    has[:, seed % 4] = 0  # a class that no example has
    given = (probabilities >= 0.4).astype(int)
    scores = multi_label_scores(METRICS["multi-label classification"], has, probabilities, 0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "micro_f1": sklearn.metrics.f1_score(has, given, average="micro", zero_division=0.0),
            "macro_f1": sklearn.metrics.f1_score(has, given, average="macro", zero_division=0.0),
            "exact_match": sklearn.metrics.accuracy_score(has, given),
            "mean_average_precision": sklearn.metrics.average_precision_score(has, probabilities),
        }
    assert list(scores) == list(expected)
    for name, value in expected.items():
        within(f"metrics: multi-label, {name}", abs(scores[name] - 100 * value), 1e-10)


@pytest.mark.parametrize("has", [[[0, 0], [0, 0]], [[0], [1]], [[1], [1]]])
def test_labels_that_never_occur_and_a_single_class(has):
    has = np.array(has)
    given = np.where(has == 1, 0.9, 0.1)
    scores = multi_label_scores(METRICS["multi-label classification"], has, given, 0.5)
    value = 100.0 if has.any() else 0.0
    assert scores == {
        "micro_f1": value,
        "macro_f1": value,
        "exact_match": 100.0,
        "mean_average_precision": value,
    }


def test_f1_is_macro_for_three_classes_even_where_two_occur():
    labels, predictions = [0, 0, 1, 1], [0, 1, 1, 1]
    of_zero, of_one = 2 / 3, 4 / 5
    assert f1(labels, predictions, 2) == pytest.approx(100 * of_one)
    assert f1(labels, predictions, 3) == pytest.approx(100 * (of_zero + of_one) / 2)


def test_predictions_of_one_class_only_are_worth_nothing_and_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert matthews([0, 1, 1], [1, 1, 1]) == 0.0
        assert matthews([1, 1], [1, 1]) == 0.0
        assert f1([0, 1, 1], [0, 0, 0]) == 0.0
        assert f1([0, 0], [0, 0]) == 0.0
        assert pearson([1.0, 2.0, 3.0], [0.5, 0.5, 0.5]) == 0.0
        assert spearman([1.0, 2.0, 3.0], [0.5, 0.5, 0.5]) == 0.0
        assert spearman([2.0, 2.0], [1.0, 3.0]) == 0.0
        assert pearson([1.0], [2.0]) == spearman([1.0], [2.0]) == 0.0
        assert accuracy([], []) == 0.0


@pytest.mark.parametrize("seed", range(10))
def test_correlations(seed, within):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, 50).astype(float)  # with ties
    predictions = labels + rng.normal(size=50)
    linear = np.corrcoef(labels, predictions)[0, 1]
    ranks = np.corrcoef(rankdata(labels), rankdata(predictions))[0, 1]
    within("metrics: Pearson", abs(pearson(labels, predictions) - 100 * linear), 1e-10)
    within("metrics: Spearman", abs(spearman(labels, predictions) - 100 * ranks), 1e-10)
    within("metrics: Spearman of a bent scale", abs(spearman(labels, predictions**3) - 100 * ranks), 1e-10)


def test_scores_are_named_and_in_order():
    scores = classification_scores("classification", ("f1", "accuracy", "matthews"), [0, 1, 1], [0, 1, 0])
    assert list(scores.items()) == [
        ("f1", pytest.approx(200 / 3)),
        ("accuracy", pytest.approx(200 / 3)),
        ("matthews", 50.0),
    ]
    scores = classification_scores("regression", ("spearman",), [1.0, 2.0, 3.0], [1.0, 4.0, 2.0])
    assert list(scores.items()) == [("spearman", pytest.approx(50.0))]
    assert list(classification_scores("classification", METRICS["classification"], [0], [0])) == list(
        METRICS["classification"]
    )


def test_a_metric_there_is_not_is_one_sentence():
    with pytest.raises(UserError) as caught:
        check_metric("mine", "classification", "f2")
    assert str(caught.value) == (
        "finetune.tasks.mine.metric is 'f2', but for classification it must be one of: accuracy, f1, matthews"
    )


# --- spans ----------------------------------------------------------------------------------------------------


def test_spans_that_are_half_right_are_wrong():
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG"]]
    guess = [["B-PER", "O", "O", "B-LOC"], ["B-LOC", "B-LOC"]]
    assert entity_scores(gold, guess) == {
        "f1": pytest.approx(100 * 2 * 1 / (3 + 4)),
        "precision": 25.0,
        "recall": pytest.approx(100 / 3),
        "accuracy": 50.0,
    }


def test_nothing_to_find_and_nothing_found():
    assert entity_scores([["O", "O"]], [["O", "O"]]) == {
        "f1": 0.0,
        "precision": 0.0,
        "recall": 0.0,
        "accuracy": 100.0,
    }
    assert set(entity_scores([], []).values()) == {0.0}


def test_the_same_span_in_two_sentences_counts_twice():
    assert entity_scores([["B-X"], ["B-X"]], [["B-X"], ["O"]])["recall"] == 50.0


def test_another_number_of_tags_is_no_score():
    with pytest.raises(ValueError, match="argument"):
        entity_scores([["O", "O"]], [["O"]])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scheme", LETTERS)
def test_entity_scores_are_those_of_seqeval_whatever_the_sequence(scheme, seed, within):
    """seqeval's default mode is conlleval, for sequences with mistakes too."""
    metrics = pytest.importorskip("seqeval.metrics")
    rng = random.Random(seed)
    tags = ["O", *(f"{letter}-{kind}" for letter in LETTERS[scheme] for kind in ("PER", "LOC"))]
    lengths = [rng.randint(1, 12) for _ in range(30)]
    gold, guess = ([[rng.choice(tags) for _ in range(n)] for n in lengths] for _ in range(2))
    # Some agreement, or there is nothing to count.
    guess = [[rng.choice((a, a, a, b)) for a, b in zip(*pair)] for pair in zip(gold, guess)]
    scores = entity_scores(gold, guess)
    assert scores["f1"] > 5.0
    for name in ("f1", "precision", "recall", "accuracy"):
        function = getattr(metrics, {"accuracy": "accuracy_score"}.get(name, f"{name}_score"))
        within(f"metrics: seqeval's {name}", abs(scores[name] - 100 * function(gold, guess)), 1e-10)
