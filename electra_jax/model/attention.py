"""Self-attention: one function for every back end, and the module that uses it.

Every back end is given who may attend to whom as (segment ids, direction), and makes of it what it needs.
"""

import flax.linen as nn
from jax import Array

from electra_jax.model.attention_blocked import blocked_attention
from electra_jax.model.attention_choice import Backend
from electra_jax.model.attention_xla import Direction, attention_mask, scaled_dot_product_attention
from electra_jax.model.layers import Dense, Dtype, truncated_normal
from electra_jax.model.local_init import query_key_init


def attend(
    backend: Backend,
    query: Array,
    key: Array,
    value: Array,
    segment_ids: Array,
    direction: Direction,
    *,
    rate: float,
    rng: Array | None,
) -> Array:
    """Softmax attention of ``[batch, heads, length, head_dim]`` within segments ``[batch, length]``.

    Args:
        backend: cudnn and splash need the platform that `attention_choice` asks for.
        query: as key and value.
        key: in the type that products are computed in.
        value: as key.
        segment_ids: int, 0 for padding. A padding query gives something finite that nothing may depend on.
        direction: which side a token sees.
        rate: dropout of the probabilities.
        rng: its key; None in evaluation.
    """
    if backend == "xla":
        mask = attention_mask(segment_ids, direction)
        return scaled_dot_product_attention(query, key, value, mask, rate=rate, rng=rng)
    if backend == "blocked":
        return blocked_attention(query, key, value, segment_ids, direction, rate=rate, rng=rng)
    assert rng is None or rate == 0.0, "refused by choose_attention"
    if backend == "cudnn":
        from electra_jax.model.attention_cudnn import cudnn_attention

        return cudnn_attention(query, key, value, segment_ids, direction)
    from electra_jax.model.attention_splash import splash_attention  # Pallas takes a second to import

    return splash_attention(query, key, value, segment_ids, direction)


class SelfAttention(nn.Module):
    """Multi-head self-attention with its output projection (no residual, no normalisation)."""

    num_heads: int
    attention_dropout: float
    initializer_range: float
    local_attention: bool
    dtype: Dtype
    backend: Backend
    direction: Direction

    @nn.compact
    def __call__(self, x: Array, segment_ids: Array, rng: Array | None) -> Array:
        """``[batch, length, hidden]`` → the same shape; ``segment_ids`` int ``[batch, length]``."""
        batch, length, hidden = x.shape
        init = truncated_normal(self.initializer_range)

        def heads(name: str) -> Array:
            looks = self.local_attention and name != "value"
            kernel_init = query_key_init(self.initializer_range, self.num_heads, role=name) if looks else init
            y = Dense(hidden, self.dtype, kernel_init, name=name)(x)
            return y.reshape(batch, length, self.num_heads, -1).transpose(0, 2, 1, 3)

        context = attend(
            self.backend,
            heads("query"),
            heads("key"),
            heads("value"),
            segment_ids,
            self.direction,
            rate=self.attention_dropout,
            rng=rng,
        )
        context = context.transpose(0, 2, 1, 3).reshape(batch, length, hidden)
        return Dense(hidden, self.dtype, init, name="output")(context)
