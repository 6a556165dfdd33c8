"""The state is updated in place, and the loop moves nothing between host and device that it does not mean to."""

import jax
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config
from tiny import compiled, padded_rows
from toy import ToyRun, toy_config

from electra_jax.config.machines import MeshConfig
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training import loop, program


def test_the_step_copies_no_state():
    made = program.build_program(
        small_config(), SmallVocabulary(), make_mesh(MeshConfig(), jax.devices()[:1])
    )
    with made.on_mesh():
        memory = compiled(made.train_step, made.abstract, padded_rows()).memory_analysis()
    state = sum(
        np.prod(leaf.shape, dtype=int) * leaf.dtype.itemsize for leaf in jax.tree.leaves(made.abstract)
    )
    assert memory.alias_size_in_bytes >= 0.99 * state


def _guarded(function):
    def call(*args):
        with jax.transfer_guard("disallow"):
            return function(*args)

    return call


def test_a_step_of_the_loop_transfers_nothing_unasked(monkeypatch, tmp_path):
    """Placing a batch, dispatching a step and reading a report; evaluating and saving may take their time."""
    with pytest.raises(Exception, match="Disallowed host-to-device"):
        _guarded(lambda: jax.numpy.add(np.ones(3), 1))()
    for module, name in ((loop, "read_report"), (program, "to_global_batch")):
        monkeypatch.setattr(module, name, _guarded(getattr(module, name)))
    _, _, stopped = ToyRun(monkeypatch, tmp_path, toy_config(), wrap=_guarded)()
    assert stopped is None
