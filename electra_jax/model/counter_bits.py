"""Random words for dropout: a hash of a key and of where an element stands.

Masks are most of a step's random numbers, and threefry's twenty rounds are most of what they cost on a CPU. Masking,
sampling and initialisation stay with threefry. Here two rounds of a mixing permutation, each after a key is added in,
are enough for masks; it is no generator for anything that an adversary may look at.

A word depends on nothing but the key and the element's place, so masks are the same on every mesh, and the compiler
can make them anew in the backward pass instead of keeping them.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax


def counter_bits(rng: Array, shape: tuple[int, ...]) -> Array:
    """Uniform uint32 words of ``shape``, a function of ``rng`` and the place alone.

    Every row along the first axis gets two keys of its own, so that counters of 32 bits suffice for arrays of any
    number of rows; a row may hold 2³² elements.

    Args:
        rng: a key.
        shape: at least one axis.
    """
    keys = jax.random.bits(rng, (2,), jnp.uint32)
    first = _mixed(lax.iota(jnp.uint32, shape[0]) ^ keys[0])
    second = _mixed(first ^ keys[1])
    per_row = (shape[0], *[1] * (len(shape) - 1))
    place = jnp.zeros(shape, jnp.uint32)
    stride = 1
    for axis in range(len(shape) - 1, 0, -1):
        place += lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride % 2**32)
        stride *= shape[axis]
    return _mixed(_mixed(place ^ first.reshape(per_row)) ^ second.reshape(per_row))


def _mixed(x: Array) -> Array:
    """A permutation of the 32-bit words in which every bit depends on all: Wellons' lowbias32."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
