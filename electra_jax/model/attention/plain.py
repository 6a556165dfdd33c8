"""Attention as the reference computes it, in plain array operations."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
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


def attention_to_parts(
    query: Array, parts: Sequence[tuple[Array, Array]], masks: Sequence[Array], operations: Operations
) -> Array:
    """Compute softmax(q kᵀ / √d) v over keys and values that lie in several arrays, without dropout.

    Args:
        query: ``[batch, heads, queries, head_dim]``.
        parts: Keys ``[batch, heads, head_dim, keys]`` and values ``[batch, heads, keys, head_dim]``.
        masks: bool, as ``[batch, heads, queries, keys]`` of each part.
        operations: Products and softmax.

    Returns:
        ``[batch, heads, queries, head_dim]``.
    """
    scale = query.shape[-1] ** -0.5
    scores = [
        jnp.einsum("bhqd,bhdk->bhqk", query, key, preferred_element_type=jnp.float32) * scale
        + jnp.where(mask, 0.0, MASKED_SCORE)
        for (key, _), mask in zip(parts, masks, strict=True)
    ]
    weights = operations.softmax(jnp.concatenate(scores, axis=-1))
    ends = np.cumsum([value.shape[2] for _, value in parts])[:-1]
    found = [
        operations.weighted_values(some.astype(value.dtype), value)
        for some, (_, value) in zip(jnp.split(weights, ends, axis=-1), parts, strict=True)
    ]
    return sum(found[1:], start=found[0])
