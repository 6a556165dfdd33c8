"""A decoder of texts: embeddings, decoder and vocabulary head, as one step at a time or as whole rows.

`read_prompt` and `read_token` serve the causal language model too. `TextDecoder` writes with a source: it is Hugging
Face's ``ElectraForCausalLM`` as the decoder of an ``EncoderDecoderModel``, with the encoder's embeddings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from electra_jax.model.block import EmbeddingsConfig, EncoderConfig
from electra_jax.model.cache import Cache
from electra_jax.model.decoder import Decoder, Source, SourceCache
from electra_jax.model.embeddings import Embeddings
from electra_jax.model.heads import MaskedLMHead
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import Dense, split_or_none, truncated_normal
from electra_jax.model.vocabulary_loss import TokenLosses, vocabulary_loss

# From states [rows, length, hidden] to logits [rows, length, vocab_rows].
Head = Callable[[Array], Array]


@dataclass(frozen=True)
class TextDecoderConfig:
    """A decoder that reads a source.

    Attributes:
        embeddings: Of its tokens, those of the encoder.
        decoder: Its layers.
        vocab_size: Entries of the vocabulary.
        source_size: Width of the source's states.
    """

    embeddings: EmbeddingsConfig
    decoder: EncoderConfig
    vocab_size: int
    source_size: int


def read_prompt(
    embeddings: Embeddings,
    decoder: Decoder,
    head: Head,
    prompt: tuple[Array, Array],
    slots: int,
    source: SourceCache | None = None,
) -> tuple[Array, Cache]:
    """Read the beginning of each row.

    Args:
        embeddings: Bound, as the others.
        decoder: Reads them.
        head: Over the vocabulary.
        prompt: int32 ``[rows, length]``, padded on the right, and int32 ``[rows]``, tokens of each, at least 1.
        slots: How many tokens of a row there is to be room for, prompt included.
        source: What the decoder attends to, a row each.

    Returns:
        Float32 logits ``[rows, vocab_rows]`` of the token behind each prompt, and what is kept of the prompts.
    """
    ids, lengths = prompt
    zeros = jnp.zeros_like(ids)
    columns = jnp.broadcast_to(jnp.arange(ids.shape[1], dtype=jnp.int32), ids.shape)
    embedded = embeddings(EncoderInputs(ids, zeros, columns, zeros + 1), None)
    states, cache = decoder.prefill(embedded, lengths, slots, source)
    last = jnp.take_along_axis(states, (lengths - 1)[:, None, None], axis=1)
    return head(last)[:, 0], cache


def read_token(
    embeddings: Embeddings,
    decoder: Decoder,
    head: Head,
    cache: Cache,
    ids: Array,
    source: SourceCache | None = None,
) -> tuple[Array, Cache]:
    """Read one token more, int32 ``[rows]``; return the next one's logits ``[rows, vocab_rows]``, and the cache."""
    ids = ids[:, None]
    zeros = jnp.zeros_like(ids)
    embedded = embeddings(EncoderInputs(ids, zeros, cache.used[:, None], zeros + 1), None)
    states, cache = decoder.step(embedded, cache, source)
    return head(states)[:, 0], cache


class TextDecoder(nn.Module):
    """Parameters ``decoder`` and ``lm_head``, ``encoder_projection`` where widths differ, the encoder's ``embeddings``.

    Call it by its methods.
    """

    config: TextDecoderConfig

    def setup(self) -> None:  # noqa: D102
        config = self.config
        block = config.decoder.block
        self.embeddings = Embeddings(config.embeddings)
        self.decoder = Decoder(config.decoder, reads_source=True)
        self.lm_head = MaskedLMHead(config.vocab_size, block)
        if config.source_size != block.hidden_size:
            init = truncated_normal(block.initializer_range)
            self.encoder_projection = Dense(block.hidden_size, block.dtype, init, block.operations)

    def source(self, states: Array, segment_ids: Array) -> Source:
        """Return states ``[batch, source_length, source_size]`` as the decoder reads them."""
        if self.config.source_size != self.config.decoder.block.hidden_size:
            states = self.encoder_projection(states)
        return Source(states, segment_ids)

    def losses(
        self,
        source: Source,
        read: Array,
        targets: Array,
        weights: Array,
        smoothing: float = 0.0,
        rng: Array | None = None,
        repeats: float = 0.0,
    ) -> tuple[Array, TokenLosses]:
        """Return Σ w · loss of the target tokens, and what is known of each, without holding all logits.

        Args:
            source: What is attended to.
            read: int32 ``[batch, target_length]``, what stands before each target token; anything in padding.
            targets: int32 ``[batch, target_length]``.
            weights: float32 ``[batch, target_length]``, 0 for padding.
            smoothing: Of the targets.
            rng: A key; None means no dropout.
            repeats: Weight of the loss against repeats, see `vocabulary_loss`.
        """
        embedding_rng, decoder_rng = split_or_none(rng, 2)
        zeros = jnp.zeros_like(read)
        # Padding may reach beyond the positions that there are, where a look-up would give NaN.
        last = self.config.embeddings.max_positions - 1
        columns = jnp.minimum(jnp.arange(read.shape[1], dtype=jnp.int32), last)
        positions = jnp.broadcast_to(columns, read.shape)
        embedded = self.embeddings(EncoderInputs(read, zeros, positions, zeros + 1), embedding_rng)
        states = self.decoder.decode(embedded, zeros + 1, decoder_rng, source)
        loss = partial(
            vocabulary_loss,
            ids=targets,
            weights=weights,
            operations=self.config.decoder.block.operations,
            smoothing=smoothing,
            repeats=repeats,
        )
        result: Any = self.lm_head(states, self.embeddings.word_table(), loss)
        return result

    def read_source(self, source: Source) -> SourceCache:
        """Compute the keys and values of a source, once for all steps."""
        return self.decoder.read_source(source)

    def prefill(self, ids: Array, lengths: Array, slots: int, source: SourceCache) -> tuple[Array, Cache]:
        """Read the beginning of each text; see `read_prompt`."""
        return read_prompt(self.embeddings, self.decoder, self._logits, (ids, lengths), slots, source)

    def step(self, cache: Cache, ids: Array, source: SourceCache) -> tuple[Array, Cache]:
        """Read one token more; see `read_token`."""
        return read_token(self.embeddings, self.decoder, self._logits, cache, ids, source)

    def _logits(self, states: Array) -> Array:
        logits: Array = self.lm_head(states, self.embeddings.word_table())
        return logits
