"""Attention one block of queries at a time: exact, on every platform, in memory linear in the length."""

import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.attention.near_keys import AttendBlock, keys_near, over_near_keys
from electra_jax.model.attention.plain import attention_probabilities
from electra_jax.model.operations import PLAIN_OPERATIONS, Operations

# Queries whose scores exist at one time; memory is batch x heads x this x length.
QUERY_BLOCK = 128


def blocked_attention(
    query: Array,
    key: Array,
    value: Array,
    mask: AttentionMask,
    *,
    rate: float,
    rng: Array | None,
    operations: Operations = PLAIN_OPERATIONS,
) -> Array:
    """Compute what `plain_attention` computes, but for rounding and other dropout masks."""

    def attend(query: Array, key: Array, value: Array, allowed: Array, number: Array) -> Array:
        block_rng = None if rng is None else jax.random.fold_in(rng, number)
        probabilities = attention_probabilities(
            query, key, allowed, rate=rate, rng=block_rng, operations=operations
        )
        # libtpu (0.0.42.1) overflows its stack where it fuses what is between the two products with both of them.
        probabilities = jax.lax.optimization_barrier(probabilities.astype(value.dtype))
        return operations.weighted_values(probabilities, value)

    return over_query_blocks(attend, query, key, value, mask, block=QUERY_BLOCK)


def over_query_blocks(
    attend: AttendBlock,
    query: Array,
    key: Array,
    value: Array,
    mask: AttentionMask,
    *,
    block: int,
) -> Array:
    """Apply ``attend`` to one block of queries after the other; each is recomputed in the backward pass.

    A query's softmax is over all its keys at once, so nothing is approximated and nothing has to be rescaled. With a
    window a block reads the keys near it alone, so that time and memory are linear in the length.

    Args:
        attend: Attention of one block of queries to keys, all of them or those near it.
        query: ``[batch, heads, queries, head_dim]``.
        key: ``[batch, heads, keys, head_dim]``.
        value: As key.
        mask: Who may attend to whom.
        block: Queries of a block.
    """
    if (near := keys_near(mask, block)) is not None:
        return over_near_keys(attend, query, key, value, mask, near)
    batch, heads, length, head_dim = query.shape
    blocks = -(-length // block)
    missing = blocks * block - length
    # Queries added at the end are padding, and cut off again.
    query = jnp.pad(query, ((0, 0), (0, 0), (0, missing), (0, 0)))
    queries = jnp.pad(mask.query_segments, ((0, 0), (0, missing)))
    query = jnp.moveaxis(query.reshape(batch, heads, blocks, block, head_dim), 2, 0)
    queries = jnp.moveaxis(queries.reshape(batch, blocks, block), 1, 0)
    # Gradients of keys and values are summed over the blocks in the dtype that the scan gets them in: float32.
    dtype, key, value = value.dtype, key.astype(jnp.float32), value.astype(jnp.float32)

    @jax.checkpoint
    def one_block(query: Array, queries: Array, number: Array) -> Array:
        # Tied to the query by a barrier; else a scan over layers would compute all masks once, and keep them.
        query, queries = jax.lax.optimization_barrier((query, queries))
        allowed = mask.of_queries(queries, number * block).allowed()
        return attend(query, key.astype(dtype), value.astype(dtype), allowed, number)

    def body(_: None, inputs: tuple[Array, Array, Array]) -> tuple[None, Array]:
        return None, one_block(*inputs)

    _, context = jax.lax.scan(body, None, (query, queries, jnp.arange(blocks)))
    return jnp.moveaxis(context, 0, 2).reshape(batch, heads, blocks * block, value.shape[-1])[:, :, :length]
