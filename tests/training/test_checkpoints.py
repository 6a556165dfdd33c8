"""Checkpoints: what is kept, what comes back, on which mesh, and what happens to damaged ones."""

import errno
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from small_run import small_config

from electra_jax.config.machines import MeshConfig
from electra_jax.errors import UserError
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.checkpoints import (
    CheckpointWriter,
    RunIdentity,
    read_identity,
    restore_newest,
    restore_params,
    restore_state,
    saved_steps,
)
from electra_jax.training.state import TrainState

IDENTITY = RunIdentity("tokenizer", "data", {"seed": 3})
WHOLE, ROWS, COLUMNS = PartitionSpec(), PartitionSpec(("data", "fsdp")), PartitionSpec(None, "tensor")


def _layout(mesh):
    return jax.tree.map(
        lambda spec: NamedSharding(make_mesh(MeshConfig(**mesh)), spec),
        TrainState(WHOLE, {"a": ROWS, "b": COLUMNS, "c": WHOLE}, (ROWS,), {"loss": WHOLE}),
    )


def _state(mesh, value=0.0, width=1 << 13):
    values = TrainState(
        step=np.int32(value),
        params={name: np.full((64, width), value + i, np.float32) for i, name in enumerate("abc")},
        opt_state=(np.full((64, width), -value, np.float32),),
        metric_sums={"loss": np.array([value, 1], np.float32)},
    )
    return jax.tree.map(jax.device_put, values, _layout(mesh))


def _abstract(state):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "run" / "checkpoints"


def _writer(directory, **train):
    return CheckpointWriter(directory, small_config(train=train).train, IDENTITY)


def _save(directory, steps, mesh=None, width=8, **train):
    writer = _writer(directory, **train)
    for step in steps:
        writer.save(step, _state(mesh or {}, step, width))
    writer.close()


def _assert_is(state, step, width=8):
    expected = _state({}, step, width)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), jax.device_get(expected))


def _damage(checkpoint):
    """Cuts every file with array data in a checkpoint to its half."""
    files = [path for path in checkpoint.rglob("d/*") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("mesh", [{}, {"data": 2, "fsdp": 2, "tensor": 2}], ids=["8x1x1", "2x2x2"])
def test_what_is_saved_is_the_state_of_its_step_though_training_goes_on(mesh, directory):
    one_more = jax.jit(
        lambda s: jax.tree.map(lambda x: x + jnp.ones((), x.dtype), s),
        donate_argnums=0,
        out_shardings=_layout(mesh),
    )
    state = one_more(_state(mesh))
    abstract = _abstract(state)
    writer = _writer(directory, keep_checkpoints=10)
    for step in range(1, 13):
        if step % 3 == 0:
            writer.save(step, state)
        state = one_more(state)  # overwrites the buffers while they are being written
    writer.close()
    assert saved_steps(directory) == [3, 6, 9, 12]
    for step in saved_steps(directory):
        restored = restore_state(directory, step, abstract)
        assert int(restored.step) == step
        for i, name in enumerate("abc"):
            np.testing.assert_array_equal(restored.params[name], step + i)
        np.testing.assert_array_equal(restored.opt_state[0], step)
        np.testing.assert_array_equal(restored.metric_sums["loss"], [step, step + 1])


def test_newest_and_every_so_many_are_kept(directory):
    _save(directory, range(1, 10), keep_checkpoints=2, keep_every=4)
    assert saved_steps(directory) == [4, 8, 9]


def test_without_keep_every_the_newest_alone_are_kept(directory):
    _save(directory, range(1, 6), keep_checkpoints=1)
    assert saved_steps(directory) == [5]


def test_saving_a_step_again_changes_nothing(directory):
    _save(directory, [5])
    writer = _writer(directory)
    writer.save(5, _state({}, 6, 8))
    writer.close()
    _assert_is(restore_state(directory, 5, _abstract(_state({}, width=8))), 5)


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"data": 1, "fsdp": 8}), ({"data": 2, "fsdp": 2, "tensor": 2}, {}), ({"fsdp": 8}, {"tensor": 4})],
    ids=str,
)
def test_restored_onto_another_mesh(before, after, directory):
    _save(directory, [5], before)
    abstract = _abstract(_state(after, width=8))
    step, state, notes = restore_newest(directory, abstract)
    assert (step, notes) == (5, [])
    _assert_is(state, 5)
    jax.tree.map(lambda x, s: _assert_lies(x, s.sharding), state, abstract)
    params = restore_params(directory, 5, abstract.params)
    jax.tree.map(lambda x, s: _assert_lies(x, s.sharding), params, abstract.params)


def _assert_lies(array, sharding):
    assert array.sharding.is_equivalent_to(sharding, array.ndim)


def test_identity_comes_back(directory):
    _save(directory, [5])
    assert read_identity(directory, 5) == IDENTITY


