"""What stands for a text among the states of its tokens."""

from typing import Literal

import jax.numpy as jnp
from jax import Array

Pooling = Literal["first", "mean"]


def pooled(hidden: Array, real: Array, pooling: Pooling) -> Array:
    """Return the first state of each row, that of [CLS], or the mean of those that are real.

    Args:
        hidden: ``[…, length, hidden]``.
        real: bool ``[…, length]``, False for padding.
        pooling: which of the two.

    Returns:
        ``[…, hidden]``, of the dtype of ``hidden``; the mean is taken in float32.
    """
    if pooling == "first":
        return hidden[..., 0, :]
    weights = real.astype(jnp.float32)[..., None]
    mean = (hidden * weights).sum(axis=-2) / jnp.maximum(weights.sum(axis=-2), 1.0)
    return mean.astype(hidden.dtype)
