"""Cross-entropy over the whole vocabulary without ever holding the logits of all tokens.

Logits of a batch are ``[tokens, vocabulary]``: for 64 rows of 512 tokens and 30,522 entries 4 GB, several times over in
the backward pass. Here they exist for a chunk of columns at a time. The loss is a sum with known weights, so its
gradient is computed beside it, chunk by chunk: three products, as without chunks, and nothing is recomputed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.heads import UNUSED_ROW_LOGIT
from electra_jax.model.operations import Operations
from electra_jax.model.unlikelihood import first_occurrences, unlikelihood
from electra_jax.partitioning.constraints import constrain, num_shards

# Tokens of a chunk on each device, about: their logits are this x the vocabulary x 4 bytes, at 30,522 entries 250 MB.
CHUNK_TOKENS = 2048


class TokenLosses(NamedTuple):
    """What is known of each token; no gradient flows through it.

    Attributes:
        nll: -log p of the token that is there, float32 ``[batch, length]``, without smoothing.
        predictions: The most likely token, the first of equal ones, int32 ``[batch, length]``.
    """

    nll: Array
    predictions: Array


def first_largest(logits: Array) -> Array:
    """Return the argmax over the last axis, int32 ``[...]``; of equal logits the first.

    Two plain reductions, since XLA's argmax is slow on a CPU.
    """
    entries = logits.shape[-1]
    is_largest = logits == logits.max(axis=-1, keepdims=True)
    return jnp.where(is_largest, jnp.arange(entries, dtype=jnp.int32), entries).min(axis=-1)


def columns_per_chunk(batch: int, length: int, chunk_tokens: int) -> int:
    """Return the largest divisor of ``length`` whose columns of a device's rows are at most ``chunk_tokens`` tokens."""
    most = max(1, chunk_tokens // -(-batch // num_shards("batch")))
    return next(columns for columns in range(min(most, length), 0, -1) if length % columns == 0)


@partial(jax.custom_vjp, nondiff_argnums=(5, 6, 7, 8))
def vocabulary_loss(
    x: Array,
    table: Array,
    bias: Array,
    ids: Array,
    weights: Array,
    operations: Operations,
    chunk_tokens: int = CHUNK_TOKENS,
    smoothing: float = 0.0,
    repeats: float = 0.0,
) -> tuple[Array, TokenLosses]:
    """Compute Σ w · loss of tokens, with logits x · tableᵀ + bias; without smoothing the loss is the nll.

    With smoothing ε it is the cross-entropy to a distribution that has 1 - ε at the token and ε spread evenly over all
    N entries, the token's among them (Szegedy et al. 2016, section 7): (1 - ε) · nll + ε · Σ nll of all entries / N.
    Rows that only round the table up are no entries.

    With ``repeats`` α there is α · `unlikelihood` beside it, of the tokens that stand before in the row; those of
    weight 0 are left out.

    Args:
        x: ``[batch, length, features]``.
        table: ``[rows, features]``.
        bias: float32 ``[rows]``.
        ids: int32 ``[batch, length]``, the tokens that are there.
        weights: float32 ``[batch, length]``; they get no gradient.
        operations: Whose ``vocabulary_logits`` is used.
        chunk_tokens: Tokens of a chunk on each device, about.
        smoothing: ε.
        repeats: α.

    Returns:
        The sum, a float32 scalar, and what is known of each token.
    """
    spread, of_repeats = _spread(bias, smoothing), _of_repeats(ids, weights, repeats)

    def chunk(_: None, columns: tuple[Array, Array, Array]) -> tuple[None, tuple[TokenLosses, Array]]:
        logits = operations.vocabulary_logits(columns[0], table, bias)
        losses, logits, normalizer = _of_logits(logits, columns[1])
        total = _smoothed(losses.nll, logits, normalizer, spread, smoothing)
        if of_repeats is not None:
            total += of_repeats(logits, normalizer, columns[2], columns[1])
        return None, (losses, total)

    losses, total = _over_chunks(chunk, None, chunk_tokens, x, ids, _columns(ids))[1]
    return (total * weights).sum(), losses


def _columns(ids: Array) -> Array:
    return jnp.broadcast_to(jnp.arange(ids.shape[1], dtype=jnp.int32), ids.shape)


def _of_repeats(ids: Array, weights: Array, repeats: float) -> Callable[..., Array] | None:
    """Return (logits, normalizer, columns, tokens there) → their loss against repeats; None without."""
    if not repeats:
        return None
    is_first = first_occurrences(ids, weights > 0)

    def loss(logits: Array, normalizer: Array, columns: Array, own: Array) -> Array:
        return repeats * unlikelihood(logits, normalizer, ids, columns, own, is_first)

    return loss


def _spread(bias: Array, smoothing: float) -> Array | None:
    """Return float32 ``[rows]``, ε / N at each entry of the vocabulary and 0 at other rows; None without smoothing."""
    if not smoothing:
        return None
    entries = bias > UNUSED_ROW_LOGIT / 2
    return jnp.where(entries, smoothing / entries.sum(), 0.0)


def _smoothed(nll: Array, logits: Array, normalizer: Array, spread: Array | None, smoothing: float) -> Array:
    if spread is None:
        return nll
    return (1.0 - smoothing) * nll + smoothing * normalizer[..., 0] - (logits * spread).sum(axis=-1)


def _of_logits(logits: Array, ids: Array) -> tuple[TokenLosses, Array, Array]:
    """Return the losses, the logits as they are pinned to the mesh, and their log-sum-exp with an axis kept."""
    logits = constrain(logits, "batch", "length", "vocab_logits")
    normalizer = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    picked = jnp.take_along_axis(logits, ids[..., None], axis=-1)
    return TokenLosses((normalizer - picked)[..., 0], first_largest(logits)), logits, normalizer


def _over_chunks(
    body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, chunk_tokens: int, *arrays: Array
) -> tuple[Any, Any]:
    """Scan over chunks of columns of ``[batch, length, …]``; results ``[batch, columns, …]`` are put together again."""
    batch, length = arrays[0].shape[:2]
    columns = columns_per_chunk(batch, length, chunk_tokens)
    if columns == length:
        return body(carry, arrays)

    def cut(array: Array) -> Array:
        return jnp.moveaxis(array.reshape(batch, length // columns, columns, *array.shape[2:]), 1, 0)

    def join(array: Array) -> Array:
        return jnp.moveaxis(array, 0, 1).reshape(batch, length, *array.shape[3:])

    carry, results = jax.lax.scan(body, carry, tuple(map(cut, arrays)))
    return carry, jax.tree.map(join, results)


def _forward(
    x: Array,
    table: Array,
    bias: Array,
    ids: Array,
    weights: Array,
    operations: Operations,
    chunk_tokens: int,
    smoothing: float,
    repeats: float,
) -> tuple[Any, Any]:
    spread, of_repeats = _spread(bias, smoothing), _of_repeats(ids, weights, repeats)

    def chunk(sums: Any, columns: Any) -> tuple[Any, Any]:
        x, ids, weights, numbers = columns
        logits, pull = jax.vjp(operations.vocabulary_logits, x, table, bias)
        losses, logits, normalizer = _of_logits(logits, ids)
        here = jnp.arange(logits.shape[-1]) == ids[..., None]
        target = here if spread is None else (1.0 - smoothing) * here + spread
        p = jnp.exp(logits - normalizer)
        by_logits = (p - target) * weights[..., None]
        smoothed = _smoothed(losses.nll, logits, normalizer, spread, smoothing)
        if of_repeats is not None:
            again, pull_repeats = jax.vjp(lambda *known: of_repeats(*known, numbers, ids), logits, normalizer)
            direct, by_normalizer = pull_repeats(weights)
            by_logits += direct + by_normalizer * p
            smoothed += again
        by_x, by_table, by_bias = pull(by_logits)
        table_sum, bias_sum = sums
        return (table_sum + by_table.astype(jnp.float32), bias_sum + by_bias), (losses, smoothed, by_x)

    zeros = jnp.zeros(table.shape, jnp.float32), jnp.zeros(bias.shape, jnp.float32)
    (by_table, by_bias), (losses, smoothed, by_x) = _over_chunks(
        chunk, zeros, chunk_tokens, x, ids, weights, _columns(ids)
    )
    out = (smoothed * weights).sum(), losses
    return out, (by_x, by_table.astype(table.dtype), by_bias)


def _backward(
    operations: Operations, chunk_tokens: int, smoothing: float, repeats: float, saved: Any, gradients: Any
) -> tuple[Any, ...]:
    del operations, chunk_tokens, smoothing, repeats
    scale = gradients[0]
    by_x, by_table, by_bias = jax.tree.map(lambda g: (g * scale).astype(g.dtype), saved)
    return by_x, by_table, by_bias, None, None


vocabulary_loss.defvjp(_forward, _backward)
