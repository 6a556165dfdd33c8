"""Attention as the reference computes it, in plain array operations, and the description of its mask."""

from typing import Literal

import jax.numpy as jnp
from jax import Array

from electra_jax.model.layers import dropout, softmax
from electra_jax.model.products import attention_scores, weighted_values

# The reference adds this to forbidden scores; finite, so that a row of padding gives an average and no NaN.
MASKED_SCORE = -10000.0

# "left_to_right": a token sees itself and what is before it; "right_to_left": itself and what is after it.
Direction = Literal["both", "left_to_right", "right_to_left"]


def attention_mask(
    segment_ids: Array,
    direction: Direction = "both",
    *,
    queries: Array | None = None,
    first_query: int | Array = 0,
) -> Array:
    """Who may attend to whom, bool ``[batch, 1, query, key]``, from ``segment_ids`` ``[batch, length]``.

    Keys must be real, of the query's segment, and on the side that ``direction`` allows. Padding queries see
    every real key there, as in the reference; what they compute is never used.

    Args:
        segment_ids: int ``[batch, length]`` of the keys, 0 for padding.
        direction: which side a query sees.
        queries: segment ids ``[batch, query]`` of consecutive queries; None: all of them.
        first_query: the column of the first of them.
    """
    queries = segment_ids if queries is None else queries
    query, key = queries[:, None, :, None], segment_ids[:, None, None, :]
    mask = (key != 0) & ((query == key) | (query == 0))
    if direction == "both":
        return mask
    row = first_query + jnp.arange(queries.shape[1])[:, None]
    column = jnp.arange(segment_ids.shape[1])[None, :]
    return mask & (column <= row if direction == "left_to_right" else column >= row)


def scaled_dot_product_attention(
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
