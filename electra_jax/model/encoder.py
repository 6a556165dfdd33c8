"""The encoder: post-LN transformer blocks over embedded tokens; `modern_encoder` has the pre-norm ones.

Parameters of all layers are stacked on a leading axis whether the layers are scanned or unrolled, so a checkpoint does
not depend on how it was computed.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.attention.mask import AttentionMask, Direction
from electra_jax.model.attention.multi_head import MultiHeadAttention
from electra_jax.model.block import BlockConfig, EncoderConfig, Remat
from electra_jax.model.dropout import dropout
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import Dense, LayerNorm, split_or_none, truncated_normal
from electra_jax.model.local_init import can_start_local
from electra_jax.model.operations import Operations
from electra_jax.partitioning.constraints import constrain


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each with residual and LayerNorm after it (BERT's order)."""

    block: BlockConfig

    def setup(self) -> None:  # noqa: D102
        block = self.block
        init = truncated_normal(block.initializer_range, block.initializer_cut)
        dense = partial(Dense, dtype=block.dtype, kernel_init=init, operations=block.operations)
        layer_norm = partial(LayerNorm, block.layer_norm_epsilon, block.dtype)
        self.attention = MultiHeadAttention(block)
        self.attention_layer_norm = layer_norm()
        self.intermediate = dense(block.intermediate_size)
        self.output = dense(block.hidden_size)
        self.output_layer_norm = layer_norm()

    def __call__(self, x: Array, mask: AttentionMask, rng: Array | None) -> Array:
        """Map ``[batch, length, hidden]`` to the same shape; ``rng`` None means no dropout."""
        attention_rng, first_rng, second_rng = split_or_none(rng, 3)
        attended = self.attention(x, mask, attention_rng)
        x = self.add_and_normalise(self.attention_layer_norm, x, attended, first_rng)
        return self.feed_forward(x, second_rng)

    def add_and_normalise(self, layer_norm: LayerNorm, x: Array, y: Array, rng: Array | None) -> Array:
        """Return LayerNorm(x + dropout(y))."""
        normalised = layer_norm(x + dropout(y, self.block.hidden_dropout, rng))
        return constrain(normalised, "batch", "length", "activation")

    def feed_forward(self, x: Array, rng: Array | None) -> Array:
        """Apply the second half of the block."""
        y = self.output(self.block.operations.gelu(self.intermediate(x)))
        return self.add_and_normalise(self.output_layer_norm, x, y, rng)


class Encoder(nn.Module):
    """Embedded tokens → hidden states; a projection comes first where the embedding size is another."""

    config: EncoderConfig
    direction: Direction = "both"

    def setup(self) -> None:  # noqa: D102
        config, block = self.config, self.config.block
        if config.embedding_size != block.hidden_size:
            glorot = nn.initializers.glorot_uniform()
            self.embeddings_project = Dense(
                block.hidden_size, block.dtype, glorot, block.operations, block.biases
            )
        self.layers = self.param("layers", self._init_layers)

    def layer(self, block: BlockConfig) -> Any:
        """Return a layer that is applied to its parameters."""
        return EncoderLayer(block, parent=None)

    def project(self, embedded: Array) -> Array:
        """Map ``[batch, length, embedding]`` to ``[batch, length, hidden]``."""
        wide = self.config.embedding_size == self.config.block.hidden_size
        return embedded if wide else self.embeddings_project(embedded)

    def layer_parameters(self) -> Iterator[Any]:
        """Yield the parameters of each layer."""
        yield from unstacked(self.layers, self.config.block.operations)

    def __call__(self, embedded: Array, inputs: EncoderInputs, rng: Array | None) -> Array:
        """Map ``[batch, length, embedding]`` to the last layer's ``[batch, length, hidden]``.

        No dropout where ``rng`` is None.
        """
        return self.run_layers(
            self.project(embedded), AttentionMask.within(inputs.segment_ids, self.direction), rng
        )

    def run_layers(self, x: Array, mask: AttentionMask, rng: Array | None, *more: Any) -> Array:
        """Apply all layers to ``[batch, length, hidden]``; ``more`` is handed to each."""
        # Parameters do not depend on the back end, and may be initialised on devices where it does not run.
        block = self.config.block
        layer = self.layer(replace(block, attention="xla") if self.is_initializing() else block)
        numbers = jnp.arange(self.config.num_layers)

        def step(x: Array, params_and_number: tuple[Any, Array]) -> tuple[Array, None]:
            params, number = params_and_number
            layer_rng = None if rng is None else jax.random.fold_in(rng, number)
            out: Any = layer.apply({"params": params}, x, mask, layer_rng, *more)
            return out, None

        step = rematerialised(step, self.config.remat)
        if self.config.scan_layers:
            return jax.lax.scan(step, x, (self.layers, numbers))[0]
        for number, params in zip(numbers, self.layer_parameters(), strict=True):
            x, _ = step(x, (params, number))
        return x

    def _init_layers(self, key: Array) -> Any:
        block = self.config.block
        local = block.starts_local and can_start_local(
            self.config.embedding_size, block.hidden_size, block.num_heads
        )
        layer = self.layer(replace(block, starts_local=local, attention="xla"))
        x, segments = jnp.zeros((1, 8, block.hidden_size), block.dtype), jnp.ones((1, 8), jnp.int32)
        mask = AttentionMask.within(segments, self.direction)
        keys = jax.random.split(key, self.config.num_layers)
        return jax.vmap(lambda k: layer.init(k, x, mask, None)["params"])(keys)


def unstacked(layers: Any, operations: Operations) -> Iterator[Any]:
    """Yield the parameters of each layer out of stacked ones."""
    leaves, structure = jax.tree.flatten(layers)
    for layer_leaves in zip(*map(operations.unstack, leaves), strict=True):
        yield jax.tree.unflatten(structure, layer_leaves)


def rematerialised(step: Any, remat: Remat) -> Any:
    """Return ``step`` so that the backward pass recomputes what ``remat`` says."""
    if remat == "none":
        return step
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if remat == "dots" else None
    return jax.checkpoint(step, policy=policy)
