"""Pure functions and initialisers that every module is made of."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from electra_jax.model.counter_bits import counter_bits
from electra_jax.model.products import dense_product

Dtype = DTypeLike
Initializer = Callable[..., Array]


def truncated_normal(stddev: float) -> Initializer:
    """Normal of the given deviation, cut at two of them, as the reference initialises (no rescaling)."""
    return nn.initializers.truncated_normal(stddev)


def dropout(x: Array, rate: float, rng: Array | None) -> Array:
    """Inverted dropout; ``rng`` None (or rate 0) means evaluation. The rate is exact to 2⁻³³."""
    if rng is None or rate == 0.0:
        return x
    kept = counter_bits(rng, x.shape) < jnp.uint32(min(round((1.0 - rate) * 2**32), 2**32 - 1))
    return jnp.where(kept, x / (1.0 - rate), jnp.zeros((), x.dtype))


def split_or_none(rng: Array | None, n: int) -> list[Array | None]:
    """``n`` independent keys, or ``n`` times None in evaluation."""
    return [None] * n if rng is None else list(jax.random.split(rng, n))


@jax.custom_vjp
def gelu(x: Array) -> Array:
    """The exact GELU, x · Φ(x) by erf (not the tanh approximation), as BERT and ELECTRA use it; in float32.

    The backward pass computes Φ and its density anew out of ``x``, which alone is kept.
    """
    wide = x.astype(jnp.float32)
    return (wide * _normal_cdf(wide)).astype(x.dtype)


def _gelu_forward(x: Array) -> tuple[Array, Array]:
    return gelu(x), x


def _gelu_backward(x: Array, gradient: Array) -> tuple[Array]:
    wide = x.astype(jnp.float32)
    density = jnp.exp(-0.5 * jnp.square(wide)) / math.sqrt(2.0 * math.pi)
    return ((gradient.astype(jnp.float32) * (_normal_cdf(wide) + wide * density)).astype(x.dtype),)


gelu.defvjp(_gelu_forward, _gelu_backward)


def _normal_cdf(x: Array) -> Array:
    return 0.5 * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


@jax.custom_vjp
def softmax(x: Array) -> Array:
    """Softmax over the last axis; the backward pass needs its result y alone: y · (dy - Σ y · dy).

    Derived by JAX, it divides by the sum of exponentials, and by its square, once more.
    """
    return jax.nn.softmax(x)


def _softmax_forward(x: Array) -> tuple[Array, Array]:
    y = softmax(x)
    return y, y


def _softmax_backward(y: Array, gradient: Array) -> tuple[Array]:
    return (y * (gradient - (y * gradient).sum(axis=-1, keepdims=True)),)


softmax.defvjp(_softmax_forward, _softmax_backward)


@jax.custom_vjp
def add_bias(x: Array, bias: Array) -> Array:
    """``[..., features]`` + ``[features]``, in the type of ``x``.

    The bias's gradient, a sum over all tokens, is asked for in float32; a compiler may sum bfloat16 as it likes.
    """
    return x + bias.astype(x.dtype)


def _bias_forward(x: Array, bias: Array) -> tuple[Array, None]:
    return add_bias(x, bias), None


def _bias_backward(_: None, gradient: Array) -> tuple[Array, Array]:
    return gradient, gradient.sum(tuple(range(gradient.ndim - 1)), dtype=jnp.float32)


add_bias.defvjp(_bias_forward, _bias_backward)


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
        return add_bias(dense_product(x.astype(self.dtype), kernel.astype(self.dtype)), bias)


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
