"""The post-LN transformer encoder.

Parameters of all layers are stacked on a leading axis whether the layers are scanned or unrolled, so a
checkpoint does not depend on how it was computed.
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.attention import SelfAttention
from electra_jax.model.attention_choice import Backend
from electra_jax.model.attention_xla import Direction
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import Dense, Dtype, LayerNorm, dropout, gelu, split_or_none, truncated_normal
from electra_jax.model.local_init import fits
from electra_jax.model.sizes import EncoderSizes
from electra_jax.partitioning.constraints import constrain

Remat = Literal["none", "dots", "full"]


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each with residual and LayerNorm after it (BERT's order)."""

    sizes: EncoderSizes
    hidden_dropout: float
    attention_dropout: float
    initializer_range: float
    local_attention: bool
    layer_norm_epsilon: float
    dtype: Dtype
    backend: Backend
    direction: Direction

    @nn.compact
    def __call__(self, x: Array, segment_ids: Array, rng: Array | None) -> Array:
        """``[batch, length, hidden]`` → the same shape."""
        init = truncated_normal(self.initializer_range)
        attention_rng, first_rng, second_rng = split_or_none(rng, 3)

        def normalise(name: str, y: Array) -> Array:
            return constrain(
                LayerNorm(self.layer_norm_epsilon, self.dtype, name=name)(y), "batch", "length", "activation"
            )

        attended = SelfAttention(
            self.sizes.num_heads,
            self.attention_dropout,
            self.initializer_range,
            self.local_attention,
            self.dtype,
            self.backend,
            self.direction,
            name="attention",
        )(x, segment_ids, attention_rng)
        x = normalise("attention_layer_norm", x + dropout(attended, self.hidden_dropout, first_rng))
        y = gelu(Dense(self.sizes.intermediate_size, self.dtype, init, name="intermediate")(x))
        y = Dense(self.sizes.hidden_size, self.dtype, init, name="output")(y)
        return normalise("output_layer_norm", x + dropout(y, self.hidden_dropout, second_rng))


class Encoder(nn.Module):
    """Embedded tokens → hidden states; projects first where the embedding size is another."""

    sizes: EncoderSizes
    hidden_dropout: float
    attention_dropout: float
    initializer_range: float
    local_attention: bool
    layer_norm_epsilon: float
    dtype: Dtype
    scan_layers: bool
    remat: Remat
    backend: Backend
    direction: Direction = "both"

    @nn.compact
    def __call__(self, embedded: Array, inputs: EncoderInputs, rng: Array | None) -> Array:
        """``[batch, length, embedding]`` → ``[batch, length, hidden]`` of the last layer."""
        x = embedded
        if x.shape[-1] != self.sizes.hidden_size:
            glorot = nn.initializers.glorot_uniform()
            x = Dense(self.sizes.hidden_size, self.dtype, glorot, name="embeddings_project")(x)
        layer = EncoderLayer(
            self.sizes,
            self.hidden_dropout,
            self.attention_dropout,
            self.initializer_range,
            self.local_attention and fits(embedded.shape[-1], self.sizes.hidden_size, self.sizes.num_heads),
            self.layer_norm_epsilon,
            self.dtype,
            # Parameters do not depend on the back end, and may be made where it does not run.
            "xla" if self.is_initializing() else self.backend,
            self.direction,
            parent=None,
        )

        def init_stack(key: Array) -> Any:
            keys = jax.random.split(key, self.sizes.num_layers)
            return jax.vmap(lambda k: layer.init(k, x[:1], inputs.segment_ids[:1], None)["params"])(keys)

        stack = self.param("layers", init_stack)
        numbers = jnp.arange(self.sizes.num_layers)

        def step(x: Array, params_and_number: tuple[Any, Array]) -> tuple[Array, None]:
            params, number = params_and_number
            layer_rng = None if rng is None else jax.random.fold_in(rng, number)
            out: Any = layer.apply({"params": params}, x, inputs.segment_ids, layer_rng)
            return out, None

        step = _rematerialised(step, self.remat)
        if self.scan_layers:
            return jax.lax.scan(step, x, (stack, numbers))[0]
        leaves, structure = jax.tree.flatten(stack)
        layers = zip(*map(unstack, leaves), strict=True)
        for number, layer_leaves in zip(numbers, layers, strict=True):
            x, _ = step(x, (jax.tree.unflatten(structure, layer_leaves), number))
        return x


@jax.custom_vjp
def unstack(x: Array) -> list[Array]:
    """The parts of ``x`` along its first axis.

    Their gradients are put together at once, not each added to an array of zeros.
    """
    return list(x)


def _unstack_forward(x: Array) -> tuple[list[Array], None]:
    return unstack(x), None


def _unstack_backward(_: None, gradients: list[Array]) -> tuple[Array]:
    return (jnp.stack(gradients),)


unstack.defvjp(_unstack_forward, _unstack_backward)


def _rematerialised(step: Any, remat: Remat) -> Any:
    if remat == "none":
        return step
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if remat == "dots" else None
    return jax.checkpoint(step, policy=policy)
