"""Losses of fine-tuning, one number per example (google-research/electra, finetune/).

The caller sums them up, with weights that are 0 for padding examples: the reference trains on the weighted sum (its
loss grows with the batch), Hugging Face on `weighted_mean`. With several tasks the reference counts only the loss of
each example's own task, which means a weight of 0 for the others.
"""

import jax
import jax.numpy as jnp
from jax import Array


def softmax_cross_entropy(logits: Array, labels: Array) -> Array:
    """Return −log softmax(logits)[label], ``[…, classes]`` and int ``[…]`` → float32 ``[…]``.

    A label outside 0 … classes−1 costs 0 (Hugging Face's −100, or a position after the end of a row); leave it out of a
    mean with `in_range`.
    """
    chosen = labels[..., None] == jnp.arange(logits.shape[-1])
    return -jnp.sum(jnp.where(chosen, jax.nn.log_softmax(logits.astype(jnp.float32)), 0.0), axis=-1)


def in_range(labels: Array, num_classes: int) -> Array:
    """Return 1.0 where a label is one of 0 … num_classes−1, else 0.0; float32 of the same shape."""
    return ((labels >= 0) & (labels < num_classes)).astype(jnp.float32)


def sigmoid_cross_entropy(logits: Array, labels: Array) -> Array:
    """Return the binary cross-entropy of logits and labels 0 or 1, float32 of the same shape."""
    logits, labels = logits.astype(jnp.float32), labels.astype(jnp.float32)
    return jnp.maximum(logits, 0.0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))


def multi_label_loss(logits: Array, labels: Array) -> Array:
    """Return binary cross-entropy averaged over the classes, ``[batch, classes]`` twice → float32 ``[batch]``.

    Its mean over the rows is Hugging Face's loss, the mean of PyTorch's ``BCEWithLogitsLoss``.
    """
    return jnp.mean(sigmoid_cross_entropy(logits, labels), axis=-1)


def squared_error(predictions: Array, targets: Array) -> Array:
    """Return (prediction − target)², float32.

    The reference normalises targets: (label − least) / greatest.
    """
    return jnp.square(predictions.astype(jnp.float32) - targets.astype(jnp.float32))


def tagging_loss(logits: Array, labels: Array, weights: Array) -> Array:
    """Return cross-entropy summed over the labelled words of each example, as in the reference.

    Args:
        logits: ``[batch, labelled, classes]``.
        labels: int ``[batch, labelled]``.
        weights: ``[batch, labelled]``, 0.0 for the slots that hold no word.

    Returns:
        float32 ``[batch]``. Hugging Face's mean over all words of a batch is `weighted_mean` of
        `softmax_cross_entropy`.
    """
    return jnp.sum(softmax_cross_entropy(logits, labels) * weights, axis=-1)


def span_loss(start_logits: Array, end_logits: Array, starts: Array, ends: Array) -> Array:
    """Return the mean of the cross-entropies of start and end.

    ``[batch, length]`` and int ``[batch]`` → float32 ``[batch]``. A position outside the row costs 0. Hugging Face's
    loss is the batch mean of this, if there is no such position.
    """
    return (softmax_cross_entropy(start_logits, starts) + softmax_cross_entropy(end_logits, ends)) / 2.0


def question_answering_loss(
    start_logits: Array,
    end_logits: Array,
    answerable_logits: Array | None,
    starts: Array,
    ends: Array,
    is_impossible: Array,
    answerable_weight: float = 0.5,
) -> Array:
    """Return the reference's loss of a question: `span_loss` + weight · cross-entropy of "has no answer".

    Args:
        start_logits: ``[batch, length]``.
        end_logits: ``[batch, length]``.
        answerable_logits: ``[batch]``, > 0 means no answer; None leaves this term out.
        starts: int ``[batch]``, 0 where there is no answer.
        ends: int ``[batch]``, the same.
        is_impossible: ``[batch]``, 1 where there is no answer.
        answerable_weight: the weight of that term.

    Returns:
        float32 ``[batch]``.
    """
    losses = span_loss(start_logits, end_logits, starts, ends)
    if answerable_logits is None:
        return losses
    return losses + answerable_weight * sigmoid_cross_entropy(answerable_logits, is_impossible)


def weighted_mean(losses: Array, weights: Array) -> Array:
    """Return Σ w·loss / Σ w, Hugging Face's loss of a batch; 0 where all weights are 0 (there it is NaN)."""
    total = jnp.sum(weights)
    return jnp.sum(losses * weights) / jnp.where(total > 0, total, 1.0)
