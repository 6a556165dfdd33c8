"""How the parameters lie on a mesh: one row each, and the few lines that say it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from electra_jax.partitioning.axes import BATCH_AXES, parameter_specs, path_name


@dataclass(frozen=True)
class Placement:
    """One parameter: its shape, on which mesh axes each dimension lies, and what one device holds of it."""

    name: str
    shape: tuple[int, ...]
    spec: PartitionSpec
    bytes_per_device: int

    @property
    def axes(self) -> tuple[str, ...]:
        """The mesh axes that cut it, in the order of its dimensions."""
        return tuple(
            axis for entry in self.spec for axis in ((entry,) if isinstance(entry, str) else entry or ())
        )


def parameter_layout(params: Any, mesh: Mesh) -> list[Placement]:
    """Return a row for every parameter, in the order of the tree.

    Args:
        params: pytree of arrays or abstract shapes.
        mesh: the devices, abstract or not.

    Raises:
        UserError: a dimension that the mesh axes do not divide.
    """
    specs = jax.tree.leaves(parameter_specs(params, mesh), is_leaf=lambda x: isinstance(x, PartitionSpec))
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [
        Placement(path_name(path), tuple(leaf.shape), spec, _bytes(leaf, spec, mesh.shape))
        for (path, leaf), spec in zip(leaves, specs, strict=True)
    ]


def _bytes(leaf: Any, spec: PartitionSpec, sizes: Mapping[str, int]) -> int:
    parts = math.prod(
        sizes[axis] for entry in spec for axis in ((entry,) if isinstance(entry, str) else entry or ())
    )
    return math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize // parts


def tree_bytes_per_device(tree: Any) -> int:
    """Return the bytes that one device holds of a tree of arrays, abstract or not, that have a `NamedSharding`."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        sharding = leaf.sharding
        assert isinstance(sharding, NamedSharding)
        total += math.prod(sharding.shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize
    return total


def describe_layout(state: Any, mesh: Mesh) -> list[str]:
    """Return a few lines for a person: the mesh, which parameters lie on which axes, and what a device holds.

    Args:
        state: a `TrainState` of arrays or abstract arrays with shardings.
        mesh: its devices.
    """
    held = {"parameters": state.params, "optimizer": state.opt_state}
    sizes = {what: tree_bytes_per_device(tree) for what, tree in held.items()}
    total = ", ".join(f"{what} {size / 1e6:,.1f} MB" for what, size in sizes.items())
    if mesh.size == 1:
        return [f"one device, nothing is sharded: {total}"]
    axes = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    lines = [
        f"mesh {axes} = {mesh.size} devices; a device holds {total}; rows lie over {' x '.join(BATCH_AXES)}"
    ]
    groups: dict[tuple[str, ...], list[Placement]] = {}
    for placement in parameter_layout(state.params, mesh):
        cut = tuple(axis for axis, size in mesh.shape.items() if size > 1 and axis in placement.axes)
        groups.setdefault(cut, []).append(placement)
    for cut, placements in sorted(
        groups.items(), key=lambda group: -sum(p.bytes_per_device for p in group[1])
    ):
        where = f"on {' and '.join(cut)}" if cut else "whole on every device"
        kinds = list(dict.fromkeys(_role(placement.name) for placement in placements))
        size = sum(placement.bytes_per_device for placement in placements) / 1e6
        lines.append(f"  {where}, {size:,.1f} MB a device: {', '.join(kinds)}")
    return lines


def _role(name: str) -> str:
    """Return a parameter's name without its network and layer, so that those with the same role have one name."""
    parts = name.split("/")
    if parts[-1] in ("scale", "bias") and "output_bias" not in parts:
        return "LayerNorm" if any(part.endswith("layer_norm") for part in parts) else "biases"
    if "layers" in parts:
        within = parts[parts.index("layers") + 1 : -1]
        if within[0] == "attention" and within[1] != "output":
            return "query/key/value"
        return "attention output" if within[0] == "attention" else f"feed-forward {within[0]}"
    if parts[0].endswith("embeddings"):
        return f"{parts[1]} table".replace("_", " ")
    return "/".join(part for part in parts if part != "kernel")
