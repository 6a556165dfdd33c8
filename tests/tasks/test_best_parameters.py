"""The parameters of the best evaluation: one checkpoint, that of metric.json, whatever happened to the process."""

import json

import jax
import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.tasks.best_parameters import best_parameters, keep_best
from electra_jax.training.checkpoints import RunIdentity, find_checkpoint, saved_steps, write_params

IDENTITY = RunIdentity("tokenizer", None, {})


def _params(step):
    return {"encoder": {"kernel": jax.numpy.full((4, 2), float(step))}}


def _evaluated(run, *evaluations):
    for step, value in evaluations:
        keep_best(run, step, value, _params(step), IDENTITY)


def _kept(run):
    """The step of metric.json, which is the only one that is there, found and read."""
    step = json.loads((run / "best" / "metric.json").read_text())["step"]
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), _params(0)
    )
    np.testing.assert_array_equal(best_parameters(run, abstract)["encoder"]["kernel"], np.full((4, 2), step))
    assert saved_steps(run / "best" / "checkpoints") == [step]
    assert find_checkpoint(run)[0] == step
    assert sorted(path.name for path in (run / "best").iterdir()) == ["checkpoints", "metric.json"]
    return step


def test_one_checkpoint_is_there_that_of_the_first_best_evaluation(tmp_path):
    _evaluated(tmp_path, (4, float("nan")), (8, 1.0))
    assert _kept(tmp_path) == 8
    _evaluated(tmp_path, (12, 3.0), (16, 2.0), (20, 3.0))
    assert _kept(tmp_path) == 12


@pytest.mark.parametrize("again", [((150, 80.2), (200, 80.0)), ((150, 80.4), (200, 80.2))])
def test_a_run_that_goes_on_from_before_its_best_leaves_it(tmp_path, again):
    """On other devices the same evaluations come out a little different."""
    _evaluated(tmp_path, (100, 80.0), (150, 79.8), (200, 80.2))
    _evaluated(tmp_path, *again)
    assert _kept(tmp_path) == 200
    _evaluated(tmp_path, (250, 81.0))
    assert _kept(tmp_path) == 250


def test_what_a_killed_process_left_unrecorded_counts_for_nothing(tmp_path):
    write_params(tmp_path / "best" / "checkpoints", 4, _params(4), IDENTITY)
    _evaluated(tmp_path, (4, 1.0))
    write_params(tmp_path / "best" / "checkpoints", 8, _params(0), IDENTITY)
    assert _kept(tmp_path) == 4
    write_params(tmp_path / "best" / "checkpoints", 8, _params(0), IDENTITY)
    _evaluated(tmp_path, (8, 2.0))
    assert _kept(tmp_path) == 8


def test_a_record_that_is_gone_is_not_guessed(tmp_path):
    _evaluated(tmp_path, (4, 1.0))
    (tmp_path / "best" / "metric.json").unlink()
    with pytest.raises(
        UserError, match=r"metric\.json is gone, so which parameters were the best is not known"
    ):
        best_parameters(tmp_path, _params(0))
    assert saved_steps(tmp_path / "best" / "checkpoints") == [4]
