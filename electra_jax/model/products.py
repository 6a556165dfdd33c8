"""Matrix products with their gradients spelt out, in the orders that XLA's CPU compiler is fast at.

It makes no transposed copy of what is multiplied only where contracted axes lead on both sides; and what it makes
anew instead of keeping (a GELU, say) it makes element by element if the product wants it transposed. Both together
made the gradient of a kernel several times slower than the product itself.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.xla_metadata import set_xla_metadata


def settled(x: Array) -> Array:
    """``x``; on a CPU, with a barrier to rewriting. Fusion comes after it is gone: see `apart`."""
    return lax.platform_dependent(x, cpu=lax.optimization_barrier, default=lambda x: x)


def apart(function: Callable[..., Array], *arrays: Array) -> Array:
    """``function(*arrays)``; on a CPU, a computation of its own, so that its arguments are arrays in memory.

    Fusion does not cross a call. An optimization barrier does not keep it from making LayerNorm and dropout a second
    time, transposed and element by element, instead of copying what is there.
    """

    def call(*arrays: Array) -> Array:
        with set_xla_metadata(inlineable="false"):
            return jax.jit(function)(*arrays)

    return lax.platform_dependent(*arrays, cpu=call, default=function)


@jax.custom_vjp
def dense_product(x: Array, kernel: Array) -> Array:
    """``[..., in]`` · ``[in, out]`` → ``[..., out]``.

    The kernel's gradient is xᵀ · dy, or (dyᵀ · x)ᵀ where x is the wider: what is transposed is copied for it, and
    a copy of the wider one takes twice as long as the product. JAX always asks for (dyᵀ · x)ᵀ.
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
        by_kernel = apart(product, x, gradient)
    else:
        by_kernel = apart(product, gradient, x).T
    return by_x, by_kernel


dense_product.defvjp(_dense_forward, _dense_backward)


@jax.custom_vjp
def vocabulary_logits(x: Array, table: Array, bias: Array) -> Array:
    """``[..., features]`` · ``[rows, features]``ᵀ + ``[rows]`` → float32 ``[..., rows]``.

    The bias's gradient is a product with ones: a sum over so few rows of so many columns is slow on a CPU.
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
    ones = settled(jnp.ones((*x.shape[:-1], 1), gradient.dtype))
    by_bias = lax.dot_general(ones, gradient, contract)[0]
    return by_x, by_table, by_bias


vocabulary_logits.defvjp(_logits_forward, _logits_backward)


@jax.custom_vjp
def attention_scores(query: Array, key: Array) -> Array:
    """q · kᵀ of ``[batch, heads, length, head_dim]`` → float32 ``[batch, heads, query, key]``."""
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
    """``[batch, heads, query, key]`` · ``[batch, heads, key, head_dim]`` → ``[batch, heads, query, head_dim]``."""
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
    """squareᵀ · narrow of each head, as (narrowᵀ · square)ᵀ: what is copied transposed is the narrow one.

    ``[batch, heads, query, key]``, ``[batch, heads, query, head_dim]`` → ``[batch, heads, key, head_dim]``. At 512
    tokens it takes half the time on a CPU.
    """
    turned = settled(narrow.swapaxes(2, 3))
    return lax.dot_general(turned, square, _PER_HEAD, preferred_element_type=dtype).swapaxes(2, 3)
