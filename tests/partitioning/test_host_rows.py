"""Which rows of a batch each host reads."""

from types import SimpleNamespace

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.partitioning import host_rows
from electra_jax.partitioning.host_rows import host_shard


def _mesh(owners):
    """A stand-in whose devices, ``[data, fsdp, tensor]``, belong to these processes."""
    owners = np.asarray(owners)
    devices = np.empty(owners.shape, object)
    for place in np.ndindex(owners.shape):
        devices[place] = SimpleNamespace(process_index=int(owners[place]))
    return SimpleNamespace(devices=devices, shape=dict(zip(("data", "fsdp", "tensor"), owners.shape)))


@pytest.mark.parametrize(
    ("owners", "shares"),
    [
        ([[[0]], [[0]], [[1]], [[1]]], [(0, 2), (1, 2)]),
        ([[[1]], [[1]], [[0]], [[0]]], [(1, 2), (0, 2)]),
        ([[[0, 1]], [[0, 1]]], [(0, 1), (0, 1)]),
        ([[[0, 1]], [[2, 3]]], [(0, 2), (0, 2), (1, 2), (1, 2)]),
        ([[[0], [1]], [[2], [3]]], [(0, 4), (1, 4), (2, 4), (3, 4)]),
    ],
    ids=[
        "in order",
        "ordered by the network",
        "tensor over both",
        "tensor over two of four",
        "data and fsdp",
    ],
)
def test_rows_of_a_host_are_those_its_devices_hold(monkeypatch, owners, shares):
    for number, share in enumerate(shares):
        monkeypatch.setattr(host_rows.jax, "process_index", lambda number=number: number)
        assert host_shard(_mesh(owners)) == share


def test_rows_in_several_pieces_are_refused(monkeypatch):
    monkeypatch.setattr(host_rows.jax, "process_index", lambda: 0)
    with pytest.raises(UserError, match="rows that are not one piece of a batch"):
        host_shard(_mesh([[[0]], [[1]], [[0]], [[1]]]))
