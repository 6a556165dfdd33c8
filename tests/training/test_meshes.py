"""The same training on one device and on every kind of mesh (dropout on)."""

import re
from functools import cache
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config
from tiny import padded_rows, quickly

from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.program import build_program
from electra_jax.training.step import TRAIN_STREAM, stream

STEPS = 5
LENGTH, HIDDEN = 16, 32
MESHES = ["8x1x1", "1x8x1", "2x2x2"]


def _program(mesh):
    data, fsdp, tensor = map(int, mesh.split("x"))
    config = small_config(mesh={"data": data, "fsdp": fsdp, "tensor": tensor})
    devices = jax.devices()[: data * fsdp * tensor]
    return build_program(config, SmallVocabulary(), make_mesh(config.mesh, devices))


@cache
def _first_state():
    program = _program("1x1x1")
    with program.on_mesh():
        return jax.device_get(program.init())


@cache
def _run(mesh):
    """Some steps on ``mesh`` from the same state as everywhere; what is compared of them."""
    program, first = _program(mesh), _first_state()

    def draw(params, batch):
        rng = jax.random.split(jax.random.fold_in(stream(0, TRAIN_STREAM), 0))[0]
        drawn = program.objective.draw(batch, rng)
        return drawn, program.objective.corrupted(params, drawn)[1]

    with program.on_mesh():
        state = jax.device_put(first, jax.tree.map(lambda s: s.sharding, program.abstract))
        batch = program.put_batch(padded_rows())
        drawn = jax.device_get(quickly(draw, state.params, batch)(state.params, batch))
        step = quickly(program.train_step, state, batch)
        reports = []
        for number in range(STEPS):
            state, report = step(state, program.put_batch(padded_rows(seed=number)))
            reports.append(jax.device_get(report))
    return SimpleNamespace(
        program=program,
        drawn=drawn,
        reports=reports,
        state=state,
        window=program.objective.summarize(jax.device_get(state.window)),
        hlo=step.as_text(),
    )


@pytest.mark.parametrize("mesh", MESHES)
def test_steps_agree_with_one_device(mesh):
    for ours, alone in zip(_run(mesh).reports, _run("1x1x1").reports, strict=True):
        for name in alone:
            np.testing.assert_allclose(ours[name], alone[name], rtol=1e-5, err_msg=name)
    losses = [float(report["loss"]) for report in _run(mesh).reports]
    assert len(set(losses)) == STEPS  # it does move
    assert _run(mesh).window == pytest.approx(_run("1x1x1").window, rel=1e-5)


@pytest.mark.parametrize("mesh", MESHES)
def test_what_is_drawn_is_the_same_on_every_mesh(mesh):
    (drawn, corruption), (drawn_alone, corruption_alone) = _run(mesh).drawn, _run("1x1x1").drawn
    jax.tree.map(np.testing.assert_array_equal, drawn, drawn_alone)
    jax.tree.map(np.testing.assert_array_equal, corruption, corruption_alone)
    assert drawn.masked.weights.sum() > 8
    assert corruption.labels.sum() > 8


@pytest.mark.parametrize("mesh", MESHES)
def test_state_stays_on_its_devices_through_steps(mesh):
    run = _run(mesh)
    jax.tree.map(lambda x, s: _same_layout(x.sharding, s.sharding, x.ndim), run.state, run.program.abstract)


def _same_layout(a, b, ndim):
    assert a.is_equivalent_to(b, ndim)


@pytest.mark.parametrize(
    ("mesh", "parts"), [("8x1x1", (1, 1, 1)), ("1x8x1", (1, 8, 1)), ("2x2x2", (1, 2, 2))]
)
def test_moments_are_sharded_as_their_parameters(mesh, parts):
    state = _run(mesh).state
    kernels = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path((state.params, state.opt_state))
        if jax.tree_util.keystr(path).endswith("['encoder']['layers']['attention']['query']['kernel']")
    ]
    assert len(kernels) == 3  # the parameter and two moments
    for kernel in kernels:
        piece = tuple(size // part for size, part in zip(kernel.shape, parts, strict=True))
        assert {shard.data.shape for shard in kernel.addressable_shards} == {piece}


@pytest.mark.parametrize("mesh", MESHES)
def test_no_device_holds_the_activations_of_the_whole_batch(mesh):
    data, fsdp, _ = map(int, mesh.split("x"))
    rows = 8 // (data * fsdp)
    hlo = _run(mesh).hlo
    assert re.search(rf"f32\[{rows},{LENGTH},{HIDDEN}\]", hlo)
    assert not re.search(rf"f32\[8,{LENGTH},\d+\]", hlo)
    assert re.search(rf"f32\[8,{LENGTH},{HIDDEN}\]", _run("1x1x1").hlo)


def test_activations_are_pinned_between_layers():
    program = _program("1x8x1")
    drawn = jax.eval_shape(program.objective.draw, padded_rows(), jax.random.key(0))

    def loss(params, drawn):
        return program.objective.loss(params, drawn, program.objective.totals(drawn), None)[0]

    with program.on_mesh():
        pins = str(jax.make_jaxpr(loss)(program.abstract.params, drawn)).count("sharding_constraint[")
    # In each network the embeddings and twice a layer, and the generator's logits.
    assert pins == 2 * (1 + 2 * 2) + 1


def test_initialisation_is_the_same_on_every_mesh_and_made_sharded():
    program = _program("2x2x2")
    with program.on_mesh():
        state = program.init()
    jax.tree.map(lambda x, s: _same_layout(x.sharding, s.sharding, x.ndim), state, program.abstract)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9),
        jax.device_get(state),
        _first_state(),
    )


def test_evaluation_does_not_depend_on_the_mesh():
    metrics = []
    for mesh in ("1x1x1", "2x2x2"):
        program, first = _program(mesh), _first_state()
        with program.on_mesh():
            params = jax.device_put(first.params, jax.tree.map(lambda s: s.sharding, program.abstract.params))
            arguments = params, program.put_batch(padded_rows()), np.int32(3)
            sums = quickly(program.eval_step, *arguments)(*arguments)
        metrics.append(program.objective.summarize(jax.device_get(sums)))
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-5)
