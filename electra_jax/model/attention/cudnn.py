"""cuDNN's fused attention on NVIDIA GPUs: scores are never stored."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.attention.blocked import over_query_blocks
from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.attention.near_keys import keys_near

# cuDNN takes segments as a bias [batch, 1, query, key]. In blocks of queries it grows linearly with the length.
# A window is in that bias too, over the keys near a block: of windows of its own (``local_window_size``) cuDNN knows
# those to the left alone (jax 0.10.2, jax/_src/nn/functions.py: "cuDNN doesn't support right window").
BIAS_BLOCK = 1024


def cudnn_attention(
    query: Array,
    key: Array,
    value: Array,
    mask: AttentionMask,
    *,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> Array:
    """Compute attention without dropout; arrays are bfloat16 ``[batch, heads, length, head_dim]``.

    ``implementation="xla"`` computes the same call without a GPU, so that its mask and layout can be tested.
    """

    def attend(query: Array, key: Array, value: Array, allowed: Array, _: Array) -> Array:
        query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))
        out = jax.nn.dot_product_attention(query, key, value, mask=allowed, implementation=implementation)
        return out.swapaxes(1, 2)

    # cuDNN differentiates no odd number of queries or keys; keys are a row's length, which is checked beforehand.
    block = min(BIAS_BLOCK, 2 * math.ceil(query.shape[2] / 2))
    if query.shape[2] == block and keys_near(mask, block) is None:
        # What the kernel keeps for its gradient is linear in the length: nothing is recomputed.
        return attend(query, key, value, mask.allowed(), jnp.int32(0))
    return over_query_blocks(attend, query, key, value, mask, block=block)
