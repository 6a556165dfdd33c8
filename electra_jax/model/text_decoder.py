"""A decoder of texts: embeddings, decoder and vocabulary head, as one step at a time or as whole rows.

`read_prompt` and `read_token` serve the causal language model too. `TextDecoder` writes with a source: it is Hugging
Face's ``ElectraForCausalLM`` as the decoder of an ``EncoderDecoderModel``, with the encoder's embeddings; with modern
blocks it has no counterpart there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.block import EmbeddingsConfig, EncoderConfig
from electra_jax.model.cache import Cache
from electra_jax.model.copying import CopyChoice, CopyHead, copy_loss
from electra_jax.model.decoder import Decoder, Source, SourceCache
from electra_jax.model.embeddings import Embeddings
from electra_jax.model.heads import MaskedLMHead
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import Dense, split_or_none, truncated_normal
from electra_jax.model.modern_decoder import ModernDecoder
from electra_jax.model.vocabulary_loss import vocabulary_loss

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
        copies: Whether it may take tokens from the source, see `copying`.
    """

    embeddings: EmbeddingsConfig
    decoder: EncoderConfig
    vocab_size: int
    source_size: int
    copies: bool = False


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
    """Parameters ``decoder`` and ``lm_head``, and the encoder's ``embeddings``.

    ``encoder_projection`` where widths differ, ``copy_head`` where it may copy.

    Call it by its methods.
    """

    config: TextDecoderConfig

    def setup(self) -> None:  # noqa: D102
        config = self.config
        block = config.decoder.block
        self.embeddings = Embeddings(config.embeddings)
        decoder = ModernDecoder if block.kind == "modern" else Decoder
        self.decoder = decoder(config.decoder, reads_source=True)
        self.lm_head = MaskedLMHead(config.vocab_size, block)
        if config.copies:
            self.copy_head = CopyHead(block)
        if config.source_size != block.hidden_size:
            init = truncated_normal(block.initializer_range)
            self.encoder_projection = Dense(block.hidden_size, block.dtype, init, block.operations)

    def source(self, states: Array, segment_ids: Array, tokens: Array | None = None) -> Source:
        """Return states ``[batch, source_length, source_size]`` as the decoder reads them.

        Args:
            states: The encoder's.
            segment_ids: int ``[batch, source_length]``, 0 for padding.
            tokens: int32 ``[batch, source_length]``, what may be copied, -1 elsewhere; None: nothing.
        """
        if self.config.source_size != self.config.decoder.block.hidden_size:
            states = self.encoder_projection(states)
        return Source(states, segment_ids, tokens if self.config.copies else None)

    def losses(
        self,
        source: Source,
        read: Array,
        targets: Array,
        weights: Array,
        smoothing: float = 0.0,
        rng: Array | None = None,
        repeats: float = 0.0,
    ) -> tuple[Array, Array]:
        """Return Σ w · loss of the target tokens, and -log p of each, ``[batch, target_length]``.

        Logits of all tokens are never held; no gradient flows through -log p.

        Args:
            source: What is attended to.
            read: int32 ``[batch, target_length]``, what stands before each target token; anything in padding.
            targets: int32 ``[batch, target_length]``.
            weights: float32 ``[batch, target_length]``, 0 for padding.
            smoothing: Of the targets; where tokens are copied too, of the vocabulary's part.
            rng: A key; None means no dropout.
            repeats: Weight of the loss against repeats, see `vocabulary_loss`; 0 where tokens are copied.
        """
        embedding_rng, decoder_rng = split_or_none(rng, 2)
        zeros = jnp.zeros_like(read)
        # Padding may reach beyond the positions that there are, where a look-up would give NaN.
        last = self.config.embeddings.max_positions - 1
        columns = jnp.minimum(jnp.arange(read.shape[1], dtype=jnp.int32), last)
        positions = jnp.broadcast_to(columns, read.shape)
        embedded = self.embeddings(EncoderInputs(read, zeros, positions, zeros + 1), embedding_rng)
        states = self.decoder.decode(embedded, zeros + 1, decoder_rng, source)
        operations = self.config.decoder.block.operations
        loss = partial(
            vocabulary_loss, ids=targets, operations=operations, smoothing=smoothing, repeats=repeats
        )
        choice = self._choice(states, source)

        def compute(*of_logits: Array) -> tuple[Array, Array]:
            if choice is None:
                total, tokens = loss(*of_logits, weights=weights)
                return total, tokens.nll
            plain = jax.lax.stop_gradient(of_logits)
            _, tokens = vocabulary_loss(*plain, targets, weights, operations)
            return copy_loss(
                choice, targets, weights, tokens.nll, lambda shares: loss(*of_logits, weights=shares)[0]
            )

        result: Any = self.lm_head(states, self.embeddings.word_table(), compute)
        return result

    def _choice(self, states: Array, source: Source) -> CopyChoice | None:
        if source.tokens is None:
            return None
        choice: CopyChoice = self.copy_head(states, self.copy_head.read_source(source.states, source.tokens))
        return choice

    def read_source(self, source: Source) -> SourceCache:
        """Compute the keys and values of a source, once for all steps."""
        kept = self.decoder.read_source(source)
        if source.tokens is None:
            return kept
        copied = self.copy_head.read_source(source.states, source.tokens)
        return SourceCache(kept.layers, kept.segment_ids, copied)

    def prefill(self, ids: Array, lengths: Array, slots: int, source: SourceCache) -> tuple[Array, Cache]:
        """Read the beginning of each text; see `read_prompt`."""
        return read_prompt(
            self.embeddings, self.decoder, partial(self._logits, source), (ids, lengths), slots, source
        )

    def step(self, cache: Cache, ids: Array, source: SourceCache) -> tuple[Array, Cache]:
        """Read one token more; see `read_token`."""
        return read_token(self.embeddings, self.decoder, partial(self._logits, source), cache, ids, source)

    def _logits(self, source: SourceCache, states: Array) -> Array:
        logits: Array = self.lm_head(states, self.embeddings.word_table())
        if source.copied is None:
            return logits
        # The rows of one source (its beams, in a step) stand one behind the other.
        sources = source.segment_ids.shape[0]
        by_source = states.reshape(sources, -1, states.shape[-1])
        choice: CopyChoice = self.copy_head(by_source, source.copied)
        return choice.logits(logits.reshape(*by_source.shape[:2], -1)).reshape(logits.shape)
