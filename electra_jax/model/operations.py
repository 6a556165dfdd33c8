"""The operations that blocks and heads are made of, as plain array code; CPUs have their own (`cpu_gradients`)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array


@dataclass(frozen=True)
class Operations:
    """Operations with their gradients; every set of them computes the same but for rounding.

    Attributes:
        gelu: ``[...]`` → the same shape and type.
        softmax: Over the last axis.
        matmul: ``[..., in]`` · ``[in, out]`` → ``[..., out]``.
        vocabulary_logits: ``[..., features]`` · ``[rows, features]``ᵀ + ``[rows]`` → float32 ``[..., rows]``.
        attention_scores: q · kᵀ of ``[batch, heads, length, head_dim]`` → float32 ``[batch, heads, queries, keys]``.
        weighted_values: ``[batch, heads, queries, keys]`` · ``[batch, heads, keys, head_dim]``.
        unstack: The parts along the first axis.
    """

    gelu: Callable[[Array], Array]
    softmax: Callable[[Array], Array]
    matmul: Callable[[Array, Array], Array]
    vocabulary_logits: Callable[[Array, Array, Array], Array]
    attention_scores: Callable[[Array, Array], Array]
    weighted_values: Callable[[Array, Array], Array]
    unstack: Callable[[Array], Sequence[Array]]


@partial(jax.checkpoint, prevent_cse=False)  # ``x`` alone is kept for the backward pass
def gelu(x: Array) -> Array:
    """Compute the exact GELU, x · Φ(x) by erf (not the tanh approximation), as BERT and ELECTRA use it; in float32."""
    wide = x.astype(jnp.float32)
    return (wide * normal_cdf(wide)).astype(x.dtype)


def normal_cdf(x: Array) -> Array:
    """Return Φ(x), the cumulative distribution function of the standard normal distribution."""
    return 0.5 * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


def vocabulary_logits(x: Array, table: Array, bias: Array) -> Array:
    """Multiply ``[..., features]`` · ``[rows, features]``ᵀ + ``[rows]`` → float32 ``[..., rows]``."""
    return jnp.einsum("...e,ve->...v", x, table, preferred_element_type=jnp.float32) + bias


def attention_scores(query: Array, key: Array) -> Array:
    """Multiply q · kᵀ of ``[batch, heads, length, head_dim]`` → float32 ``[batch, heads, queries, keys]``."""
    return jnp.einsum("bhqd,bhkd->bhqk", query, key, preferred_element_type=jnp.float32)


def weighted_values(weights: Array, value: Array) -> Array:
    """Multiply ``[batch, heads, queries, keys]`` · ``[batch, heads, keys, head_dim]``."""
    return jnp.einsum("bhqk,bhkd->bhqd", weights, value)


PLAIN_OPERATIONS = Operations(
    gelu=gelu,
    softmax=jax.nn.softmax,
    matmul=jnp.matmul,
    vocabulary_logits=vocabulary_logits,
    attention_scores=attention_scores,
    weighted_values=weighted_values,
    unstack=list,
)
