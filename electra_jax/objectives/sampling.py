"""Sampling the replacement tokens from the generator's logits.

Source: google-research/electra, pretrain/pretrain_helpers.py.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.sizes import round_up
from electra_jax.partitioning.constraints import num_shards

DISALLOWED_LOGIT = -1000.0


def replacement_logits(
    logits: Array, ids: Array, *, temperature: Array | float, disallow_correct: bool
) -> Array:
    """Return the logits to sample from: divided by the temperature, optionally without the original token.

    Args:
        logits: float32 ``[batch, slots, vocab]``.
        ids: int32 ``[batch, slots]``, the original tokens.
        temperature: Divides the logits.
        disallow_correct: Adds -1000 to the original token's logit.

    Returns:
        float32 ``[batch, slots, vocab]``, through which no gradient flows.
    """
    logits = jax.lax.stop_gradient(logits) / temperature
    if disallow_correct:
        original = jnp.arange(logits.shape[-1]) == ids[..., None]
        logits = logits + DISALLOWED_LOGIT * original
    return logits


def block_size(vocab: int) -> int:
    """Return the number of entries in a block of the vocabulary.

    It is the first number from √vocab on that divides the vocabulary, so that nothing is padded; √vocab rounded up
    where there is none up to twice that.
    """
    root = math.isqrt(vocab - 1) + 1
    return next((size for size in range(root, 2 * root + 1) if vocab % size == 0), root)


def sample_by_inverse_cdf(logits: Array, uniforms: Array) -> Array:
    """Sample from softmax(logits) by inverting its cumulative distribution in two levels.

    The distribution is that of the Gumbel trick, but a sample takes two random numbers instead of one for every entry
    of the vocabulary: a block of about √vocab entries is drawn first, then an entry of it.

    Args:
        logits: float32 ``[..., vocab]``.
        uniforms: float32 ``[..., 2]`` in [0, 1).

    Returns:
        int32 ``[...]``.
    """
    vocab = logits.shape[-1]
    block = block_size(vocab)
    # Empty blocks at the end change no sample. They make the number of blocks a multiple of the vocabulary's shards, so
    # that no device gathers all the logits.
    blocks = round_up(-(-vocab // block), num_shards("vocab_logits"))
    mass = jnp.exp(logits - logits.max(axis=-1, keepdims=True))
    mass = jnp.pad(mass, [(0, 0)] * (mass.ndim - 1) + [(0, blocks * block - vocab)])
    mass = mass.reshape(*mass.shape[:-1], blocks, block)

    def invert(weights: Array, uniform: Array) -> Array:
        # u < 1, so the target is below the total, and an entry without mass is never sampled.
        cumulative = jnp.cumsum(weights, axis=-1)
        target = uniform[..., None] * cumulative[..., -1:]
        return jnp.minimum((cumulative <= target).sum(axis=-1), weights.shape[-1] - 1)

    chosen = invert(mass.sum(axis=-1), uniforms[..., 0])
    inside = jnp.take_along_axis(mass, chosen[..., None, None], axis=-2)[..., 0, :]
    return (chosen * block + invert(inside, uniforms[..., 1])).astype(jnp.int32)


def sample_by_gumbel(logits: Array, uniforms: Array) -> Array:
    """Sample as the original does: argmax(logits - log(-log(u + 1e-9) + 1e-9)).

    Args:
        logits: float32 ``[..., vocab]``.
        uniforms: float32 in [0, 1), shaped as ``logits``.

    Returns:
        int32 ``[...]``.
    """
    noise = -jnp.log(-jnp.log(uniforms + 1e-9) + 1e-9)
    return jnp.argmax(logits + noise, axis=-1).astype(jnp.int32)
