"""Attention by any of the back ends."""

from jax import Array

from electra_jax.model.attention.blocked import QUERY_BLOCK, blocked_attention
from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.attention.plain import plain_attention
from electra_jax.model.block import Backend
from electra_jax.model.operations import PLAIN_OPERATIONS, Operations


def attend(
    backend: Backend,
    query: Array,
    key: Array,
    value: Array,
    mask: AttentionMask,
    *,
    rate: float,
    rng: Array | None,
    operations: Operations = PLAIN_OPERATIONS,
) -> Array:
    """Compute softmax attention, softmax(q kᵀ / √d) v, where ``mask`` allows it.

    Args:
        backend: cudnn and splash need the platform that `attention.choice` asks for.
        query: ``[batch, heads, queries, head_dim]``.
        key: ``[batch, heads, keys, head_dim]``, in the dtype that products are computed in.
        value: As key.
        mask: A padding query's result is finite, and nothing may depend on it.
        rate: Dropout of the probabilities.
        rng: Its key; None in evaluation.
        operations: Products and softmax of xla and blocked.

    Returns:
        ``[batch, heads, queries, head_dim]``.
    """
    # One block is all of the scores, and would be filled up with queries that are none.
    if backend == "xla" or (backend == "blocked" and query.shape[2] <= QUERY_BLOCK):
        return plain_attention(query, key, value, mask.allowed(), rate=rate, rng=rng, operations=operations)
    if backend == "blocked":
        return blocked_attention(query, key, value, mask, rate=rate, rng=rng, operations=operations)
    assert rng is None or rate == 0.0, "refused by choose_attention"
    if backend == "cudnn":
        from electra_jax.model.attention.cudnn import cudnn_attention

        return cudnn_attention(query, key, value, mask)
    from electra_jax.model.attention.splash import splash_attention  # Pallas takes a second to import

    return splash_attention(query, key, value, mask)
