"""Pinning activations to the mesh, so that the compiler does not choose a layout that runs out of memory."""

import math

import jax
from jax import Array

from electra_jax.partitioning.axes import RULES, partition_spec


def constrain(x: Array, *axes: str) -> Array:
    """Lay ``x`` over the current mesh by the logical axes of its dimensions.

    A no-op outside a mesh, and inside `jax.shard_map`, where ``x`` is one device's part.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.are_all_axes_manual:
        return x
    return jax.lax.with_sharding_constraint(x, partition_spec(axes))


def num_shards(axis: str) -> int:
    """Return into how many parts the current mesh cuts a dimension of this logical axis; 1 outside a mesh."""
    sizes = jax.sharding.get_abstract_mesh().shape
    return math.prod(sizes.get(mesh_axis, 1) for mesh_axis in RULES[axis])
