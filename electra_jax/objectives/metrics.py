"""Metrics as sums that add up over microbatches, steps and devices; means are taken on the host."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

# name → float32 [2] (weighted sum, weight), or a histogram [2, bins] for an area under the curve.
MetricSums = dict[str, Array]

AUC_BINS = 1024
AUC_LIMIT = 16.0  # logits are binned over [-limit, limit]; beyond it sigmoid is 0 or 1 to 1e-7


def weighted_sum(values: Array, weights: Array) -> Array:
    """Return (Σ w·v, Σ w) as float32 ``[2]``."""
    weights = weights.astype(jnp.float32)
    return jnp.stack([(values.astype(jnp.float32) * weights).sum(), weights.sum()])


def auc_histogram(logits: Array, labels: Array, weights: Array) -> Array:
    """Return the weights of negatives and positives by logit, as sums that add up.

    Args:
        logits: ``[...]``.
        labels: 0 or 1, ``[...]``.
        weights: ``[...]``.

    Returns:
        float32 ``[2, AUC_BINS]``, negatives first.
    """
    scaled = (logits + AUC_LIMIT) / (2 * AUC_LIMIT) * AUC_BINS
    bins = jnp.clip(jnp.floor(scaled).astype(jnp.int32), 0, AUC_BINS - 1)
    index = labels.astype(jnp.int32) * AUC_BINS + bins
    flat = jnp.zeros(2 * AUC_BINS, jnp.float32).at[index.ravel()].add(weights.astype(jnp.float32).ravel())
    return flat.reshape(2, AUC_BINS)


def auc_with_padding(logits: Array, labels: Array, real: Array) -> Array:
    """Return `auc_histogram` with padding as originals of probability 0 (google-research/electra, run_pretraining.py).

    There labels and probabilities are multiplied by the mask.

    Args:
        logits: ``[...]``.
        labels: 0 or 1, ``[...]``, 0 for padding.
        real: ``[...]``, 0 for padding.
    """
    return auc_histogram(jnp.where(real > 0, logits, -AUC_LIMIT), labels, jnp.ones_like(real))


def mean(pair: Any) -> float | None:
    """Return the mean of a (sum, weight) pair; None where nothing was counted."""
    total, weight = (float(x) for x in np.asarray(pair))
    return total / weight if weight > 0 else None


def area_under_curve(histogram: Any) -> float | None:
    """Return the area under the ROC curve of an `auc_histogram`; None without a positive or without a negative.

    It is P(logit of a positive > logit of a negative), where ties within a bin count half.
    """
    negatives, positives = np.asarray(histogram, np.float64)
    pairs = negatives.sum() * positives.sum()
    if pairs == 0:
        return None
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / pairs)


def add_sums(a: MetricSums, b: MetricSums) -> MetricSums:
    """Add two sets of sums."""
    return {name: a[name] + b[name] for name in b}
