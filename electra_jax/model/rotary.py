"""Rotary positions: queries and keys are turned by angles that grow with their column (Su et al. 2021, RoFormer).

Scores then depend on how far apart a query and a key are and not on where they stand, so documents in one row need no
positions of their own.
"""

import jax.numpy as jnp
from flax import struct
from jax import Array


@struct.dataclass
class Rotation:
    """Cosines and sines of the angles, float32 ``[length, head_dim]``, or ``[batch, 1, length, head_dim]``.

    Sines of the first half have the other sign.
    """

    cosine: Array
    sine: Array


def rotation_of_columns(length: int, head_dim: int, theta: float) -> Rotation:
    """Return the angles of columns 0, 1, …: column · theta^(-2i / head_dim) for the i-th pair of features."""
    return _rotation(jnp.arange(length, dtype=jnp.float32), head_dim, theta)


def rotation_of_positions(positions: Array, head_dim: int, theta: float) -> Rotation:
    """Return the angles of positions, int ``[batch, length]``, as `rotation_of_columns` does of columns."""
    return _rotation(positions.astype(jnp.float32)[:, None], head_dim, theta)


def _rotation(positions: Array, head_dim: int, theta: float) -> Rotation:
    frequencies = 1.0 / theta ** (jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    angles = positions[..., None] * frequencies
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    return Rotation(jnp.concatenate([cosine, cosine], axis=-1), jnp.concatenate([-sine, sine], axis=-1))


def rotate(x: Array, rotation: Rotation) -> Array:
    """Turn ``[batch, heads, length, head_dim]``, in float32; feature i and feature head_dim / 2 + i are a pair.

    The pairs are GPT-NeoX's, as in Hugging Face's ``rotate_half``.
    """
    wide = x.astype(jnp.float32)
    first, second = jnp.split(wide, 2, axis=-1)
    swapped = jnp.concatenate(
        [second, first], axis=-1
    )  # and no more: a CPU's step is 5 % slower with the sums in it
    return (wide * rotation.cosine + swapped * rotation.sine).astype(x.dtype)
