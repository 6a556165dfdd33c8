"""Self-attention: one description of the mask, and the module that uses it."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.layers import Dense, Dtype, dropout, truncated_normal
from electra_jax.model.local_init import query_key_init

# The reference adds this to forbidden scores; finite, so that a row of padding gives an average and no NaN.
MASKED_SCORE = -10000.0

# "left_to_right": a token sees itself and what is before it; "right_to_left": itself and what is after it.
Direction = Literal["both", "left_to_right", "right_to_left"]


def attention_mask(segment_ids: Array, direction: Direction = "both") -> Array:
    """Who may attend to whom, bool ``[batch, 1, query, key]``, from ``segment_ids`` ``[batch, length]``.

    Keys must be real, of the query's segment, and on the side that ``direction`` allows. Padding queries see
    every real key there, as in the reference; what they compute is never used.
    """
    query, key = segment_ids[:, None, :, None], segment_ids[:, None, None, :]
    mask = (key != 0) & ((query == key) | (query == 0))
    if direction == "both":
        return mask
    column = jnp.arange(segment_ids.shape[1])
    before = column[None, :] <= column[:, None]  # [query, key]
    return mask & (before if direction == "left_to_right" else before.T)


def scaled_dot_product_attention(
    query: Array, key: Array, value: Array, mask: Array, *, rate: float, rng: Array | None
) -> Array:
    """softmax(q kᵀ / √d) v in float32 softmax; arrays ``[batch, heads, length, head_dim]``."""
    scale = query.shape[-1] ** -0.5
    scores = jnp.einsum("bhqd,bhkd->bhqk", query, key, preferred_element_type=jnp.float32) * scale
    scores = scores + jnp.where(mask, 0.0, MASKED_SCORE)
    probabilities = dropout(jax.nn.softmax(scores, axis=-1), rate, rng).astype(value.dtype)
    return jnp.einsum("bhqk,bhkd->bhqd", probabilities, value)


class SelfAttention(nn.Module):
    """Multi-head self-attention with its output projection (no residual, no normalisation)."""

    num_heads: int
    attention_dropout: float
    initializer_range: float
    local_attention: bool
    dtype: Dtype

    @nn.compact
    def __call__(self, x: Array, mask: Array, rng: Array | None) -> Array:
        """``[batch, length, hidden]`` → the same shape; ``mask`` as `attention_mask` gives it."""
        batch, length, hidden = x.shape
        init = truncated_normal(self.initializer_range)

        def heads(name: str) -> Array:
            looks = self.local_attention and name != "value"
            kernel_init = query_key_init(self.initializer_range, self.num_heads, role=name) if looks else init
            y = Dense(hidden, self.dtype, kernel_init, name=name)(x)
            return y.reshape(batch, length, self.num_heads, -1).transpose(0, 2, 1, 3)

        context = scaled_dot_product_attention(
            heads("query"), heads("key"), heads("value"), mask, rate=self.attention_dropout, rng=rng
        )
        context = context.transpose(0, 2, 1, 3).reshape(batch, length, hidden)
        return Dense(hidden, self.dtype, init, name="output")(context)
