"""Unlikelihood: a loss against writing again what a text has had already (Welleck et al. 2020, section 5.1).

Of each token the others that stand before it are negatives: -log(1 - p) of each of them, once, is added to the loss
(https://arxiv.org/abs/1908.04319).
"""

import jax.numpy as jnp
from jax import Array

# 1 - p is no less, so that the loss is finite where p rounds to 1 (as in the authors' code).
_LEAST = 1e-5


def first_occurrences(ids: Array, is_token: Array) -> Array:
    """Return which tokens of a row none before them is the same as, bool ``[batch, length]``.

    Args:
        ids: int32 ``[batch, length]``.
        is_token: bool ``[batch, length]``; what is no token is never one.
    """
    length = ids.shape[1]
    earlier = jnp.arange(length)[:, None] > jnp.arange(length)
    same = (ids[:, :, None] == ids[:, None, :]) & is_token[:, None, :] & earlier
    return is_token & ~same.any(axis=-1)


def unlikelihood(
    logits: Array, normalizer: Array, ids: Array, columns: Array, own: Array, is_first: Array
) -> Array:
    """Return for each token Σ -log(1 - p) over the other tokens before it, float32 ``[batch, columns]``.

    Args:
        logits: float32 ``[batch, columns, entries]``, of some columns of the rows.
        normalizer: Their log-sum-exp, ``[batch, columns, 1]``.
        ids: int32 ``[batch, length]``, the whole rows.
        columns: int32 ``[batch, columns]``, which they are.
        own: int32 ``[batch, columns]``, the tokens that are there.
        is_first: bool ``[batch, length]``, `first_occurrences` of the rows.
    """
    before = jnp.arange(ids.shape[1]) < columns[..., None]
    negative = before & is_first[:, None, :] & (ids[:, None, :] != own[..., None])
    chosen = jnp.broadcast_to(ids[:, None, :], negative.shape)
    p = jnp.exp(jnp.take_along_axis(logits, chosen, axis=-1) - normalizer)
    return -jnp.where(negative, jnp.log(jnp.maximum(1.0 - p, _LEAST)), 0.0).sum(axis=-1)
