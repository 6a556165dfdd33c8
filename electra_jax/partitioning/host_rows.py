"""Which rows of a batch a host reads."""

import jax
from jax.sharding import Mesh

from electra_jax.errors import UserError
from electra_jax.partitioning.axes import BATCH_AXES


def host_shard(mesh: Mesh) -> tuple[int, int]:
    """Return which part of a batch's rows this host reads, and of how many parts.

    Hosts that a tensor axis connects hold the same rows, and read the same.

    Raises:
        UserError: the rows this host's devices hold are not one part of equal parts.
    """
    owners = mesh.devices.reshape(mesh.shape["data"] * mesh.shape["fsdp"], -1)
    mine = [
        place
        for place, devices in enumerate(owners)
        if any(d.process_index == jax.process_index() for d in devices)
    ]
    size = len(mine)
    if not mine or len(owners) % size or mine[0] % size or mine[-1] - mine[0] != size - 1:
        raise UserError(
            f"mesh.{' x mesh.'.join(BATCH_AXES)} gives host {jax.process_index()} rows that are not one piece of a "
            "batch: choose mesh axes that multiply to, or divide, the number of devices of a host"
        )
    return mine[0] // size, len(owners) // size
