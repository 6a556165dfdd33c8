"""The device mesh with axes data, fsdp and tensor."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from electra_jax.config.schema import Config, MeshConfig
from electra_jax.errors import UserError
from electra_jax.partitioning.axes import BATCH_AXES

AXES = ("data", "fsdp", "tensor")


def mesh_shape(config: MeshConfig, devices: int) -> tuple[int, int, int]:
    """Resolves mesh.data=-1 and checks the product.

    Raises:
        UserError: the axes do not multiply to the number of devices.
    """
    others = config.fsdp * config.tensor
    data = config.data if config.data != -1 else devices // others
    if data * others != devices:
        raise UserError(
            f"mesh.data={config.data} x mesh.fsdp={config.fsdp} x mesh.tensor={config.tensor} does not make "
            f"{devices}, the number of devices: their product must be {devices} (data=-1 takes what is left)"
        )
    return data, config.fsdp, config.tensor


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh over ``devices`` (all by default), ordered to suit the interconnect.

    Raises:
        UserError: the axes do not multiply to the number of devices, or there is no device.
    """
    devices = list(_all_devices() if devices is None else devices)
    shape = mesh_shape(config, len(devices))
    # Auto: shardings are ours at the edges and the compiler's between them, steered by `constrain`.
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)


def _all_devices() -> Sequence[jax.Device]:
    try:
        return jax.devices()
    except RuntimeError as error:
        # Such as a TPU that another process holds, or a typing error in JAX_PLATFORMS.
        raise UserError(f"jax has no device to work on: {error}") from error


def check_batch(config: Config, mesh: Mesh) -> None:
    """Refuses a batch that the mesh cannot split evenly.

    Raises:
        UserError: train.batch_size is not divisible.
    """
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    micro = config.train.batch_size // config.train.accumulation_steps
    if micro % parts:
        raise UserError(
            f"train.batch_size {config.train.batch_size} in train.accumulation_steps "
            f"{config.train.accumulation_steps} gives {micro} rows, not divisible by the {parts} devices of "
            f"mesh.data x mesh.fsdp: use a multiple of {parts * config.train.accumulation_steps}"
        )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows of a batch over data and fsdp."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same value on every device."""
    return NamedSharding(mesh, PartitionSpec())


def put_batch(mesh: Mesh, rows: Any) -> Any:
    """This host's rows, an array or a tree of arrays ``[rows, …]``, as its part of the global batch."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, array), rows)
