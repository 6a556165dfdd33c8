"""The mesh: its shape, what it refuses, and how a batch lies on it."""

import jax
import numpy as np
import pytest
from jax.experimental.mesh_utils import create_hybrid_device_mesh
from jax.sharding import AxisType
from pydantic import ValidationError
from small_run import small_config

from electra_jax.config.machines import MeshConfig
from electra_jax.errors import UserError
from electra_jax.partitioning.axes import parameter_specs
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


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        ({"fsdp": 3}, "nearest to 3 are 2 and 4"),
        ({"fsdp": 2, "tensor": 3}, "nearest to 6 are 4 and 8"),
        ({"fsdp": 16}, "nearest to 16 is 8"),
        ({"data": 3}, r"must be 8 \(data=-1"),
    ],
)
def test_axes_that_would_make_the_devices_are_named(asked, advice):
    with pytest.raises(UserError, match=advice):
        make_mesh(MeshConfig(**asked))


@pytest.mark.parametrize(
    ("heads", "tensor", "advice"),
    [(4, 8, "nearest is 4"), (6, 4, "nearest are 3 and 6"), (1, 2, "nearest is 1")],
)
def test_heads_that_tensor_does_not_divide_are_refused(heads, tensor, advice):
    config = small_config(model={"num_heads": heads, "hidden_size": 96}, mesh={"tensor": tensor})
    with pytest.raises(
        UserError, match=rf"mesh\.tensor={tensor} does not divide model\.num_heads {heads}: {advice}$"
    ):
        check_batch(config.train, config.model, make_mesh(config.mesh))


@pytest.mark.parametrize(
    ("mesh", "name", "shape", "said"),
    [
        (
            {"fsdp": 8},
            "encoder/layers/attention/query/kernel",
            (2, 36, 36),
            r"mesh.fsdp=8 does not divide model.hidden_size 36 \(.*query/kernel\): nearest are 6 and 9",
        ),
        (
            {"tensor": 4},
            "generator_encoder/layers/intermediate/bias",
            (2, 30),
            "mesh.tensor=4 does not divide generator.intermediate_size 30 .*: nearest are 3 and 5",
        ),
        (
            {"tensor": 2, "fsdp": 4},
            "embeddings/word/embedding",
            (108, 16),
            "mesh.tensor=2 x mesh.fsdp=4 does not divide the 108 rows of the vocabulary .*: nearest are 6 and 9; "
            "or make model.vocab_multiple a multiple of 8",
        ),
        (
            {"tensor": 8},
            "discriminator_head/dense/bias",
            (36,),
            "mesh.tensor=8 does not divide model.hidden_size 36 .*: nearest are 6 and 9",
        ),
    ],
)
def test_widths_that_the_mesh_does_not_divide_are_named_as_keys(mesh, name, shape, said):
    tree = jax.ShapeDtypeStruct(shape, np.float32)
    for part in reversed(name.split("/")):
        tree = {part: tree}
    with pytest.raises(UserError, match=said):
        parameter_specs(tree, make_mesh(MeshConfig(**mesh)))


class Chip:
    """A GPU as the mesh sees it; chips of a slice come one after another, those of a host too."""

    platform, device_kind, client = "gpu", "fake", None

    def __init__(self, number, slices):
        self.id, self.process_index, self.slice_index = number, number // 2, number * slices // 16

    def __repr__(self):
        return f"chip {self.id}"


def grid(devices, **config):
    return np.vectorize(lambda device: device.id)(make_mesh(MeshConfig(**config), devices).devices)


@pytest.mark.parametrize("slices", [1, 2, 4])
@pytest.mark.parametrize("axes", [{}, {"fsdp": 2}, {"fsdp": 4}, {"fsdp": 2, "tensor": 2}])
def test_fsdp_and_tensor_stay_within_a_slice(slices, axes):
    chips = [Chip(number, slices) for number in range(16)]
    shuffled = [chips[i] for i in np.random.default_rng(0).permutation(16)]
    ids = grid(shuffled, **axes)
    assert sorted(ids.flat) == list(range(16))
    of_slice = ids * slices // 16
    for replica in of_slice:
        assert len(set(replica.flat)) == 1
    assert [replica.flat[0] for replica in of_slice] == sorted(replica.flat[0] for replica in of_slice)
    inner = ids.shape[0] // slices, *ids.shape[1:]
    expected = create_hybrid_device_mesh(inner, (slices, 1, 1), chips)
    np.testing.assert_array_equal(ids, np.vectorize(lambda device: device.id)(expected))


