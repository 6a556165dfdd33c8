"""Layers and initialisers that every module is made of."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from electra_jax.model.operations import PLAIN_OPERATIONS, Operations

Dtype = DTypeLike
Initializer = Callable[..., Array]


def truncated_normal(stddev: float, cut: float = 2.0) -> Initializer:
    """Return a normal initialiser cut at ``cut`` deviations (the reference: two), without rescaling."""
    return nn.initializers.truncated_normal(stddev, lower=-cut, upper=cut)


def split_or_none(rng: Array | None, n: int) -> list[Array | None]:
    """Split a key into ``n`` independent ones; None, which is evaluation, into ``n`` times None."""
    return [None] * n if rng is None else list(jax.random.split(rng, n))


class Dense(nn.Module):
    """x · kernel + bias over the last axis; float32 parameters, products in ``dtype``.

    The bias, if ``use_bias``, is added, and its gradient summed over all tokens, in float32.
    """

    features: int
    dtype: Dtype
    kernel_init: Initializer
    operations: Operations = PLAIN_OPERATIONS
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map ``[..., in]`` to ``[..., features]``."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        if not self.use_bias:
            return self.operations.matmul(x.astype(self.dtype), kernel.astype(self.dtype))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        product = self.operations.matmul(x.astype(self.dtype), kernel.astype(self.dtype))
        return (product + bias).astype(self.dtype)


class LayerNorm(nn.Module):
    """LayerNorm over the last axis, computed in float32, returned in ``dtype``."""

    epsilon: float
    dtype: Dtype
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map ``[..., features]`` to the same shape."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],)) if self.use_bias else 0.0
        x = x.astype(jnp.float32)
        mean = x.mean(axis=-1, keepdims=True)
        variance = jnp.square(x - mean).mean(axis=-1, keepdims=True)
        return ((x - mean) * jax.lax.rsqrt(variance + self.epsilon) * scale + bias).astype(self.dtype)
