"""Which rows of a batch a host reads."""

import jax
from jax.sharding import Mesh

from electra_jax.data.host_share import HostShare


def host_share(mesh: Mesh) -> HostShare:
    """Return the parts of a batch's rows that this host's devices hold, one part for each place on data and fsdp.

    Hosts that a tensor axis connects hold the same rows, and read the same.
    """
    places = mesh.devices.reshape(mesh.shape["data"] * mesh.shape["fsdp"], -1)
    mine = (
        place
        for place, devices in enumerate(places)
        if any(device.process_index == jax.process_index() for device in devices)
    )
    return HostShare(tuple(mine), len(places))
