"""Scores of candidates after a context, from the encoder's states of rows that hold both.

A row has the context as its segment 1 and the candidates as its segments 2, 3, …, so that none attends to another. The
bi-encoder and the poly-encoder are those of Humeau et al. 2020 (1905.01969).
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from electra_jax.model.pooling import Pooling

Similarity = Literal["dot", "cosine"]

# Accelerators round the factors of products to fewer digits by default, and what is nearly equal changes places.
_EXACT = jax.lax.Precision.HIGHEST
_FORBIDDEN = -1e9


@struct.dataclass
class EncodedPairs:
    """Contexts and candidates as vectors, float32.

    Attributes:
        contexts: ``[batch, codes, hidden]``, one code for the bi-encoder.
        candidates: ``[batch, candidates, hidden]``; zeros where a row has fewer.
        scale: scalar, by which scores are multiplied.
    """

    contexts: Array
    candidates: Array
    scale: Array


class PairEncoder(nn.Module):
    """One vector for each candidate, and for each context one, or one for each learned code.

    Parameters: ``log_scale``, a scalar, which is not read where the scale stays as it is; with codes
    ``codes/embedding`` ``[codes, hidden]``.

    Attributes:
        codes: of the poly-encoder; 0 is the bi-encoder.
        pooling: what stands for a text, the state of its [CLS] or the mean over its tokens.
        similarity: "dot", or "cosine": of vectors of length 1.
        scale: what scores are multiplied by at the start.
        scale_is_learned: or stays as it is, the inverse of a temperature.
    """

    codes: int
    pooling: Pooling
    similarity: Similarity
    scale: float
    scale_is_learned: bool = True

    @nn.compact
    def __call__(self, hidden: Array, segment_ids: Array, candidates: int) -> EncodedPairs:
        """Encode rows of a context and candidates.

        Args:
            hidden: the encoder's states ``[batch, length, hidden]``.
            segment_ids: int ``[batch, length]``: 1 for the context, 2, 3, … for the candidates, 0 for padding.
            candidates: of a row, at most.
        """
        hidden = hidden.astype(jnp.float32)
        log_scale = self.param("log_scale", nn.initializers.constant(jnp.log(self.scale)), ())
        if not self.scale_is_learned:
            log_scale = jnp.log(
                jnp.float32(self.scale)
            )  # whatever a checkpoint has, whose scale may be another
        vectors = segment_vectors(hidden, segment_ids, candidates + 1, self.pooling)
        contexts = vectors[:, :1]
        if self.codes:
            width = hidden.shape[-1]
            init = nn.initializers.normal(width**-0.5)
            codes = nn.Embed(self.codes, width, embedding_init=init, name="codes").embedding
            contexts = attended(codes, hidden, segment_ids == 1)
        scale = jnp.exp(log_scale)
        if self.similarity == "cosine":
            contexts, vectors = unit_length(contexts), unit_length(vectors)
            if self.codes:  # cosines are too alike for a softmax, so what looks at the codes are scaled ones
                contexts, scale = contexts * scale, jnp.ones_like(scale)
        return EncodedPairs(contexts, vectors[:, 1:], scale)


def segment_vectors(hidden: Array, segment_ids: Array, count: int, pooling: Pooling) -> Array:
    """Return a vector for each of the segments 1 … ``count``, zeros for those that are not there.

    Args:
        hidden: float32 ``[batch, length, hidden]``.
        segment_ids: int ``[batch, length]``.
        count: of segments.
        pooling: the first state of a segment, or the mean of them.

    Returns:
        float32 ``[batch, count, hidden]``.
    """
    is_in = segment_ids[:, None, :] == jnp.arange(1, count + 1)[:, None]
    if pooling == "mean":
        shares = is_in / jnp.maximum(is_in.sum(axis=-1, keepdims=True), 1)
        return jnp.einsum("bsl,blh->bsh", shares, hidden)
    first = jnp.take_along_axis(hidden, jnp.argmax(is_in, axis=-1)[:, :, None], axis=1)
    return jnp.where(is_in.any(axis=-1)[:, :, None], first, 0.0)


def attended(queries: Array, states: Array, allowed: Array) -> Array:
    """Return for each query the mean of the states that it looks at, softmax(query · state), not scaled.

    Args:
        queries: ``[queries, hidden]``.
        states: ``[batch, length, hidden]``.
        allowed: bool ``[batch, length]``.

    Returns:
        ``[batch, queries, hidden]``.
    """
    logits = jnp.einsum("qh,blh->bql", queries, states)
    weights = jax.nn.softmax(jnp.where(allowed[:, None], logits, _FORBIDDEN), axis=-1)
    return jnp.einsum("bql,blh->bqh", weights, states)


def unit_length(vectors: Array) -> Array:
    """Return vectors of length 1 over the last axis; of one that is nearly 0 nearly 0."""
    squares = jnp.square(vectors).sum(axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(squares, 1e-12))


def scores_of_all(contexts: Array, candidates: Array) -> Array:
    """Return ``[batch, n]`` scores of all candidates ``[n, hidden]`` after contexts ``[batch, codes, hidden]``."""
    return _over_codes(jnp.einsum("bch,nh->bcn", contexts, candidates, precision=_EXACT))


def scores_of_own(contexts: Array, candidates: Array) -> Array:
    """Return the scores of each context's own candidates, ``[batch, n, hidden]`` → ``[batch, n]``."""
    return _over_codes(jnp.einsum("bch,bnh->bcn", contexts, candidates, precision=_EXACT))


def _over_codes(products: Array) -> Array:
    """Return candidate · Σ w · code with w = softmax(candidate · code), from the products ``[batch, codes, n]``."""
    if products.shape[1] == 1:
        return products[:, 0]
    return (jax.nn.softmax(products, axis=1) * products).sum(axis=1)