class TorusChip:
    """A chip of a TPU v4, slices of which are 2 x 2 x 4."""

    platform, device_kind, client, core_on_chip = "tpu", "TPU v4", None, 0

    def __init__(self, number):
        self.id, self.process_index, self.slice_index = number, number // 4, number // 16
        self.coords = [number % 2, number // 2 % 2, number % 16 // 4]


def test_axes_follow_the_torus_within_each_slice():
    chips = [TorusChip(number) for number in range(32)]
    ids = grid(chips, fsdp=4, tensor=2)
    expected = create_hybrid_device_mesh((2, 4, 2), (2, 1, 1), chips)
    np.testing.assert_array_equal(ids, np.vectorize(lambda device: device.id)(expected))
    assert not np.array_equal(ids.ravel(), range(32))  # the order of the numbers would not do


@pytest.mark.parametrize("slices", [1, 2])
def test_every_mesh_of_a_torus_is_one(slices):
    """Among them data 2 x fsdp 2 x tensor 4, for which the axes 2 x 2 x 4 must be split."""
    chips = [TorusChip(number) for number in range(16 * slices)]
    sizes = (1, 2, 4, 8, 16)
    for fsdp, tensor in ((f, t) for f in sizes for t in sizes if f * t <= 16):
        ids = grid(chips, fsdp=fsdp, tensor=tensor)
        assert ids.shape == (16 * slices // (fsdp * tensor), fsdp, tensor)
        assert sorted(ids.flat) == list(range(16 * slices))
        for replica in ids:
            assert len(set(replica.ravel() // 16)) == 1


def test_axes_may_go_over_slices_if_that_is_asked_for():
    chips = [Chip(number, slices=2) for number in range(16)]
    with pytest.raises(
        UserError,
        match=r"mesh\.fsdp=16 x mesh\.tensor=1 does not fit into the 8 devices of each of 2 slices.*dcn_data=1",
    ):
        make_mesh(MeshConfig(fsdp=16), chips)
    np.testing.assert_array_equal(grid(chips, fsdp=16, dcn_data=1).flat, range(16))


def test_slices_of_unequal_size_are_one_mesh_only_where_slices_do_not_count():
    chips = [Chip(number, slices=2) for number in range(12)]  # eight and four
    with pytest.raises(
        UserError, match=r"2 slices of 8, 4, which are not equally large: set mesh\.dcn_data=1"
    ):
        make_mesh(MeshConfig(), chips)
    np.testing.assert_array_equal(grid(chips, fsdp=3, dcn_data=1).flat, range(12))


def test_another_number_of_slices_than_there_are_is_refused():
    with pytest.raises(UserError, match=r"mesh\.dcn_data=4, but the devices are 2 slices: say 2"):
        make_mesh(MeshConfig(dcn_data=4), [Chip(number, slices=2) for number in range(16)])
    with pytest.raises(
        UserError, match=r"mesh\.dcn_data=3 does not divide 8, the number of devices: nearest are 2 and 4"
    ):
        make_mesh(MeshConfig(dcn_data=3))
    with pytest.raises(ValidationError, match="dcn_data must be -1"):
        MeshConfig(dcn_data=0)


def test_devices_that_know_no_slices_are_cut_in_their_order():
    ids = grid(jax.devices(), fsdp=2, dcn_data=2)
    np.testing.assert_array_equal(ids, np.arange(8).reshape(4, 2, 1))
    with pytest.raises(UserError, match=r"does not fit into the 4 devices of each of 2 slices"):
        make_mesh(MeshConfig(fsdp=8, dcn_data=2))


def test_axes_are_auto():
    mesh = make_mesh(MeshConfig(fsdp=2))
    assert mesh.axis_names == AXES
    assert set(mesh.axis_types) == {AxisType.Auto}
    assert make_mesh(MeshConfig(fsdp=2, dcn_data=2)).axis_types == mesh.axis_types


@pytest.mark.parametrize(
    ("mesh", "pieces", "accepted"),
    [
        ({}, 1, True),
        ({}, 2, False),
        ({"tensor": 2}, 2, True),
        ({"fsdp": 8}, 2, False),
        ({"tensor": 2, "fsdp": 2}, 2, True),
    ],
)
def test_batch_that_devices_and_microbatches_cannot_share_is_refused(mesh, pieces, accepted):
    config = small_config(mesh=mesh, train={"batch_size": 8, "accumulation_steps": pieces})
    if accepted:
        check_batch(config.train, config.model, make_mesh(config.mesh))
    else:
        with pytest.raises(UserError, match=f"use a multiple of {8 * pieces}"):
            check_batch(config.train, config.model, make_mesh(config.mesh))


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
