"""The copy mechanism of a decoder: a token is written out of the vocabulary, or taken from the source.

See, Liu & Manning 2017 (1704.04368, section 2.2), with an attention of its own over the source:
p(w) = p_gen · p_vocabulary(w) + (1 - p_gen) · Σ of the attention to the places of the source where w stands.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from electra_jax.model.block import BlockConfig
from electra_jax.model.layers import Dense, truncated_normal

# No probability is below exp of this, so that no gradient is that of log 0.
_LEAST = -1e9


@struct.dataclass
class CopySource:
    """What tokens are taken from.

    Attributes:
        states: ``[sources, source_length, hidden]``.
        keys: ``[sources, source_length, hidden]``, what the attention looks for.
        tokens: int32 ``[sources, source_length]``, -1 where nothing can be taken.
    """

    states: Array
    keys: Array
    tokens: Array


class CopyChoice(NamedTuple):
    """Where a token comes from.

    Attributes:
        log_generate: log p_gen, float32 ``[rows, length]``.
        log_places: log of (1 - p_gen) · attention, float32 ``[rows, length, source_length]``.
        tokens: Of the source, int32 ``[rows, source_length]``, -1 where nothing can be taken.
    """

    log_generate: Array
    log_places: Array
    tokens: Array

    def log_taken(self, targets: Array) -> Array:
        """Return the log-probability that these tokens, int32 ``[rows, length]``, are taken from the source."""
        is_there = self.tokens[:, None, :] == targets[:, :, None]
        return jax.nn.logsumexp(jnp.where(is_there, self.log_places, _LEAST), axis=-1)

    def logits(self, logits: Array) -> Array:
        """Return log p(w) over the vocabulary, ``[rows, length, entries]``, from the decoder's own logits."""
        length, entries = logits.shape[1:]
        columns = jnp.where(self.tokens < 0, entries, self.tokens)

        def taken(columns: Array, places: Array) -> Array:
            return jnp.zeros((length, entries), jnp.float32).at[:, columns].add(places, mode="drop")

        by_copy = jax.vmap(taken)(columns, jnp.exp(self.log_places))
        own = self.log_generate[..., None] + jax.nn.log_softmax(logits)
        return jnp.logaddexp(own, jnp.where(by_copy > 0, jnp.log(jnp.maximum(by_copy, 1e-37)), _LEAST))


class CopyHead(nn.Module):
    """Attention to the source that takes tokens from it, and p_gen = σ(w · [state; what was attended to] + b)."""

    block: BlockConfig

    def setup(self) -> None:  # noqa: D102
        block = self.block
        init = truncated_normal(block.initializer_range, block.initializer_cut)
        self.query = Dense(block.hidden_size, block.dtype, init, block.operations)
        # Attention is the same with any bias here.
        self.key = Dense(block.hidden_size, block.dtype, init, block.operations, use_bias=False)
        self.generate = Dense(1, jnp.float32, init, block.operations)

    def read_source(self, states: Array, tokens: Array) -> CopySource:
        """Return states ``[sources, source_length, hidden]`` and their tokens as `__call__` wants them."""
        return CopySource(states, self.key(states), tokens)

    def __call__(self, states: Array, source: CopySource) -> CopyChoice:
        """Return where the tokens behind states ``[rows, length, hidden]`` come from, a source for each row."""
        scores = jnp.einsum(
            "bqh,bkh->bqk", self.query(states), source.keys, preferred_element_type=jnp.float32
        )
        possible = (source.tokens >= 0)[:, None, :]
        log_attention = jax.nn.log_softmax(
            jnp.where(possible, scores / self.block.hidden_size**0.5, _LEAST), axis=-1
        )
        seen = jnp.einsum("bqk,bkh->bqh", jnp.exp(log_attention).astype(states.dtype), source.states)
        gate = self.generate(jnp.concatenate([states, seen], axis=-1))[..., 0]
        # From a source without tokens nothing is taken.
        gate = jnp.where(possible.any(axis=-1), gate, -_LEAST)
        log_places = jnp.where(possible, log_attention + jax.nn.log_sigmoid(-gate)[..., None], _LEAST)
        return CopyChoice(jax.nn.log_sigmoid(gate), log_places, source.tokens)


def copy_loss(
    choice: CopyChoice,
    targets: Array,
    weights: Array,
    nll: Array,
    vocabulary: Callable[[Array], Array],
) -> tuple[Array, Array]:
    """Return Σ w · -log p(token) and -log p of each token, float32 ``[rows, length]``, without holding all logits.

    The gradient of -log p(token) for the vocabulary's part is that of its own nll, times the share of p(token) that it
    has; so that sum is taken with other weights, when the shares are known. Smoothing, which ``vocabulary`` may have,
    has an effect on that part alone.

    Args:
        choice: Where tokens come from.
        targets: int32 ``[rows, length]``.
        weights: float32 ``[rows, length]``.
        nll: Of each token in the vocabulary's part, float32 ``[rows, length]``, without gradient.
        vocabulary: From weights to Σ w · the loss of the vocabulary's part.
    """
    own = choice.log_generate - nll
    log_p = jnp.logaddexp(own, choice.log_taken(targets))
    share = jnp.exp(own - log_p)
    by_vocabulary = vocabulary(jax.lax.stop_gradient(weights * share))
    # Its gradient alone: the value is in log p.
    total = (-log_p * weights).sum() + by_vocabulary - jax.lax.stop_gradient(by_vocabulary)
    return total, -jax.lax.stop_gradient(log_p)
