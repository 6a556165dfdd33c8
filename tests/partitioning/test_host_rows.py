"""Which rows of a batch each host reads."""

from types import SimpleNamespace

import numpy as np
import pytest

from electra_jax.config.machines import MeshConfig
from electra_jax.data.host_share import HostShare
from electra_jax.partitioning import host_rows
from electra_jax.partitioning.host_rows import host_share
from electra_jax.partitioning.mesh import make_mesh


def _mesh(owners):
    """A stand-in whose devices, ``[data, fsdp, tensor]``, belong to these processes."""
    owners = np.asarray(owners)
    devices = np.empty(owners.shape, object)
    for place in np.ndindex(owners.shape):
        devices[place] = SimpleNamespace(process_index=int(owners[place]))
    return SimpleNamespace(devices=devices, shape=dict(zip(("data", "fsdp", "tensor"), owners.shape)))


def _shares(monkeypatch, mesh, hosts):
    shares = []
    for number in range(hosts):
        monkeypatch.setattr(host_rows.jax, "process_index", lambda number=number: number)
        shares.append(host_share(mesh))
    return shares


@pytest.mark.parametrize(
    ("owners", "parts"),
    [
        ([[[0]], [[0]], [[1]], [[1]]], [(0, 1), (2, 3)]),
        ([[[1]], [[1]], [[0]], [[0]]], [(2, 3), (0, 1)]),
        ([[[0]], [[1]], [[1]], [[0]]], [(0, 3), (1, 2)]),
        ([[[0, 1]], [[0, 1]]], [(0, 1), (0, 1)]),
        ([[[0, 1]], [[2, 3]]], [(0,), (0,), (1,), (1,)]),
        ([[[0], [1]], [[2], [3]]], [(0,), (1,), (2,), (3,)]),
        ([[[0, 1]], [[0, 0]], [[1, 1]]], [(0, 1), (0, 2)]),
    ],
    ids=[
        "in order",
        "ordered by the network",
        "a ring that returns",
        "tensor over both",
        "tensor over two of four",
        "data and fsdp",
        "one part in common",
    ],
)
def test_rows_of_a_host_are_those_its_devices_hold(monkeypatch, owners, parts):
    places = len(owners) * len(owners[0])
    found = _shares(monkeypatch, _mesh(owners), len(parts))
    assert found == [HostShare(of_host, places) for of_host in parts]


class TorusChip:
    """A chip of a TPU v5e slice of 4 x 4, whose hosts have 2 x 2 each."""

    platform, device_kind, client, core_on_chip, slice_index = "tpu", "TPU v5 lite", None, 0, 0

    def __init__(self, x, y):
        self.id, self.process_index, self.coords = 4 * y + x, 2 * (y // 2) + x // 2, [x, y, 0]


@pytest.mark.parametrize("axes", [{}, {"fsdp": 4}, {"fsdp": 2, "tensor": 2}, {"tensor": 4}, {"fsdp": 16}])
def test_hosts_of_a_torus_read_every_row_and_no_other_than_their_devices_hold(monkeypatch, axes):
    mesh = make_mesh(MeshConfig(**axes), [TorusChip(x, y) for y in range(4) for x in range(4)])
    owners = [{d.process_index for d in place} for place in mesh.devices.reshape(-1, mesh.shape["tensor"])]
    batch = np.arange(32)
    readers = [set() for _ in batch]
    for number, share in enumerate(_shares(monkeypatch, mesh, 4)):
        for row in share.take(batch):
            readers[row].add(number)
    assert readers == [owners[row * len(owners) // 32] for row in range(32)]
    if not axes:  # the ring leaves host 0 and returns to it
        assert len(list(_shares(monkeypatch, mesh, 4)[0].pieces(32))) == 3
