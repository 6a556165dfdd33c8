"""The device mesh with axes data, fsdp and tensor; slices of a larger machine split the axis data."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental.mesh_utils import create_device_mesh
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from electra_jax.config.machines import MeshConfig
from electra_jax.config.networks import ModelConfig
from electra_jax.config.training import TrainConfig
from electra_jax.errors import UserError
from electra_jax.partitioning.axes import BATCH_AXES, nearest_divisors
from electra_jax.partitioning.host_rows import host_share

AXES = ("data", "fsdp", "tensor")


def mesh_shape(config: MeshConfig, devices: int) -> tuple[int, int, int]:
    """Return the sizes of data, fsdp and tensor: mesh.data=-1 resolved, and their product checked.

    Raises:
        UserError: the axes do not multiply to the number of devices.
    """
    others = config.fsdp * config.tensor
    data = config.data if config.data != -1 else devices // others
    if data * others != devices:
        advice = (
            f"choose a product of fsdp and tensor that divides {devices}: nearest to {others} "
            f"{nearest_divisors(others, devices)}"
            if config.data == -1
            else f"their product must be {devices} (data=-1 takes what is left)"
        )
        raise UserError(
            f"mesh.data={config.data} x mesh.fsdp={config.fsdp} x mesh.tensor={config.tensor} does not make "
            f"{devices}, the number of devices: {advice}"
        )
    return data, config.fsdp, config.tensor


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return the mesh over ``devices`` (all by default), ordered to suit the interconnect.

    Within a slice devices are joined by a fast network (ICI, NVLink), between slices by a slow one (DCN). The axis
    data goes over the slices, outermost; fsdp and tensor stay within each. With mesh.dcn_data=1 any axis may go over
    slices.

    Raises:
        UserError: the axes do not multiply to the number of devices, or do not fit the slices, or there is no device.
    """
    devices = list(_all_devices() if devices is None else devices)
    shape = mesh_shape(config, len(devices))
    slices = _slices(config, shape, devices)
    if len(slices) > 1 and config.dcn_data == 1:
        grids = [_one_slice((len(devices), 1, 1), devices) for devices in slices]
    else:
        grids = [_one_slice((shape[0] // len(slices), *shape[1:]), devices) for devices in slices]
    grid = np.concatenate(grids).reshape(shape)
    return Mesh(grid, AXES, axis_types=_AUTO)


# Auto: shardings are ours at the edges and the compiler's between them, steered by `constrain`.
_AUTO = (AxisType.Auto,) * len(AXES)


def _one_slice(shape: tuple[int, ...], devices: Sequence[jax.Device]) -> np.ndarray:
    """Return the devices in an order that keeps to the axes of a TPU's torus, and splits one only if it must."""
    return create_device_mesh(shape, devices, allow_split_physical_axes=True)


def _slices(
    config: MeshConfig, shape: tuple[int, int, int], devices: Sequence[jax.Device]
) -> list[list[jax.Device]]:
    """Return the devices of each slice, in the order of the slices.

    Devices that say nothing of slices, such as CPUs, are cut by id, which is the order of the processes.

    Raises:
        UserError: mesh.dcn_data is not the number of slices, or does not divide the axis data; slices of unequal size.
    """
    said: dict[int, list[jax.Device]] = {}
    for device in devices:
        said.setdefault(getattr(device, "slice_index", 0), []).append(device)
    # By id: versions of jax differ in whether `create_device_mesh` sorts them.
    groups = [sorted(said[index], key=lambda device: device.id) for index in sorted(said)]
    count = len(groups) if config.dcn_data == -1 else config.dcn_data
    if len(groups) > 1 and count not in (1, len(groups)):
        raise UserError(
            f"mesh.dcn_data={count}, but the devices are {len(groups)} slices: say {len(groups)}, or -1 for as many as "
            "there are, or 1 to take no account of them"
        )
    sizes = [len(group) for group in groups]
    if count > 1 and len(set(sizes)) > 1:
        raise UserError(
            f"the devices are {count} slices of {', '.join(map(str, sizes))}, which are not equally large: set "
            "mesh.dcn_data=1 to take no account of slices, or start on as many devices of each"
        )
    if len(devices) % count:
        raise UserError(
            f"mesh.dcn_data={count} does not divide {len(devices)}, the number of devices: nearest "
            f"{nearest_divisors(count, len(devices))}"
        )
    if shape[0] % count:
        within = len(devices) // count
        raise UserError(
            f"mesh.fsdp={config.fsdp} x mesh.tensor={config.tensor} does not fit into the {within} devices of each of "
            f"{count} slices, so the axis data ({shape[0]}) cannot be split over them: choose a product that divides "
            f"{within}, or mesh.dcn_data=1 to let every axis go over the slower network between slices"
        )
    if len(groups) > 1:
        return groups
    each = len(devices) // count
    return [groups[0][start : start + each] for start in range(0, len(devices), each)]


def _all_devices() -> Sequence[jax.Device]:
    try:
        return jax.devices()
    except RuntimeError as error:
        # Such as a TPU that another process holds, or a typing error in JAX_PLATFORMS.
        raise UserError(f"jax has no device to work on: {error}") from error


def check_batch(train: TrainConfig, model: ModelConfig, mesh: Mesh) -> None:
    """Refuse a batch, or attention heads, that the mesh cannot split evenly; needs nothing but the configuration.

    The widths of the networks are checked with their parameters (`axes.parameter_specs`).

    Raises:
        UserError: train.batch_size or model.num_heads is not divisible.
    """
    tensor, heads = mesh.shape["tensor"], model.num_heads
    if heads % tensor:
        raise UserError(
            f"mesh.tensor={tensor} does not divide model.num_heads {heads}: nearest "
            f"{nearest_divisors(tensor, heads)}"
        )
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    micro = train.batch_size // train.accumulation_steps
    if micro % parts:
        raise UserError(
            f"train.batch_size {train.batch_size} in train.accumulation_steps "
            f"{train.accumulation_steps} gives {micro} rows, not divisible by the {parts} devices of "
            f"mesh.data x mesh.fsdp: use a multiple of {parts * train.accumulation_steps}"
        )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of a batch: its rows over data and fsdp."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of a value that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def to_global_batch(mesh: Mesh, rows: Any) -> Any:
    """Put this host's rows, an array or a tree of arrays ``[rows, …]``, as its part of the global batch.

    They are those of `host_share`, in order.
    """
    sharding, share = batch_sharding(mesh), host_share(mesh)

    def put(array: Any) -> jax.Array:
        # Said, since jax cannot tell it where hosts hold different numbers of parts, or some of the same.
        count = array.shape[0] // len(share.parts) * share.of
        return jax.make_array_from_process_local_data(sharding, array, (count, *array.shape[1:]))

    return jax.tree.map(put, rows)
