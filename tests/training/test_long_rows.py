"""Whole training steps on long rows: what they need of memory, as the compiler counts it, and that they run."""

import jax
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config
from tiny import compiled, padded_rows

from electra_jax.config.machines import MeshConfig
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.program import build_program


def _program(length, rows=1, layers=2, **compute):
    config = small_config(
        data={"sequence_length": length},
        model={"max_positions": length, "num_layers": layers},
        compute={"scan_layers": True, **compute},
        train={"batch_size": rows},
    )
    return build_program(config, SmallVocabulary(), make_mesh(MeshConfig(), jax.devices()[:1]))


def _step(length, rows=1, **settings):
    program = _program(length, rows, **settings)
    with program.on_mesh():
        return program, compiled(program.train_step, program.abstract, np.zeros((rows, length), np.int32))


def _temporaries(step):
    return step.memory_analysis().temp_size_in_bytes


def test_a_step_on_rows_of_4096_tokens_needs_memory_that_grows_linearly():
    _, step = _step(4096, attention="blocked")
    _, twice = _step(8192, attention="blocked")
    assert _temporaries(twice) < 2.05 * _temporaries(step)
    _, plain = _step(4096, attention="xla")
    assert _temporaries(step) < _temporaries(plain) / 10


@pytest.mark.slow
def test_a_step_on_rows_of_4096_tokens_learns():
    program, step = _step(4096, attention="blocked")
    with program.on_mesh():
        state, batch = program.init(), program.to_global_batch(padded_rows(1, 4096))
        before = jax.tree.map(np.array, state.params)
        for _ in range(2):  # the first has a learning rate of 0
            state, report = step(state, batch)
    assert np.isfinite(float(report["loss"]))
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(state.params), strict=True):
        assert np.isfinite(new).all()
        assert (old != np.asarray(new)).any()


def test_what_is_recomputed_is_not_kept():
    kept, recomputed = (_temporaries(_step(512, layers=8, remat=remat)[1]) for remat in ("none", "full"))
    assert recomputed < 0.6 * kept
