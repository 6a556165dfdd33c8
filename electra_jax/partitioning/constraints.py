"""Pinning activations to the mesh, so that the compiler does not choose a layout that runs out of memory."""

import jax
from jax import Array

from electra_jax.partitioning.axes import partition_spec


def constrain(x: Array, *axes: str) -> Array:
    """Lays ``x`` over the current mesh by the logical axes of its dimensions; a no-op outside a mesh."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, partition_spec(axes))
