"""The decoder: an encoder that sees what is before a token alone, may attend to a source, and keeps what it has read.

Its layers are those of Hugging Face's ELECTRA as a decoder: self-attention, attention to the source (where there is
one), feed-forward, each with residual and LayerNorm after it. Without a source the parameters are an encoder's.
`modern_decoder` has the pre-norm ones.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import jax.numpy as jnp
from flax import struct
from jax import Array

from electra_jax.model.attention.mask import AttentionMask, Direction
from electra_jax.model.attention.multi_head import KeysValues, MultiHeadAttention
from electra_jax.model.beam_cache import BeamCache
from electra_jax.model.block import BlockConfig
from electra_jax.model.cache import Cache, with_room
from electra_jax.model.copying import CopySource
from electra_jax.model.encoder import Encoder, EncoderLayer
from electra_jax.model.layers import LayerNorm, split_or_none

AnyCache = TypeVar("AnyCache", Cache, BeamCache)


@struct.dataclass
class Source:
    """The states a decoder attends to.

    Attributes:
        states: ``[batch, source_length, hidden]``, as wide as the decoder: others are projected first.
        segment_ids: int ``[batch, source_length]``, 0 for padding; rows that are not padding have segment 1.
        tokens: int32 ``[batch, source_length]``, what may be copied, -1 elsewhere; None where nothing ever is.
    """

    states: Array
    segment_ids: Array
    tokens: Array | None = None


@struct.dataclass
class SourceCache:
    """Keys and values of a source, computed once for all steps.

    Attributes:
        layers: Of each layer, ``[sources, heads, source_length, head_dim]``.
        segment_ids: int ``[sources, source_length]``, 0 for padding.
        copied: What tokens are copied from; None where none are.
    """

    layers: tuple[KeysValues, ...]
    segment_ids: Array
    copied: CopySource | None = None


def attend_to_source(
    attention: MultiHeadAttention, x: Array, source: KeysValues, segments: Array, rng: Array | None
) -> Array:
    """Let ``[rows, queries, hidden]`` attend to sources, of which each has as many rows, one behind the other.

    The rows of a source (its beams, in a step) are queries of it side by side: its keys are never repeated.
    """
    queries = x.reshape(segments.shape[0], -1, x.shape[-1])
    mask = AttentionMask(jnp.ones(queries.shape[:2], jnp.int32), (segments != 0).astype(jnp.int32))
    return attention.attend(queries, source, mask, rng).reshape(x.shape)


class DecoderLayer(EncoderLayer):
    """A layer that may attend to a source between self-attention and feed-forward.

    Attributes:
        reads_source: Whether it does.
    """

    reads_source: bool = False

    def setup(self) -> None:  # noqa: D102
        super().setup()
        if self.reads_source:
            block = self.block
            self.cross_attention = MultiHeadAttention(replace(block, starts_local=False, attention="xla"))
            self.cross_attention_layer_norm = LayerNorm(block.layer_norm_epsilon, block.dtype)

    def __call__(
        self, x: Array, mask: AttentionMask, rng: Array | None, source: Source | None = None
    ) -> Array:
        """Map ``[batch, length, hidden]`` to the same shape; ``rng`` None means no dropout."""
        if not self.reads_source:
            return super().__call__(x, mask, rng)
        attention_rng, first_rng, cross_rng, second_rng, last_rng = split_or_none(rng, 5)
        x = self.add_and_normalise(
            self.attention_layer_norm, x, self.attention(x, mask, attention_rng), first_rng
        )
        if source is None:  # initialisation
            source = Source(x, mask.key_segments)
        keys_values = self.cross_attention.keys_values(source.states)
        x = self._attend_to_source(x, keys_values, source.segment_ids, cross_rng, second_rng)
        return self.feed_forward(x, last_rng)

    def prefill(
        self, x: Array, mask: AttentionMask, source: KeysValues | None, source_segments: Array | None
    ) -> tuple[Array, KeysValues]:
        """Apply the layer to ``[rows, length, hidden]``, and return its keys and values besides."""
        made = self.attention.keys_values(x)
        attended = self.attention.attend(x, made, mask, None)
        return self._after_attention(x, attended, source, source_segments), made

    def step(
        self,
        x: Array,
        cache: Cache | BeamCache,
        number: int,
        mask: Any,
        source: KeysValues | None,
        source_segments: Array | None,
    ) -> tuple[Array, KeysValues]:
        """Apply layer ``number`` to the last token of each text, ``[rows, queries, hidden]``; return what is kept.

        ``mask`` is the cache's.
        """
        kept = cache.write(number, self.attention.keys_values(x))
        attended = cache.attend(self.attention, x, number, kept, mask)
        return self._after_attention(x, attended, source, source_segments), kept

    def source_keys_values(self, states: Array) -> KeysValues:
        """Project the states of a source."""
        return self.cross_attention.keys_values(states)

    def _after_attention(
        self, x: Array, attended: Array, source: KeysValues | None, source_segments: Array | None
    ) -> Array:
        x = self.add_and_normalise(self.attention_layer_norm, x, attended, None)
        if source is not None and source_segments is not None:
            x = self._attend_to_source(x, source, source_segments, None, None)
        return self.feed_forward(x, None)

    def _attend_to_source(
        self, x: Array, source: KeysValues, segments: Array, cross_rng: Array | None, rng: Array | None
    ) -> Array:
        attended = attend_to_source(self.cross_attention, x, source, segments, cross_rng)
        return self.add_and_normalise(self.cross_attention_layer_norm, x, attended, rng)


class Decoder(Encoder):
    """A stack of decoder layers; parameters as the encoder's, and ``cross_attention`` where it reads a source.

    Attributes:
        reads_source: Whether its layers attend to a source.
    """

    direction: Direction = "left_to_right"
    reads_source: bool = False

    def layer(self, block: BlockConfig) -> Any:
        """Return a layer that is applied to its parameters."""
        return DecoderLayer(block, self.reads_source, parent=None)

    def decode(
        self, embedded: Array, segment_ids: Array, rng: Array | None, source: Source | None = None
    ) -> Array:
        """Map whole rows ``[batch, length, embedding]`` to states ``[batch, length, hidden]``, as in training."""
        mask = AttentionMask.within(segment_ids, self.direction)
        x = self.project(embedded)
        more = () if source is None else (source,)
        return self.finish(self.run_layers(x, mask, rng, *more))

    def finish(self, x: Array) -> Array:
        """Return states out of what the last layer gives: the same."""
        return x

    def layer_arguments(self, positions: Array) -> Callable[[int], tuple[Any, ...]]:
        """Return what is handed to the layer of a number, besides, for tokens at int32 ``[rows, length]``: nothing."""
        del positions
        return lambda number: ()

    def read_source(self, source: Source) -> SourceCache:
        """Compute the keys and values of a source, once for all steps."""
        layer = self.layer(self.config.block)
        layers = tuple(
            layer.apply({"params": params}, source.states, method="source_keys_values")
            for params in self.layer_parameters()
        )
        return SourceCache(layers, source.segment_ids)  # type: ignore[arg-type]

    def prefill(
        self, embedded: Array, lengths: Array, slots: int, source: SourceCache | None = None
    ) -> tuple[Array, Cache]:
        """Read the beginning of each row at once.

        Args:
            embedded: ``[rows, length, embedding]``, padded on the right.
            lengths: int32 ``[rows]``, tokens of each row.
            slots: How many tokens there is to be room for, at least ``length``.
            source: What the layers attend to, a row each.

        Returns:
            States ``[rows, length, hidden]``, and what is kept of them.
        """
        real = (jnp.arange(embedded.shape[1])[None, :] < lengths[:, None]).astype(jnp.int32)
        mask = AttentionMask.within(real, self.direction)
        layer, x, kept = self.layer(self.config.block), self.project(embedded), []
        columns = jnp.broadcast_to(jnp.arange(x.shape[1], dtype=jnp.int32), x.shape[:2])
        more = self.layer_arguments(columns)
        for number, params in enumerate(self.layer_parameters()):
            own = None if source is None else source.layers[number]
            segments = None if source is None else source.segment_ids
            out: Any = layer.apply(
                {"params": params}, x, mask, own, segments, *more(number), method="prefill"
            )
            x, made = out
            kept.append(with_room(made, slots))
        return self.finish(x), Cache(tuple(kept), lengths.astype(jnp.int32))

    def step(
        self, embedded: Array, cache: AnyCache, source: SourceCache | None = None
    ) -> tuple[Array, AnyCache]:
        """Read one token more of each row.

        Args:
            embedded: ``[rows, 1, embedding]``; with beams, one behind the other, ``[rows * beams, 1, embedding]``.
            cache: What was read before; each row must have a free slot.
            source: What the layers attend to. Rows may be several for each source, one behind the other.

        Returns:
            States as many as ``embedded``, ``[…, 1, hidden]``, and what is kept with them.
        """
        # One query: there is nothing that a fused back end could save.
        layer = self.layer(replace(self.config.block, attention="xla"))
        cache, layers = cache.with_next(), []
        mask, x = cache.mask(), cache.queries(self.project(embedded))
        more = self.layer_arguments((cache.used - 1).reshape(x.shape[:2]))
        for number, params in enumerate(self.layer_parameters()):
            own = None if source is None else source.layers[number]
            segments = None if source is None else source.segment_ids
            out: Any = layer.apply(
                {"params": params}, x, cache, number, mask, own, segments, *more(number), method="step"
            )
            x, kept = out
            layers.append(kept)
        return self.finish(x).reshape(*embedded.shape[:2], -1), cache.with_layers(tuple(layers))
