"""Metrics as sums: against scikit-learn, and that sums of parts are the sum of the whole."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_score, recall_score, roc_auc_score

from electra_jax.objectives.electra import discriminator_terms
from electra_jax.objectives.metrics import (
    AUC_BINS,
    AUC_LIMIT,
    add_sums,
    area_under_curve,
    auc_histogram,
    mean,
    weighted_sum,
)


def _scores(seed, count, spread=1.0, share=0.15):
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < share).astype(np.int32)
    logits = (rng.normal(-2.0, 1.0, count) + labels) * spread
    return logits.astype(np.float32), labels, (rng.random(count) < 0.8).astype(np.float32)


def test_area_is_exact_when_only_ties_share_a_bin():
    rng = np.random.default_rng(0)
    centres = (np.arange(AUC_BINS) + 0.5) * (2 * AUC_LIMIT / AUC_BINS) - AUC_LIMIT
    logits = rng.choice(centres, 5000).astype(np.float32)  # with many ties
    labels = (rng.random(5000) < 1 / (1 + np.exp(-logits / 4))).astype(np.int32)
    weights = rng.integers(0, 2, 5000).astype(np.float32)
    area = area_under_curve(auc_histogram(logits, labels, weights))
    assert area == pytest.approx(roc_auc_score(labels, logits, sample_weight=weights), abs=1e-12)


@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0, 3.0, 30.0], ids=lambda s: f"spread {s}")
def test_area_agrees_with_the_exact_one_up_to_the_pairs_in_one_bin(spread):
    logits, labels, weights = _scores(1, 20_000, spread)
    histogram = np.asarray(auc_histogram(logits, labels, weights), np.float64)
    exact = roc_auc_score(labels, logits, sample_weight=weights)
    # A pair in one bin counts half and may be worth 0 or 1: no error can be larger than half of those pairs.
    worst = 0.5 * (histogram[0] * histogram[1]).sum() / (histogram[0].sum() * histogram[1].sum())
    assert abs(area_under_curve(histogram) - exact) <= worst + 1e-9
    if 0.3 <= spread <= 3:  # where a discriminator's logits lie
        assert area_under_curve(histogram) == pytest.approx(exact, abs=5e-4)


def test_area_of_one_class_is_not_defined():
    logits = np.zeros(4, np.float32)
    assert area_under_curve(auc_histogram(logits, np.zeros(4, np.int32), np.ones(4))) is None


def test_sums_of_parts_add_up_to_the_whole():
    logits, labels, weights = _scores(2, 1000)
    whole = discriminator_terms(logits[None], labels[None], weights[None], auc_counts_padding=False)[1]
    halves = [
        discriminator_terms(
            logits[None, part], labels[None, part], weights[None, part], auc_counts_padding=False
        )[1]
        for part in (slice(0, 300), slice(300, 1000))
    ]
    for name, total in add_sums(*halves).items():
        np.testing.assert_allclose(total, whole[name], rtol=1e-6, err_msg=name)


def test_precision_recall_and_accuracy_are_scikit_learns():
    logits, labels, real = _scores(3, 4000, spread=2.0)
    _, sums = discriminator_terms(logits[None], labels[None], real[None], auc_counts_padding=False)
    predicted = (logits > 0).astype(int)
    for name, score in (
        ("disc_accuracy", accuracy_score),
        ("disc_precision", precision_score),
        ("disc_recall", recall_score),
    ):
        assert mean(sums[name]) == pytest.approx(score(labels, predicted, sample_weight=real), abs=1e-6), name
    assert area_under_curve(sums["disc_auc"]) == pytest.approx(
        roc_auc_score(labels, logits, sample_weight=real), abs=5e-4
    )


def test_what_was_never_counted_has_no_mean():
    real = np.ones((1, 4), np.float32)
    _, sums = discriminator_terms(
        np.full((1, 4), -3.0, np.float32), np.zeros((1, 4), np.int32), real, auc_counts_padding=False
    )
    assert mean(sums["disc_precision"]) is None  # nothing is predicted to be replaced
    assert mean(sums["disc_recall"]) is None
    assert mean(weighted_sum(np.ones(3), np.zeros(3))) is None


@pytest.mark.parametrize("at_padding", [-6.0, 3.0])
def test_padding_is_an_original_of_probability_0_where_the_original_counts_it(at_padding):
    """As there: labels and probabilities are multiplied by the mask, whatever the network says of padding."""
    logits, labels, real = _scores(5, 4000, spread=2.0)
    logits = np.where(real > 0, logits, np.float32(at_padding))
    labels = np.where(real > 0, labels, 0)
    _, sums = discriminator_terms(logits[None], labels[None], real[None], auc_counts_padding=True)
    exact = roc_auc_score(labels, (real > 0) / (1 + np.exp(-logits.astype(np.float64))))
    assert area_under_curve(sums["disc_auc"]) == pytest.approx(exact, abs=5e-4)
