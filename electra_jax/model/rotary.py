"""Rotary positions: queries and keys are turned by angles that grow with their column (Su et al. 2021, RoFormer).

Scores then depend on how far apart a query and a key are and not on where they stand, so documents in one row need no
positions of their own.
"""

import jax.numpy as jnp
from flax import struct
from jax import Array


@struct.dataclass
class Rotation:
    """Cosines and sines of the angles, float32 ``[length, head_dim / 2]``."""

    cosine: Array
    sine: Array


def rotation_of_columns(length: int, head_dim: int, theta: float) -> Rotation:
    """Return the angles of columns 0, 1, …: column · theta^(-2i / head_dim) for the i-th pair of features."""
    frequencies = 1.0 / theta ** (jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    angles = jnp.arange(length, dtype=jnp.float32)[:, None] * frequencies
    return Rotation(jnp.cos(angles), jnp.sin(angles))


def rotate(x: Array, rotation: Rotation) -> Array:
    """Turn ``[batch, heads, length, head_dim]``, in float32; feature i and feature head_dim / 2 + i are a pair.

    The pairs are GPT-NeoX's, as in Hugging Face's ``rotate_half``.
    """
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cosine, sine = rotation.cosine, rotation.sine
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return turned.astype(x.dtype)
