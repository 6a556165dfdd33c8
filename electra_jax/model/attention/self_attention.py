"""Multi-head self-attention."""

import flax.linen as nn
from jax import Array

from electra_jax.model.attention.attend import attend
from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.block import BlockConfig
from electra_jax.model.layers import Dense, truncated_normal
from electra_jax.model.local_init import query_key_init


class SelfAttention(nn.Module):
    """Multi-head self-attention with its output projection (no residual, no normalisation)."""

    block: BlockConfig

    @nn.compact
    def __call__(self, x: Array, mask: AttentionMask, rng: Array | None) -> Array:
        """Map ``[batch, length, hidden]`` to the same shape; dropout of the probabilities unless ``rng`` is None."""
        block = self.block
        batch, length, hidden = x.shape
        init = truncated_normal(block.initializer_range)

        def heads(name: str) -> Array:
            looks = block.local_attention and name != "value"
            kernel_init = (
                query_key_init(block.initializer_range, block.num_heads, role=name) if looks else init
            )
            y = Dense(hidden, block.dtype, kernel_init, block.operations, name=name)(x)
            return y.reshape(batch, length, block.num_heads, -1).transpose(0, 2, 1, 3)

        context = attend(
            block.attention,
            heads("query"),
            heads("key"),
            heads("value"),
            mask,
            rate=block.attention_dropout,
            rng=rng,
            operations=block.operations,
        )
        context = context.transpose(0, 2, 1, 3).reshape(batch, length, hidden)
        return Dense(hidden, block.dtype, init, block.operations, name="output")(context)
