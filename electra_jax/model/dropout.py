"""Dropout, and the random bits of its masks: a hash of a key and of an element's position in the array.

Dropout masks are most of a training step's random numbers, and on a CPU the twenty rounds of threefry, JAX's default
generator, are most of what they cost. Here two rounds of a mixing permutation, each after a key is added in, are enough
for masks. It is no cryptographic generator. Token masking, sampling and initialisation stay with threefry.

The bits of an element depend on nothing but the key and the element's position, so masks are the same on every mesh,
and the compiler can recompute them in the backward pass instead of storing them.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax


def dropout(x: Array, rate: float, rng: Array | None) -> Array:
    """Apply inverted dropout.

    Args:
        x: Array of any shape with at least one axis.
        rate: Probability that an element becomes 0; exact to 2⁻³³. The others are divided by ``1 - rate``.
        rng: A key; None means evaluation, where ``x`` is returned as it is.

    Returns:
        An array of the shape and dtype of ``x``.
    """
    if rng is None or rate == 0.0:
        return x
    kept = dropout_bits(rng, x.shape) < jnp.uint32(min(round((1.0 - rate) * 2**32), 2**32 - 1))
    return jnp.where(kept, x / (1.0 - rate), jnp.zeros((), x.dtype))


def dropout_bits(rng: Array, shape: tuple[int, ...]) -> Array:
    """Return uniform random bits that depend on the key and each element's position alone.

    Every row along the first axis gets two keys of its own, so 32-bit counters are enough for any number of rows; one
    row may hold up to 2³² elements.

    Args:
        rng: A key.
        shape: Shape of the result, with at least one axis.

    Returns:
        uint32 array of ``shape``.
    """
    keys = jax.random.bits(rng, (2,), jnp.uint32)
    first = _mix(lax.iota(jnp.uint32, shape[0]) ^ keys[0])
    second = _mix(first ^ keys[1])
    per_row = (shape[0], *[1] * (len(shape) - 1))
    position = jnp.zeros(shape, jnp.uint32)
    stride = 1
    for axis in range(len(shape) - 1, 0, -1):
        position += lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride % 2**32)
        stride *= shape[axis]
    return _mix(_mix(position ^ first.reshape(per_row)) ^ second.reshape(per_row))


def _mix(x: Array) -> Array:
    """Permute 32-bit words so that every output bit depends on every input bit: Chris Wellons' lowbias32."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