def test_nothing_saved_is_nothing_restored(directory):
    assert saved_steps(directory) == []
    assert restore_newest(directory, _abstract(_state({}, width=8))) is None
    _writer(directory).close()
    assert restore_newest(directory, _abstract(_state({}, width=8))) is None


def _remove(name):
    def damage(checkpoint):
        (checkpoint / name).unlink()

    return damage


@pytest.mark.parametrize(
    "damage",
    [_damage, _remove("run/metadata"), _remove("params/manifest.ocdbt"), _remove("progress/_METADATA")],
    ids=["cut short", "no identity", "no manifest", "no metadata"],
)
def test_damaged_newest_checkpoint_is_set_aside_for_the_one_before(damage, directory):
    _save(directory, [5, 10], keep_checkpoints=3)
    damage(directory / "10")
    step, state, notes = restore_newest(directory, _abstract(_state({}, width=8)))
    assert step == 5
    _assert_is(state, 5)
    assert len(notes) == 1
    assert str(directory / "10") in notes[0]
    assert notes[0].endswith("falling back to the one before")
    assert saved_steps(directory) == [5]
    assert (directory.parent / "damaged_checkpoints" / "10").is_dir()

    # Its step can be written again, and is then the newest.
    _save(directory, [10], keep_checkpoints=3)
    step, state, notes = restore_newest(directory, _abstract(_state({}, width=8)))
    assert (step, notes) == (10, [])
    _assert_is(state, 10)


def test_all_damaged_is_an_error_and_nothing_is_moved(directory):
    _save(directory, [5, 10])
    for step in (5, 10):
        _damage(directory / str(step))
    with pytest.raises(UserError, match=r"none of the checkpoints in .* can be read") as error:
        restore_newest(directory, _abstract(_state({}, width=8)))
    assert str(directory / "10") in str(error.value)
    assert saved_steps(directory) == [5, 10]
    assert not (directory.parent / "damaged_checkpoints").exists()


@pytest.mark.parametrize("change", ["wider", "narrower", "other name", "other moments"])
def test_checkpoint_of_another_shape_is_an_error_that_names_it(change, directory):
    _save(directory, [5])
    abstract = _abstract(_state({}, width={"wider": 16, "narrower": 4}.get(change, 8)))
    if change == "other name":
        abstract = abstract.replace(params={"d": abstract.params["a"], **abstract.params})
    if change == "other moments":
        abstract = abstract.replace(opt_state=(abstract.opt_state[0], abstract.opt_state[0]))
    with pytest.raises(UserError) as error:
        restore_newest(directory, abstract)
    assert str(directory / "5") in str(error.value)
    assert saved_steps(directory) == [5]
    if change != "other moments":
        words = "lacks d" if change == "other name" else r"of other shapes: a 64 x 8, not 64 x (16|4), b "
        with pytest.raises(UserError, match=words):
            restore_params(directory, 5, abstract.params)


def test_half_written_checkpoint_is_not_one(directory):
    _save(directory, [5])
    # As a process that was killed leaves it.
    for step in (7, 10):  # one of them is of a step that is not saved again
        (directory / f"{step}.orbax-checkpoint-tmp" / "params").mkdir(parents=True)
    assert saved_steps(directory) == [5]
    assert restore_newest(directory, _abstract(_state({}, width=8)))[0] == 5
    _save(directory, [10])
    assert saved_steps(directory) == [5, 10]
    assert sorted(path.name for path in directory.iterdir()) == ["10", "5"]


FULL_DISK = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp
from electra_jax.config.training import TrainConfig
from electra_jax.training.checkpoints import CheckpointWriter, RunIdentity, saved_steps
from electra_jax.training.state import TrainState

noise = {"a": jax.random.normal(jax.random.key(0), (1 << 20,))}
state = TrainState(jnp.int32(1), noise, (), {"loss": jnp.ones(2)})
directory = Path(sys.argv[1])
writer = CheckpointWriter(directory, TrainConfig(keep_checkpoints=9), RunIdentity("t", "d", {}))
try:
    for step in range(1, 9):
        writer.save(step, state)
        writer.wait()
except OSError as error:
    print("errno", error.errno, "kept", saved_steps(directory), flush=True)
"""


def test_full_disk_is_an_error_of_the_disk_and_earlier_checkpoints_survive(tmp_path):
    mount = f"mount -t tmpfs -o size=10m tmpfs {tmp_path} && "
    allowed = subprocess.run(["unshare", "-rm", "sh", "-c", mount + "true"], capture_output=True, check=False)
    if allowed.returncode != 0:
        pytest.skip("this machine lets nobody mount a small file system")
    done = subprocess.run(
        [
            "unshare",
            "-rm",
            "sh",
            "-c",
            mount + f'exec {sys.executable} -c "$0" {tmp_path}/checkpoints',
            FULL_DISK,
        ],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert f"errno {errno.ENOSPC} kept [1, 2]" in done.stdout, done.stderr[-2000:]
