"""ModernBERT's encoder: pre-norm blocks with rotary positions, gated feed-forward layers and no biases.

Warner et al. 2024, "Smarter, Better, Faster, Longer"; computed as transformers' ``modeling_modernbert.py`` does. The
embedding layer ends with a LayerNorm, so the first block has none before its attention; the last is followed by one.
In some layers tokens may see their neighbours alone (``model.local_attention``).

Parameters (layers stacked on a leading axis)::

    layers/attention_layer_norm/scale                  row 0 is that of the first block: there, and never read
    layers/attention/{query,key,value,output}/kernel
    layers/mlp_layer_norm/scale
    layers/{intermediate,gate,output}/kernel           output(gelu(intermediate(x)) · gate(x))
    final_layer_norm/scale
"""

from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.attention.multi_head import MultiHeadAttention
from electra_jax.model.block import BlockConfig
from electra_jax.model.dropout import dropout
from electra_jax.model.encoder import Encoder, rematerialised, unstacked
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import Dense, LayerNorm, split_or_none, truncated_normal
from electra_jax.model.rotary import Rotation, rotation_of_columns
from electra_jax.partitioning.constraints import constrain


def layer_norm(block: BlockConfig) -> LayerNorm:
    """Return a LayerNorm as modern blocks have it."""
    return LayerNorm(block.layer_norm_epsilon, block.dtype, use_bias=block.biases)


class ModernLayer(nn.Module):
    """Attention and gated feed-forward, each with LayerNorm before it and residual."""

    block: BlockConfig

    def setup(self) -> None:  # noqa: D102
        block = self.block

        def dense(features: int, stddev: float) -> Dense:
            init = truncated_normal(stddev, block.initializer_cut)
            return Dense(features, block.dtype, init, block.operations, use_bias=block.biases)

        self.attention_layer_norm = layer_norm(block)
        self.attention = MultiHeadAttention(block)
        self.mlp_layer_norm = layer_norm(block)
        self.intermediate = dense(block.intermediate_size, block.initializer_range)
        self.gate = dense(block.intermediate_size, block.initializer_range)
        self.output = dense(block.hidden_size, block.output_initializer_range)

    def __call__(
        self,
        x: Array,
        mask: AttentionMask,
        rng: Array | None,
        rotation: Rotation | None = None,
        first: bool | Array = False,
    ) -> Array:
        """Map ``[batch, length, hidden]`` to the same shape.

        Args:
            x: The residual stream.
            mask: Who may attend to whom.
            rng: A key; None means no dropout.
            rotation: Of queries and keys.
            first: Whether it is the first block, whose attention reads ``x`` as it is; a bool array in a scan.
        """
        attention_rng, first_rng, second_rng = split_or_none(rng, 3)
        normalised = self.before_attention(x, first)
        x = self.add(x, self.attention(normalised, mask, attention_rng, rotation), first_rng)
        return self.feed_forward(x, second_rng)

    def before_attention(self, x: Array, first: bool | Array) -> Array:
        """Return what attention reads."""
        normalised = x if first is True else self.attention_layer_norm(x)
        return normalised if isinstance(first, bool) else jnp.where(first, x, normalised)

    def feed_forward(self, x: Array, rng: Array | None) -> Array:
        """Apply the second half of the block."""
        normalised = self.mlp_layer_norm(x)
        gated = self.block.operations.gelu(self.intermediate(normalised)) * self.gate(normalised)
        return self.add(x, self.output(gated), rng)

    def add(self, x: Array, y: Array, rng: Array | None) -> Array:
        """Return x + dropout(y)."""
        return constrain(x + dropout(y, self.block.hidden_dropout, rng), "batch", "length", "activation")


class ModernEncoder(Encoder):
    """Embedded tokens → hidden states; a projection comes first where the embedding size is another."""

    def setup(self) -> None:  # noqa: D102
        super().setup()
        self.final_layer_norm = layer_norm(self.config.block)

    def layer(self, block: BlockConfig) -> ModernLayer:
        """Return a layer that is applied to its parameters."""
        return ModernLayer(block, parent=None)

    def __call__(self, embedded: Array, inputs: EncoderInputs, rng: Array | None) -> Array:
        """Map ``[batch, length, embedding]`` to ``[batch, length, hidden]``, normalised.

        No dropout where ``rng`` is None.
        """
        mask = AttentionMask.within(inputs.segment_ids, self.direction)
        return self.final_layer_norm(self.run_layers(self.project(embedded), mask, rng))

    def run_layers(self, x: Array, mask: AttentionMask, rng: Array | None, *more: Any) -> Array:
        """Apply all layers to ``[batch, length, hidden]``.

        A scan goes over groups of a global layer and the local ones after it, so that each has a window of its own.
        """
        assert not more, "an encoder's layers read nothing else"
        config, operations = self.config, self.config.block.operations
        # Parameters do not depend on the back end, and may be initialised on devices where it does not run.
        block = replace(config.block, attention="xla") if self.is_initializing() else config.block
        layer = self.layer(block)
        local_rotation, global_rotation = (
            rotation_of_columns(x.shape[1], block.head_dim, theta) for theta in config.thetas
        )

        def run(x: Array, params: Any, number: Array, place: int, first: bool | Array) -> Array:
            """Apply layer ``number``, which stands at ``place`` in its group."""
            window = config.window_of(place)
            rotation = global_rotation if window is None else local_rotation
            windowed: AttentionMask = mask.replace(window=window)  # type: ignore[attr-defined]

            def step(x: Array, params: Any, number: Array) -> Array:
                layer_rng = None if rng is None else jax.random.fold_in(rng, number)
                out: Any = layer.apply({"params": params}, x, windowed, layer_rng, rotation, first)
                return out

            out: Array = rematerialised(step, config.remat)(x, params, number)
            return out

        numbers, size = jnp.arange(config.num_layers), config.global_every
        groups = config.num_layers // size if config.scan_layers else 0
        if groups:

            def body(x: Array, params_and_number: tuple[Any, Array]) -> tuple[Array, None]:
                group, number = params_and_number
                for place, params in enumerate(unstacked(group, operations)):
                    x = run(x, params, number + place, place, number == 0 if place == 0 else False)
                return x, None

            grouped = jax.tree.map(
                lambda leaf: leaf[: groups * size].reshape(groups, size, *leaf.shape[1:]), self.layers
            )
            x, _ = jax.lax.scan(body, x, (grouped, numbers[: groups * size : size]))
        # Those of no whole group, or all.
        rest = jax.tree.map(lambda leaf: leaf[groups * size :], self.layers) if groups else self.layers
        for number, params in enumerate(unstacked(rest, operations), start=groups * size):
            x = run(x, params, numbers[number], number % size, number == 0)
        return x
