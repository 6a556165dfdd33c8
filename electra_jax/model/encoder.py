"""The post-LN transformer encoder.

Parameters of all layers are stacked on a leading axis whether the layers are scanned or unrolled, so a checkpoint does
not depend on how it was computed.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.attention.mask import AttentionMask, Direction
from electra_jax.model.attention.self_attention import SelfAttention
from electra_jax.model.block import BlockConfig, EncoderConfig, Remat
from electra_jax.model.dropout import dropout
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import Dense, LayerNorm, split_or_none, truncated_normal
from electra_jax.model.local_init import can_start_local
from electra_jax.partitioning.constraints import constrain


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each with residual and LayerNorm after it (BERT's order)."""

    block: BlockConfig

    @nn.compact
    def __call__(self, x: Array, mask: AttentionMask, rng: Array | None) -> Array:
        """Map ``[batch, length, hidden]`` to the same shape; ``rng`` None means no dropout."""
        block = self.block
        init = truncated_normal(block.initializer_range)
        dense = partial(Dense, dtype=block.dtype, kernel_init=init, operations=block.operations)
        attention_rng, first_rng, second_rng = split_or_none(rng, 3)

        def normalise(name: str, y: Array) -> Array:
            return constrain(
                LayerNorm(block.layer_norm_epsilon, block.dtype, name=name)(y),
                "batch",
                "length",
                "activation",
            )

        attended = SelfAttention(block, name="attention")(x, mask, attention_rng)
        x = normalise("attention_layer_norm", x + dropout(attended, block.hidden_dropout, first_rng))
        y = dense(block.intermediate_size, name="intermediate")(x)
        y = block.operations.gelu(y)
        y = dense(block.hidden_size, name="output")(y)
        return normalise("output_layer_norm", x + dropout(y, block.hidden_dropout, second_rng))


class Encoder(nn.Module):
    """Embedded tokens → hidden states; a projection comes first where the embedding size is another."""

    config: EncoderConfig
    direction: Direction = "both"

    @nn.compact
    def __call__(self, embedded: Array, inputs: EncoderInputs, rng: Array | None) -> Array:
        """Map ``[batch, length, embedding]`` to the last layer's ``[batch, length, hidden]``.

        No dropout where ``rng`` is None.
        """
        block, x = self.config.block, embedded
        if x.shape[-1] != block.hidden_size:
            glorot = nn.initializers.glorot_uniform()
            x = Dense(block.hidden_size, block.dtype, glorot, block.operations, name="embeddings_project")(x)
        local = block.local_attention and can_start_local(
            embedded.shape[-1], block.hidden_size, block.num_heads
        )
        # Parameters do not depend on the back end, and may be initialised on devices where it does not run.
        attention = "xla" if self.is_initializing() else block.attention
        layer = EncoderLayer(replace(block, local_attention=local, attention=attention), parent=None)
        mask = AttentionMask.within(inputs.segment_ids, self.direction)

        def init_stack(key: Array) -> Any:
            keys = jax.random.split(key, self.config.num_layers)
            one_row = AttentionMask.within(inputs.segment_ids[:1], self.direction)
            return jax.vmap(lambda k: layer.init(k, x[:1], one_row, None)["params"])(keys)

        stack = self.param("layers", init_stack)
        numbers = jnp.arange(self.config.num_layers)

        def step(x: Array, params_and_number: tuple[Any, Array]) -> tuple[Array, None]:
            params, number = params_and_number
            layer_rng = None if rng is None else jax.random.fold_in(rng, number)
            out: Any = layer.apply({"params": params}, x, mask, layer_rng)
            return out, None

        step = _rematerialised(step, self.config.remat)
        if self.config.scan_layers:
            return jax.lax.scan(step, x, (stack, numbers))[0]
        leaves, structure = jax.tree.flatten(stack)
        layers = zip(*map(block.operations.unstack, leaves), strict=True)
        for number, layer_leaves in zip(numbers, layers, strict=True):
            x, _ = step(x, (jax.tree.unflatten(structure, layer_leaves), number))
        return x


def _rematerialised(step: Any, remat: Remat) -> Any:
    if remat == "none":
        return step
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if remat == "dots" else None
    return jax.checkpoint(step, policy=policy)
