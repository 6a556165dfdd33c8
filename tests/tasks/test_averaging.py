"""The mean of the last evaluations' parameters: what is kept, removed, averaged and left."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from electra_jax.config.machines import MeshConfig
from electra_jax.errors import UserError
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.tasks.averaging import average_of_recent, keep_recent
from electra_jax.training.checkpoints import RunIdentity, find_checkpoint, read_params, saved_steps
from electra_jax.training.seed_selection import run_directory

IDENTITY = RunIdentity("tokenizer", None, {})


@pytest.fixture(scope="module")
def layout():
    mesh = make_mesh(MeshConfig(fsdp=2))
    return {
        "encoder": {"kernel": NamedSharding(mesh, PartitionSpec("fsdp"))},
        "heads": {"bias": NamedSharding(mesh, PartitionSpec())},
    }


def _params(step, layout):
    rng = np.random.default_rng(step)
    numbers = {
        "encoder": {"kernel": rng.standard_normal((8, 6), np.float32)},
        "heads": {"bias": rng.standard_normal(5, np.float32)},
    }
    return jax.tree.map(jax.device_put, numbers, layout)


def _abstract(layout):
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), _params(0, layout)
    )


def _average(run, step, count, layout):
    return average_of_recent(run, step, count, IDENTITY, _abstract(layout))


def test_the_mean_of_the_newest_is_numpys_and_the_rest_is_removed(tmp_path, layout, capsys):
    stored = {}
    for step in (4, 8, 12, 16):
        keep_recent(tmp_path, step, _params(step, layout), IDENTITY, count=3)
        stored[step] = read_params(tmp_path / "recent" / "checkpoints", step)
        assert len(saved_steps(tmp_path / "recent" / "checkpoints")) <= 3
    for step in (8, 12):  # as a run that was killed, and goes on from before, has them again
        keep_recent(tmp_path, step, jax.tree.map(jnp.zeros_like, _params(step, layout)), IDENTITY, count=3)
    assert saved_steps(tmp_path / "recent" / "checkpoints") == [8, 12, 16]

    found = _average(tmp_path, 16, 3, layout)
    expected = jax.tree.map(
        lambda *leaves: np.mean(np.stack(leaves), axis=0), *(stored[s] for s in (8, 12, 16))
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}
    assert jax.tree.map(lambda leaf: leaf.sharding, found) == layout
    assert "mean of the parameters at 3 evaluations is kept (steps 8, 12, 16)" in capsys.readouterr().err
    assert not (tmp_path / "recent").exists()

    assert find_checkpoint(tmp_path) == (16, tmp_path / "average" / "checkpoints")
    assert run_directory(tmp_path / "average" / "checkpoints") == tmp_path
    written = read_params(tmp_path / "average" / "checkpoints", 16)
    jax.tree.map(np.testing.assert_array_equal, written, expected)
    jax.tree.map(
        np.testing.assert_array_equal, _average(tmp_path, 16, 3, layout), expected
    )  # it is read, not made
    assert capsys.readouterr().err == ""


def test_of_fewer_all_are_averaged_and_a_line_says_so(tmp_path, layout, capsys):
    keep_recent(tmp_path, 7, _params(7, layout), IDENTITY, count=5)
    jax.tree.map(np.testing.assert_array_equal, _average(tmp_path, 7, 5, layout), _params(7, layout))
    said = capsys.readouterr().err
    assert (
        "finetune.average_last is 5, but there was one evaluation, so its parameters are kept (step 7)"
        in said
    )


def test_parameters_that_are_gone_are_a_sentence(tmp_path, layout):
    with pytest.raises(
        UserError, match=r"recent/checkpoints/7 is gone, .* restore it from a copy, or delete"
    ):
        _average(tmp_path, 7, 5, layout)
