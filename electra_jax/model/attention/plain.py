"""Attention as the reference computes it, in plain array operations."""

import jax.numpy as jnp
from jax import Array

from electra_jax.model.dropout import dropout
from electra_jax.model.operations import PLAIN_OPERATIONS, Operations

# The reference adds this to forbidden scores; finite, so that a row of padding gives an average and no NaN.
MASKED_SCORE = -10000.0


def plain_attention(
    query: Array,
    key: Array,
    value: Array,
    mask: Array,
    *,
    rate: float,
    rng: Array | None,
    operations: Operations = PLAIN_OPERATIONS,
) -> Array:
    """Compute softmax(q kᵀ / √d) v with a float32 softmax; arrays are ``[batch, heads, length, head_dim]``."""
    probabilities = attention_probabilities(query, key, mask, rate=rate, rng=rng, operations=operations)
    return operations.weighted_values(probabilities.astype(value.dtype), value)


def attention_probabilities(
    query: Array, key: Array, mask: Array, *, rate: float, rng: Array | None, operations: Operations
) -> Array:
    """Compute softmax(q kᵀ / √d) in float32, after dropout, ``[batch, heads, queries, keys]``."""
    scale = query.shape[-1] ** -0.5
    scores = operations.attention_scores(query, key) * scale
    scores = scores + jnp.where(mask, 0.0, MASKED_SCORE)
    return dropout(operations.softmax(scores), rate, rng)
