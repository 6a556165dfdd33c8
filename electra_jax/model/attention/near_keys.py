"""Attention with a window: blocks of queries that read the keys near them alone, linear in time and in memory."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.attention.mask import AttentionMask

# (query, key, value, allowed [batch, 1, block, keys], number of the block) → attention output of a block of queries.
AttendBlock = Callable[[Array, Array, Array, Array, Array], Array]


@dataclass(frozen=True)
class NearKeys:
    """The keys that a block of queries can see: its own, some before it and some after it.

    Attributes:
        block: Queries of a block.
        before: Keys before them, at most as many.
        after: Keys after them, at most as many.
    """

    block: int
    before: int
    after: int


def keys_near(mask: AttentionMask, block: int) -> NearKeys | None:
    """Return which keys a block of queries can see; None where that is not less than all."""
    length = mask.query_segments.shape[1]
    is_within = isinstance(mask.first_query, int) and mask.first_query == 0
    if mask.window is None or not is_within or mask.key_segments.shape[1] != length:
        return None
    reach = mask.window + mask.window % 2  # cuDNN takes no odd number of keys
    block = max(block, reach)  # so that all that are near lie in the blocks beside it
    before = 0 if mask.direction == "right_to_left" else reach
    after = 0 if mask.direction == "left_to_right" else reach
    return NearKeys(block, before, after) if before + block + after < length else None


def over_near_keys(
    attend: AttendBlock, query: Array, key: Array, value: Array, mask: AttentionMask, near: NearKeys
) -> Array:
    """Apply ``attend`` to one block of queries after the other and the keys near it; each is recomputed backwards.

    Args:
        attend: Attention of one block of queries to the keys it is given.
        query: ``[batch, heads, length, head_dim]``.
        key: As query.
        value: As query.
        mask: Of a sequence within itself, with a window.
        near: What `keys_near` says of it.
    """
    length, block = query.shape[2], near.block
    blocks = -(-length // block)

    def cut(x: Array, axis: int) -> Array:
        """Pad ``axis`` to whole blocks, with zeros, which are padding, and put the blocks first."""
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, blocks * block - length)
        x = jnp.pad(x, widths)
        return jnp.moveaxis(x.reshape(*x.shape[:axis], blocks, block, *x.shape[axis + 1 :]), axis, 0)

    def with_neighbours(x: Array, axis: int) -> Array:
        nothing = jnp.zeros_like(x[:1])
        left, right = jnp.concatenate([nothing, x[:-1]]), jnp.concatenate([x[1:], nothing])
        left = jax.lax.slice_in_dim(left, block - near.before, block, axis=axis)
        return jnp.concatenate([left, x, jax.lax.slice_in_dim(right, 0, near.after, axis=axis)], axis=axis)

    @jax.checkpoint
    def one_block(
        query: Array, key: Array, value: Array, queries: Array, keys: Array, number: Array
    ) -> Array:
        # Tied to the query by a barrier; else a scan over layers would compute all masks once, and keep them.
        query, queries, keys = jax.lax.optimization_barrier((query, queries, keys))
        here: AttentionMask = mask.replace(  # type: ignore[attr-defined]
            query_segments=queries,
            key_segments=keys,
            first_query=near.before,  # columns count from the first of these keys
        )
        return attend(query, key, value, here.allowed(), number)

    def body(_: None, inputs: tuple[Array, ...]) -> tuple[None, Array]:
        return None, one_block(*inputs)

    keys, values = (with_neighbours(cut(x, 2), 3) for x in (key, value))
    segments = with_neighbours(cut(mask.key_segments, 1), 2)
    inputs = (cut(query, 2), keys, values, cut(mask.query_segments, 1), segments, jnp.arange(blocks))
    _, context = jax.lax.scan(body, None, inputs)
    context = jnp.moveaxis(context, 0, 2)
    return context.reshape(*query.shape[:2], blocks * block, value.shape[-1])[:, :, :length]
