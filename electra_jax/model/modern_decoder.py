"""A decoder of ModernBERT's blocks: `modern_encoder`'s, seeing only what is before a token, with attention to a source.

Attention to the source stands between self-attention and feed-forward, with LayerNorm before it and residual, and has
no rotary positions. Every layer sees all tokens before one, whatever ``model.local_attention`` says, since texts that
are written are short; layers that are local in the encoder keep the wavelengths they have there.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.attention.multi_head import KeysValues, MultiHeadAttention
from electra_jax.model.beam_cache import BeamCache
from electra_jax.model.block import BlockConfig
from electra_jax.model.cache import Cache
from electra_jax.model.decoder import Decoder, Source, attend_to_source
from electra_jax.model.encoder import rematerialised
from electra_jax.model.layers import split_or_none
from electra_jax.model.modern_encoder import ModernLayer, layer_norm
from electra_jax.model.rotary import Rotation, rotation_of_columns, rotation_of_positions


class ModernDecoderLayer(ModernLayer):
    """Self-attention, attention to a source and gated feed-forward, each with LayerNorm before it and residual."""

    def setup(self) -> None:  # noqa: D102
        super().setup()
        block = self.block
        self.cross_attention = MultiHeadAttention(replace(block, attention="xla"))
        self.cross_attention_layer_norm = layer_norm(block)

    def __call__(
        self,
        x: Array,
        mask: AttentionMask,
        rng: Array | None,
        rotation: Rotation | None = None,
        first: bool | Array = False,
        source: Source | None = None,
    ) -> Array:
        """Map ``[batch, length, hidden]`` to the same shape; the arguments are `ModernLayer`'s."""
        attention_rng, first_rng, cross_rng, second_rng, last_rng = split_or_none(rng, 5)
        if source is None:  # initialisation
            source = Source(x, mask.key_segments)
        attended = self.attention(self.before_attention(x, first), mask, attention_rng, rotation)
        x = self.add(x, attended, first_rng)
        keys_values = self.cross_attention.keys_values(source.states)
        x = self._attend_to_source(x, keys_values, source.segment_ids, cross_rng, second_rng)
        return self.feed_forward(x, last_rng)

    def prefill(
        self,
        x: Array,
        mask: AttentionMask,
        source: KeysValues,
        source_segments: Array,
        rotation: Rotation,
        first: bool,
    ) -> tuple[Array, KeysValues]:
        """Apply the layer to ``[rows, length, hidden]``, and return its keys and values besides."""
        normalised = self.before_attention(x, first)
        made = self.attention.keys_values(normalised, rotation)
        x = self.add(x, self.attention.attend(normalised, made, mask, None, rotation), None)
        return self._after_attention(x, source, source_segments), made

    def step(
        self,
        x: Array,
        cache: Cache | BeamCache,
        number: int,
        mask: Any,
        source: KeysValues,
        source_segments: Array,
        rotation: Rotation,
        first: bool,
    ) -> tuple[Array, KeysValues]:
        """Apply layer ``number`` to the last token of each text, ``[rows, queries, hidden]``; return what is kept.

        ``mask`` is the cache's.
        """
        normalised = self.before_attention(x, first)
        kept = cache.write(number, self.attention.keys_values(normalised, rotation))
        x = self.add(x, cache.attend(self.attention, normalised, number, kept, mask, rotation), None)
        return self._after_attention(x, source, source_segments), kept

    def source_keys_values(self, states: Array) -> KeysValues:
        """Project the states of a source."""
        return self.cross_attention.keys_values(states)

    def _after_attention(self, x: Array, source: KeysValues, source_segments: Array) -> Array:
        return self.feed_forward(self._attend_to_source(x, source, source_segments, None, None), None)

    def _attend_to_source(
        self, x: Array, source: KeysValues, segments: Array, cross_rng: Array | None, rng: Array | None
    ) -> Array:
        normalised = self.cross_attention_layer_norm(x)
        return self.add(
            x, attend_to_source(self.cross_attention, normalised, source, segments, cross_rng), rng
        )


class ModernDecoder(Decoder):
    """A stack of such layers, and a LayerNorm behind the last; the methods are `Decoder`'s, a source always there."""

    def setup(self) -> None:  # noqa: D102
        super().setup()
        self.final_layer_norm = layer_norm(self.config.block)

    def layer(self, block: BlockConfig) -> ModernDecoderLayer:
        """Return a layer that is applied to its parameters."""
        return ModernDecoderLayer(block, parent=None)

    def finish(self, x: Array) -> Array:
        """Return states out of what the last layer gives: normalised."""
        normalised: Array = self.final_layer_norm(x)
        return normalised

    def layer_arguments(self, positions: Array) -> Callable[[int], tuple[Any, ...]]:
        """Return what is handed to the layer of a number: its rotation, and whether it is the first."""
        local, of_all = (
            rotation_of_positions(positions, self.config.block.head_dim, theta)
            for theta in self.config.thetas
        )
        return lambda number: (of_all if number % self.config.global_every == 0 else local, number == 0)

    def run_layers(self, x: Array, mask: AttentionMask, rng: Array | None, *more: Any) -> Array:
        """Apply all layers to ``[batch, length, hidden]``; ``more`` is the source."""
        config = self.config
        layer, numbers = self.layer(config.block), jnp.arange(config.num_layers)
        rotations = [rotation_of_columns(x.shape[1], config.block.head_dim, theta) for theta in config.thetas]
        both = jax.tree.map(lambda local, of_all: jnp.stack([local, of_all]), *rotations)

        def step(x: Array, params_and_number: tuple[Any, Array]) -> tuple[Array, None]:
            params, number = params_and_number
            layer_rng = None if rng is None else jax.random.fold_in(rng, number)
            is_global = (number % config.global_every == 0).astype(jnp.int32)
            rotation = jax.tree.map(lambda some: some[is_global], both)
            out: Any = layer.apply({"params": params}, x, mask, layer_rng, rotation, number == 0, *more)
            return out, None

        step = rematerialised(step, config.remat)
        if config.scan_layers:
            return jax.lax.scan(step, x, (self.layers, numbers))[0]
        for number, params in zip(numbers, self.layer_parameters(), strict=True):
            x, _ = step(x, (params, number))
        return x
