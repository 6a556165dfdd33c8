"""What the compiled step sends between eight devices, for each kind of mesh, and nothing else.

The steps are compiled in a process of their own, whose standard error the partitioner writes its warnings to.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.model.sizes import network_sizes
from electra_jax.objectives.masking import max_masked
from electra_jax.planning.collectives import find_collectives
from electra_jax.planning.hlo import executed, parse_hlo

MESHES = {"data": (8, 1, 1), "fsdp": (2, 4, 1), "tensor": (1, 1, 8)}
LAYERS, ROWS, LENGTH, HIDDEN, WORDS = 2, 16, 16, 32, 24
WARNING = "Involuntary full rematerialization"

COMPILE = """
import sys
from pathlib import Path
import numpy as np
from small_run import SmallVocabulary
from tiny import compiled
from test_compiled_collectives import LENGTH, ROWS, config_for
from electra_jax.partitioning import axes
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.program import build_program

if sys.argv[2] == "features":  # the layout that the table of axes warns of
    axes.RULES.update(vocab=(), embedding=("fsdp",), embed=())
for name in sys.argv[3:]:
    config = config_for(name)
    program = build_program(config, SmallVocabulary(), make_mesh(config.mesh))
    with program.on_mesh():
        step = compiled(program.train_step, program.abstract, np.zeros((ROWS, LENGTH), np.int32))
    Path(sys.argv[1], name).write_text(step.as_text())
"""


def config_for(name):
    data, fsdp, tensor = MESHES[name]
    return small_config(
        data={"sequence_length": LENGTH},
        model={"hidden_size": HIDDEN, "num_layers": LAYERS, "num_heads": 8, "embedding_size": WORDS},
        generator={"size_fraction": 1.0, "num_heads": 8},
        mesh={"data": data, "fsdp": fsdp, "tensor": tensor},
        train={"batch_size": ROWS},
    )


def compile_steps(folder, table, *names):
    tests = Path(__file__).resolve().parents[1]
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # what is found there warns of nothing
        "PYTHONPATH": os.pathsep.join(
            map(str, [tests, tests / "partitioning", tests / "training", tests.parent])
        ),
    }
    ended = subprocess.run(
        [sys.executable, "-c", COMPILE, str(folder), table, *names],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    said = compile_steps(folder, "as it is", *MESHES)
    modules = {name: parse_hlo((folder / name).read_text()) for name in MESHES}
    return {name: find_collectives(module, 8) for name, module in modules.items()}, modules, said


def parameter_bytes(name):
    from electra_jax.partitioning.layout import tree_bytes_per_device
    from electra_jax.partitioning.mesh import make_mesh
    from electra_jax.training.program import build_program

    config = config_for(name)
    return tree_bytes_per_device(
        build_program(config, SmallVocabulary(), make_mesh(config.mesh)).abstract.params
    )


def test_no_involuntary_rematerialization(compiled):
    assert WARNING not in compiled[2]


@pytest.mark.slow
def test_warning_is_seen_where_the_table_invites_it(tmp_path):
    assert WARNING in compile_steps(tmp_path, "features", "fsdp")


def test_data_parallelism_sums_every_gradient_and_moves_nothing_large(compiled):
    found = compiled[0]["data"]
    assert {one.devices for one in found} == {8}
    summed = sum(one.times * one.full_bytes for one in found if one.kind == "all-reduce")
    gradients = parameter_bytes("data")
    # Every gradient once, those of embeddings, which are used several times, more often; beside them sums of metrics.
    embeddings = (104 + 2 + LENGTH) * WORDS * 4
    assert gradients <= summed <= gradients + 2 * embeddings + 40_000
    # On the CPU the partitioner gathers what top_k and scatter need: scores and positions, a number for each token.
    others = [one for one in found if one.kind != "all-reduce"]
    assert {one.kind for one in others} <= {"all-gather"}
    for one in others:
        assert one.full_bytes <= ROWS * LENGTH * 4, one


def test_fsdp_gathers_weights_one_at_a_time_and_sums_gradients(compiled):
    found = compiled[0]["fsdp"]
    gathered = [one for one in found if one.kind == "all-gather"]
    # Never more than one kernel or the table of words: no layers together, no activations of the whole batch.
    largest = max(4 * HIDDEN * HIDDEN, 104 * WORDS) * 4
    assert max(one.full_bytes for one in gathered) == largest
    kernels = [one for one in gathered if one.full_bytes == 4 * HIDDEN * HIDDEN * 4]
    assert sum(one.times for one in kernels) >= 2 * LAYERS * 2  # both networks, each layer, both kernels
    reduced = sum(one.times * one.full_bytes for one in found if one.kind in ("all-reduce", "reduce-scatter"))
    assert reduced >= 0.9 * parameter_bytes("data")  # of whole kernels, not of pieces


def test_tensor_parallelism_sums_activations_within_each_layer(compiled):
    found = compiled[0]["tensor"]
    activation = ROWS * LENGTH * HIDDEN * 4
    sums = sum(
        one.times * (one.full_bytes // activation)
        for one in found
        if one.kind == "all-reduce" and one.full_bytes >= activation
    )
    # Two networks; in each layer two sums forward and two backward (products of attention may be summed apart).
    assert sums >= 2 * LAYERS * 4
    assert not [one for one in found if one.kind == "all-to-all"]
    for one in found:  # weights and activations stay where they are
        assert one.kind == "all-reduce" or one.full_bytes < activation / 4, one


def test_logits_over_the_vocabulary_are_gathered_nowhere(compiled):
    rows = network_sizes(
        config_for("tensor").model, config_for("tensor").generator, SmallVocabulary.vocab_size
    ).vocab_rows
    slots = max_masked(config_for("tensor").objective.mask_rate, LENGTH)
    shapes = {
        array.shape
        for step in executed(compiled[1]["tensor"])
        for array in step.instruction.arrays
        if array.dtype == "f32"
    }
    assert (ROWS, slots, rows // 8) in shapes  # this is how a device has them
    assert (ROWS, slots, rows) not in shapes
    for name, found in compiled[0].items():
        data, fsdp, _ = MESHES[name]
        whole = ROWS // (data * fsdp) * slots * rows * 4
        logits = [one for one in found if one.kind != "all-reduce" and f",{slots}," in one.arrays]
        # Sums of blocks are gathered, and a device's own are shifted to where blocks begin; of so small a vocabulary
        # that is an eighth of all.
        assert all(one.full_bytes <= max(whole // 6, ROWS * LENGTH * 4) for one in logits), name
