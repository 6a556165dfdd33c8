"""Pure functions and initialisers that every module is made of."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

Dtype = jnp.dtype
Initializer = Callable[..., Array]


def truncated_normal(stddev: float) -> Initializer:
    """Normal of the given deviation, cut at two of them, as the reference initialises (no rescaling)."""
    return nn.initializers.truncated_normal(stddev)


def dropout(x: Array, rate: float, rng: Array | None) -> Array:
    """Inverted dropout; ``rng`` None (or rate 0) means evaluation.

    One 32-bit word decides two elements by 16 bits each, which halves the random numbers; the rate is exact to
    1/131072.
    """
    if rng is None or rate == 0.0:
        return x
    threshold = jnp.uint32(round((1.0 - rate) * 65536))
    words = jax.random.bits(rng, (*x.shape[:-1], (x.shape[-1] + 1) // 2), jnp.uint32)
    bits = jnp.concatenate([words & 0xFFFF, words >> 16], axis=-1)[..., : x.shape[-1]]
    return jnp.where(bits < threshold, x / (1.0 - rate), jnp.zeros((), x.dtype))


def split_or_none(rng: Array | None, n: int) -> list[Array | None]:
    """``n`` independent keys, or ``n`` times None in evaluation."""
    return [None] * n if rng is None else list(jax.random.split(rng, n))


def gelu(x: Array) -> Array:
    """The exact GELU, x · Φ(x) by erf (not the tanh approximation), as BERT and ELECTRA use it."""
    return jax.nn.gelu(x, approximate=False)


class Dense(nn.Module):
    """x · kernel + bias over the last axis; float32 parameters, products in ``dtype``."""

    features: int
    dtype: Dtype
    kernel_init: Initializer

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """``[..., in]`` → ``[..., features]``."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return x.astype(self.dtype) @ kernel.astype(self.dtype) + bias.astype(self.dtype)


class LayerNorm(nn.Module):
    """LayerNorm over the last axis, computed in float32, returned in ``dtype``."""

    epsilon: float
    dtype: Dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """``[..., features]`` → the same shape."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        x = x.astype(jnp.float32)
        mean = x.mean(axis=-1, keepdims=True)
        variance = jnp.square(x - mean).mean(axis=-1, keepdims=True)
        return ((x - mean) * jax.lax.rsqrt(variance + self.epsilon) * scale + bias).astype(self.dtype)
