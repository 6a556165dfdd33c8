"""Gradients written out in the orders that XLA's CPU compiler is fast at; used on CPUs alone.

The compiler makes no transposed copy of what is multiplied only where contracted axes come first on both sides. And
what it recomputes instead of storing (a GELU, say) it recomputes element by element if the product wants it transposed.
Both together made the gradient of a kernel several times slower than the product itself. Figures are processor time,
before -> after, of ELECTRA-small's step or a part of it (docs/performance.md, "What makes the step fast on a CPU").
Values and gradients are those of `operations.PLAIN_OPERATIONS`.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.xla_metadata import set_xla_metadata

from electra_jax.model.operations import Operations, normal_cdf


@jax.custom_vjp
def gelu(x: Array) -> Array:
    """Compute the exact GELU, x · Φ(x) by erf (not the tanh approximation), as BERT and ELECTRA use it; in float32.

    The backward pass recomputes Φ and its density from ``x``, which alone is stored: 3.9 -> 2.2 ms.
    """
    wide = x.astype(jnp.float32)
    return (wide * normal_cdf(wide)).astype(x.dtype)


def _gelu_forward(x: Array) -> tuple[Array, Array]:
    return gelu(x), x


def _gelu_backward(x: Array, gradient: Array) -> tuple[Array]:
    wide = x.astype(jnp.float32)
    density = jnp.exp(-0.5 * jnp.square(wide)) / math.sqrt(2.0 * math.pi)
    return ((gradient.astype(jnp.float32) * (normal_cdf(wide) + wide * density)).astype(x.dtype),)


gelu.defvjp(_gelu_forward, _gelu_backward)


@jax.custom_vjp
def softmax(x: Array) -> Array:
    """Compute softmax over the last axis; the backward pass needs its result y alone: y · (dy - Σ y · dy).

    JAX's own derivative divides by the sum of exponentials, and by its square, once more: 1.49 -> 1.47 times what the
    step's products take.
    """
    return jax.nn.softmax(x)


def _softmax_forward(x: Array) -> tuple[Array, Array]:
    y = softmax(x)
    return y, y


def _softmax_backward(y: Array, gradient: Array) -> tuple[Array]:
    return (y * (gradient - (y * gradient).sum(axis=-1, keepdims=True)),)


softmax.defvjp(_softmax_forward, _softmax_backward)


@jax.custom_vjp
def unstack(x: Array) -> list[Array]:
    """Split ``x`` into its parts along the first axis.

    Their gradients are stacked at once, not each added to an array of zeros: 1.47 -> 1.44 times what the step's
    products take.
    """
    return list(x)


def _unstack_forward(x: Array) -> tuple[list[Array], None]:
    return unstack(x), None


def _unstack_backward(_: None, gradients: list[Array]) -> tuple[Array]:
    return (jnp.stack(gradients),)


unstack.defvjp(_unstack_forward, _unstack_backward)


def _barrier(x: Array) -> Array:
    """Return ``x`` behind an optimization barrier, which is gone before fusion; see `call_without_inlining`."""
    return lax.optimization_barrier(x)


def call_without_inlining(function: Callable[..., Array], *arrays: Array) -> Array:
    """Compute ``function(*arrays)`` as a call that XLA does not inline, so that its arguments are arrays in memory.

    Fusion does not cross a call. An optimization barrier does not keep it from computing LayerNorm and dropout a second
    time, transposed and element by element, instead of copying what is there. Step 16 x 128, with softmax's gradient
    and `unstack`: 2,864 -> 2,733 ms.
    """
    with set_xla_metadata(inlineable="false"):
        return jax.jit(function)(*arrays)


@jax.custom_vjp
def matmul(x: Array, kernel: Array) -> Array:
    """Multiply ``[..., in]`` · ``[in, out]`` → ``[..., out]``.

    The kernel's gradient is xᵀ · dy, or (dyᵀ · x)ᵀ where x is the wider: the transposed side is copied for it, and a
    copy of the wider one takes twice as long as the product. JAX always asks for (dyᵀ · x)ᵀ: 12.4 -> 5.2 ms for 256 ->
    1,024.
    """
    return x @ kernel


def _dense_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return x @ kernel, (x, kernel)


def _dense_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = saved
    rows = tuple(range(x.ndim - 1))
    by_x = lax.dot_general(gradient, kernel, (((x.ndim - 1,), (1,)), ((), ())))

    def product(left: Array, right: Array) -> Array:
        return lax.dot_general(left, right, ((rows, rows), ((), ())))

    if x.shape[-1] <= gradient.shape[-1]:
        by_kernel = call_without_inlining(product, x, gradient)
    else:
        by_kernel = call_without_inlining(product, gradient, x).T
    return by_x, by_kernel


matmul.defvjp(_dense_forward, _dense_backward)


@jax.custom_vjp
def vocabulary_logits(x: Array, table: Array, bias: Array) -> Array:
    """Multiply ``[..., features]`` · ``[rows, features]``ᵀ + ``[rows]`` → float32 ``[..., rows]``.

    The bias's gradient is a product with ones: a sum over so few rows of so many columns is slow, 128 -> 103 ms.
    """
    return jnp.einsum("...e,ve->...v", x, table, preferred_element_type=jnp.float32) + bias


def _logits_forward(x: Array, table: Array, bias: Array) -> tuple[Array, tuple[Array, Array]]:
    return vocabulary_logits(x, table, bias), (x, table)


def _logits_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array, Array]:
    x, table = saved
    rows = tuple(range(x.ndim - 1))
    contract = ((rows, rows), ((), ()))
    by_x = jnp.einsum("...v,ve->...e", gradient, table, preferred_element_type=x.dtype)
    by_table = lax.dot_general(gradient, x, contract, preferred_element_type=table.dtype)
    ones = _barrier(jnp.ones((*x.shape[:-1], 1), gradient.dtype))
    by_bias = lax.dot_general(ones, gradient, contract)[0]
    return by_x, by_table, by_bias


vocabulary_logits.defvjp(_logits_forward, _logits_backward)


@jax.custom_vjp
def attention_scores(query: Array, key: Array) -> Array:
    """Multiply q · kᵀ of ``[batch, heads, length, head_dim]`` → float32 ``[batch, heads, query, key]``."""
    return jnp.einsum("bhqd,bhkd->bhqk", query, key, preferred_element_type=jnp.float32)


def _scores_forward(query: Array, key: Array) -> tuple[Array, tuple[Array, Array]]:
    return attention_scores(query, key), (query, key)


def _scores_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    query, key = saved
    by_query = lax.dot_general(gradient, key, _PER_HEAD, preferred_element_type=query.dtype)
    return by_query, _transposed_product(gradient, query, key.dtype)


attention_scores.defvjp(_scores_forward, _scores_backward)


@jax.custom_vjp
def weighted_values(weights: Array, value: Array) -> Array:
    """Multiply weights ``[batch, heads, query, key]`` by values ``[batch, heads, key, head_dim]``."""
    return jnp.einsum("bhqk,bhkd->bhqd", weights, value)


def _values_forward(weights: Array, value: Array) -> tuple[Array, tuple[Array, Array]]:
    return weighted_values(weights, value), (weights, value)


def _values_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    weights, value = saved
    by_weights = jnp.einsum("bhqd,bhkd->bhqk", gradient, value)
    return by_weights, _transposed_product(weights, gradient, value.dtype)


weighted_values.defvjp(_values_forward, _values_backward)

# What is contracted, and the axes of batch and heads: a · b of each head.
_PER_HEAD = (((3,), (2,)), ((0, 1), (0, 1)))


def _transposed_product(square: Array, narrow: Array, dtype: jnp.dtype) -> Array:
    """Compute squareᵀ · narrow of each head as (narrowᵀ · square)ᵀ, so that the narrow one is copied transposed.

    ``[batch, heads, query, key]``, ``[batch, heads, query, head_dim]`` → ``[batch, heads, key, head_dim]``. At 512
    tokens 8.6 -> 4.1 ms a layer.
    """
    turned = _barrier(narrow.swapaxes(2, 3))
    return lax.dot_general(turned, square, _PER_HEAD, preferred_element_type=dtype).swapaxes(2, 3)


CPU_OPERATIONS = Operations(
    gelu=gelu,
    softmax=softmax,
    matmul=matmul,
    vocabulary_logits=vocabulary_logits,
    attention_scores=attention_scores,
    weighted_values=weighted_values,
    unstack=unstack,
)
