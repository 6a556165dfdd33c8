"""Whole training steps on long rows: what they need of memory, as the compiler counts it, and that they run."""

import jax
import numpy as np
from small_run import SmallVocabulary, small_config
from tiny import padded_rows, quickly

from electra_jax.config.schema import MeshConfig
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.program import build_program


def _program(length, rows=2, layers=2, **compute):
    config = small_config(
        data={"sequence_length": length},
        model={"max_positions": length, "num_layers": layers},
        compute={"scan_layers": True, **compute},
        train={"batch_size": rows},
    )
    return build_program(config, SmallVocabulary(), make_mesh(MeshConfig(), jax.devices()[:1]))


def _temporaries(length, rows=2, **settings):
    program = _program(length, rows, **settings)
    with program.on_mesh():
        step = quickly(program.train_step, program.abstract, np.zeros((rows, length), np.int32))
    return step.memory_analysis().temp_size_in_bytes


def test_memory_of_a_step_grows_linearly_with_the_length_where_attention_is_in_blocks():
    blocked = [_temporaries(length, attention="blocked") for length in (4096, 8192)]
    assert blocked[1] < 2.05 * blocked[0]
    plain = [_temporaries(length, attention="xla") for length in (2048, 4096)]
    assert plain[1] > 3.5 * plain[0]  # the measure tells the two apart
    assert blocked[0] < plain[1] / 10


def test_a_step_on_rows_of_4096_tokens_learns_from_them():
    program, rows = _program(4096), padded_rows(2, 4096)
    with program.on_mesh():
        state, batch = program.init(), program.put_batch(rows)
        before = jax.tree.map(np.array, state.params)
        step = quickly(program.train_step, state, batch)
        for _ in range(2):  # the first has a learning rate of 0
            state, report = step(state, batch)
    assert np.isfinite(float(report["loss"]))
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(state.params), strict=True):
        assert np.isfinite(new).all()
        assert (old != np.asarray(new)).any()


def test_what_is_recomputed_is_not_kept():
    none, dots, full = (_temporaries(512, layers=8, remat=remat) for remat in ("none", "dots", "full"))
    assert dots < 0.8 * none
    assert full < 0.8 * dots
