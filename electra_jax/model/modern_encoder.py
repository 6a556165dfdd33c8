"""ModernBERT's encoder: pre-norm blocks with rotary positions, gated feed-forward layers and no biases.

Warner et al. 2024, "Smarter, Better, Faster, Longer"; computed as transformers' ``modeling_modernbert.py`` does. The
embedding layer ends with a LayerNorm, so the first block has none before its attention; the last is followed by one.

Parameters (layers stacked on a leading axis)::

    layers/attention_layer_norm/scale                  row 0 is that of the first block: there, and never read
    layers/attention/{query,key,value,output}/kernel
    layers/mlp_layer_norm/scale
    layers/{intermediate,gate,output}/kernel           output(gelu(intermediate(x)) · gate(x))
    final_layer_norm/scale
"""

from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.attention.multi_head import MultiHeadAttention
from electra_jax.model.block import BlockConfig
from electra_jax.model.dropout import dropout
from electra_jax.model.encoder import Encoder, rematerialised
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import Dense, LayerNorm, split_or_none, truncated_normal
from electra_jax.model.rotary import Rotation, rotation_of_columns
from electra_jax.partitioning.constraints import constrain


class ModernLayer(nn.Module):
    """Attention and gated feed-forward, each with LayerNorm before it and residual."""

    block: BlockConfig

    def setup(self) -> None:  # noqa: D102
        block = self.block
        layer_norm = partial(LayerNorm, block.layer_norm_epsilon, block.dtype, use_bias=block.biases)

        def dense(features: int, stddev: float) -> Dense:
            init = truncated_normal(stddev, block.initializer_cut)
            return Dense(features, block.dtype, init, block.operations, use_bias=block.biases)

        self.attention_layer_norm = layer_norm()
        self.attention = MultiHeadAttention(block)
        self.mlp_layer_norm = layer_norm()
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
        normalised = x if first is True else self.attention_layer_norm(x)
        if not isinstance(first, bool):
            normalised = jnp.where(first, x, normalised)
        x = self._add(x, self.attention(normalised, mask, attention_rng, rotation), first_rng)
        normalised = self.mlp_layer_norm(x)
        gated = self.block.operations.gelu(self.intermediate(normalised)) * self.gate(normalised)
        return self._add(x, self.output(gated), second_rng)

    def _add(self, x: Array, y: Array, rng: Array | None) -> Array:
        return constrain(x + dropout(y, self.block.hidden_dropout, rng), "batch", "length", "activation")


class ModernEncoder(Encoder):
    """Embedded tokens → hidden states; a projection comes first where the embedding size is another."""

    def setup(self) -> None:  # noqa: D102
        super().setup()
        block = self.config.block
        self.final_layer_norm = LayerNorm(block.layer_norm_epsilon, block.dtype, use_bias=block.biases)

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
        """Apply all layers to ``[batch, length, hidden]``."""
        assert not more, "an encoder's layers read nothing else"
        config = self.config
        # Parameters do not depend on the back end, and may be initialised on devices where it does not run.
        block = replace(config.block, attention="xla") if self.is_initializing() else config.block
        layer = self.layer(block)
        rotation = rotation_of_columns(x.shape[1], block.hidden_size // block.num_heads, config.rope_theta)

        def run(x: Array, params: Any, number: Array, first: bool | Array) -> Array:
            def step(x: Array, params: Any, number: Array) -> Array:
                layer_rng = None if rng is None else jax.random.fold_in(rng, number)
                out: Any = layer.apply({"params": params}, x, mask, layer_rng, rotation, first)
                return out

            out: Array = rematerialised(step, config.remat)(x, params, number)
            return out

        numbers = jnp.arange(config.num_layers)
        if config.scan_layers:

            def body(x: Array, params_and_number: tuple[Any, Array]) -> tuple[Array, None]:
                params, number = params_and_number
                return run(x, params, number, number == 0), None

            return jax.lax.scan(body, x, (self.layers, numbers))[0]
        for count, params in enumerate(self.layer_parameters()):
            x = run(x, params, numbers[count], count == 0)
        return x
