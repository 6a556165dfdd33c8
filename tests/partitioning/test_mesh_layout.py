"""The mesh: its shape, what it refuses, and how a batch lies on it."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from small_run import small_config

from electra_jax.config.schema import MeshConfig
from electra_jax.errors import UserError
from electra_jax.partitioning.constraints import constrain
from electra_jax.partitioning.mesh import AXES, batch_sharding, check_batch, make_mesh, mesh_shape, replicated


@pytest.mark.parametrize(
    ("asked", "devices", "shape"),
    [
        ({}, 8, (8, 1, 1)),
        ({}, 1, (1, 1, 1)),
        ({"fsdp": 4}, 8, (2, 4, 1)),
        ({"data": 1, "fsdp": 2, "tensor": 4}, 8, (1, 2, 4)),
    ],
)
def test_shape_of_the_mesh(asked, devices, shape):
    assert mesh_shape(MeshConfig(**asked), devices) == shape


@pytest.mark.parametrize("asked", [{"data": 3}, {"fsdp": 3}, {"data": 8, "tensor": 2}, {"fsdp": 16}])
def test_axes_that_do_not_make_the_devices_are_refused(asked):
    with pytest.raises(UserError, match=r"does not make 8, the number of devices"):
        make_mesh(MeshConfig(**asked))


def test_axes_are_auto():
    mesh = make_mesh(MeshConfig(fsdp=2))
    assert mesh.axis_names == AXES
    assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize(
    ("mesh", "pieces", "accepted"),
    [
        ({}, 1, True),
        ({}, 2, False),
        ({"tensor": 8}, 8, True),
        ({"fsdp": 8}, 2, False),
        ({"tensor": 4}, 4, True),
    ],
)
def test_batch_that_devices_and_microbatches_cannot_share_is_refused(mesh, pieces, accepted):
    config = small_config(mesh=mesh, train={"batch_size": 8, "accumulation_steps": pieces})
    if accepted:
        check_batch(config, make_mesh(config.mesh))
    else:
        with pytest.raises(UserError, match=f"use a multiple of {8 * pieces}"):
            check_batch(config, make_mesh(config.mesh))


def test_rows_lie_over_data_and_fsdp():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    rows = np.arange(16).reshape(8, 2)
    array = jax.device_put(rows, batch_sharding(mesh))
    assert {shard.data.shape for shard in array.addressable_shards} == {(2, 2)}
    first_rows = sorted(int(shard.data[0, 0]) for shard in array.addressable_shards)
    assert first_rows == [0, 0, 4, 4, 8, 8, 12, 12]  # each twice: tensor replicates rows
    whole = jax.device_put(rows, replicated(mesh))
    assert {shard.data.shape for shard in whole.addressable_shards} == {(8, 2)}


def test_constrain_lays_an_activation_over_the_mesh_and_does_nothing_outside_one():
    x = np.zeros((8, 4, 16), np.float32)
    assert constrain(x, "batch", "length", "activation") is x
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    with jax.set_mesh(mesh):
        pinned = jax.jit(lambda x: constrain(x, "batch", "length", "vocab_logits"))(x)
        with pytest.raises(KeyError, match="'lenght'"):
            jax.jit(lambda x: constrain(x, "batch", "lenght", "activation"))(x)
    assert {shard.data.shape for shard in pinned.addressable_shards} == {(2, 4, 8)}
