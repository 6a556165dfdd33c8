"""Attention as the reference computes it, in plain array operations."""

import jax.numpy as jnp
from jax import Array

from electra_jax.model.layers import dropout, softmax
from electra_jax.model.products import attention_scores, weighted_values

# The reference adds this to forbidden scores; finite, so that a row of padding gives an average and no NaN.
MASKED_SCORE = -10000.0


def plain_attention(
    query: Array, key: Array, value: Array, mask: Array, *, rate: float, rng: Array | None
) -> Array:
    """softmax(q kᵀ / √d) v in float32 softmax; arrays ``[batch, heads, length, head_dim]``."""
    probabilities = attention_probabilities(query, key, mask, rate=rate, rng=rng)
    return weighted_values(probabilities.astype(value.dtype), value)


def attention_probabilities(
    query: Array, key: Array, mask: Array, *, rate: float, rng: Array | None
) -> Array:
    """softmax(q kᵀ / √d) in float32 after dropout, ``[batch, heads, queries, keys]``."""
    scale = query.shape[-1] ** -0.5
    scores = attention_scores(query, key) * scale
    scores = scores + jnp.where(mask, 0.0, MASKED_SCORE)
    return dropout(softmax(scores), rate, rng)
