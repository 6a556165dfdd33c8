"""The same training on one device and on every kind of mesh (dropout on)."""

import re
from functools import cache
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config
from tiny import compiled, padded_rows

from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.program import build_program
from electra_jax.training.step import TRAIN_STREAM, stream_key

STEPS = 5
LENGTH, HIDDEN = 16, 32


def _sizes(mesh):
    """data, fsdp, tensor and slices of such as ``4x2x1`` or ``4x2x1 in 2``."""
    axes, _, slices = mesh.partition(" in ")
    return *map(int, axes.split("x")), int(slices or 1)


def _program(mesh):
    data, fsdp, tensor, slices = _sizes(mesh)
    config = small_config(mesh={"data": data, "fsdp": fsdp, "tensor": tensor, "dcn_data": slices})
    devices = jax.devices()[: data * fsdp * tensor]
    return build_program(config, SmallVocabulary(), make_mesh(config.mesh, devices))


@cache
def _first_state():
    """Like a fresh state, but quick to make: noise for parameters, scales near 1, the rest 0."""
    abstract = _program("1x1x1").abstract
    rng = np.random.default_rng(0)

    def leaf(path, s):
        noise = np.float32(path[-1].key == "scale") + rng.normal(0, 0.05, s.shape)
        return noise.astype(s.dtype)

    zeros = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), abstract)
    return zeros.replace(params=jax.tree_util.tree_map_with_path(leaf, abstract.params))


@cache
def _run(mesh):
    """Some steps on ``mesh`` from the same state as everywhere; what is compared of them."""
    program, first = _program(mesh), _first_state()

    def draw(params, batch):
        rng = jax.random.split(jax.random.fold_in(stream_key(0, TRAIN_STREAM), 0))[0]
        inputs = program.objective.draw_inputs(batch, rng)
        return inputs, program.objective.run_generator(params, inputs)[1]

    with program.on_mesh():
        state = jax.device_put(first, jax.tree.map(lambda s: s.sharding, program.abstract))
        batch = program.to_global_batch(padded_rows())
        inputs = jax.device_get(compiled(draw, state.params, batch)(state.params, batch))
        step = compiled(program.train_step, state, batch)
        reports = []
        for number in range(STEPS):
            state, report = step(
                state, program.to_global_batch(padded_rows(seed=number)), program.train_step.seed
            )
            reports.append(jax.device_get(report))
    return SimpleNamespace(
        program=program,
        inputs=inputs,
        reports=reports,
        state=state,
        metrics=program.objective.summarize(jax.device_get(state.metric_sums)),
        hlo=step.as_text(),
    )


# One test a mesh, for the sake of what it compiles.
@pytest.mark.parametrize(
    "mesh",
    [
        "8x1x1",
        pytest.param("1x8x1", marks=pytest.mark.slow),
        pytest.param("4x1x2", marks=pytest.mark.slow),
        "2x2x2",
        "4x2x1 in 2",
    ],
)
def test_mesh_trains_as_one_device_does(mesh):
    ours, alone = _run(mesh), _run("1x1x1")
    _assert_same_draws(ours, alone)
    _assert_same_losses(ours, alone)
    _assert_same_gradients(ours, alone)
    _assert_laid_out(ours, *_sizes(mesh)[:3])


def _assert_same_draws(ours, alone):
    jax.tree.map(np.testing.assert_array_equal, ours.inputs, alone.inputs)
    inputs, corruption = ours.inputs
    assert inputs.masked.weights.sum() > 8
    assert corruption.labels.sum() > 8


def _assert_same_losses(ours, alone):
    for report, expected in zip(ours.reports, alone.reports, strict=True):
        _assert_close(report, expected)
    assert len({float(report["loss"]) for report in ours.reports}) == STEPS  # it does move
    _assert_close(ours.metrics, alone.metrics)


def _assert_same_gradients(ours, alone):
    """Adam's first moments after the steps are sums of their gradients."""
    ours, alone = (
        {
            jax.tree_util.keystr(path): leaf
            for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(run.state.opt_state))
        }
        for run in (ours, alone)
    )
    moments = [name for name in alone if ".mu" in name]
    assert len(moments) > 30
    # The gradient of a key's bias is 0, as softmax does not see it: what is there is rounding.
    rounding = 1e-8 * max(np.abs(alone[name]).max() for name in moments)
    for name in moments:
        allowed = 2e-5 * np.abs(alone[name]).max() + rounding
        np.testing.assert_allclose(ours[name], alone[name], rtol=0, atol=allowed, err_msg=name)


def _assert_close(metrics, expected):
    assert set(metrics) == set(expected)
    for name, value in expected.items():
        assert (metrics[name] is None) == (value is None), name
        if value is not None:
            np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)


def _assert_laid_out(run, data, fsdp, tensor):
    jax.tree.map(_assert_lies, run.state, run.program.abstract)
    kernels = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path((run.state.params, run.state.opt_state))
        if jax.tree_util.keystr(path).endswith("['encoder']['layers']['attention']['query']['kernel']")
    ]
    assert len(kernels) == 3  # the parameter and its two moments
    for kernel in kernels:
        layers, embed, heads = kernel.shape
        piece = layers, embed // fsdp, heads // tensor
        assert {shard.data.shape for shard in kernel.addressable_shards} == {piece}
    # No device holds the activations of the whole batch.
    assert re.search(rf"f32\[{8 // (data * fsdp)},{LENGTH},{HIDDEN}\]", run.hlo)
    assert not re.search(rf"f32\[8,{LENGTH},\d+\]", run.hlo)


def _assert_lies(array, abstract):
    assert array.sharding.is_equivalent_to(abstract.sharding, array.ndim)


def test_activations_are_pinned_between_layers():
    program = _program("1x8x1")
    inputs = jax.eval_shape(program.objective.draw_inputs, padded_rows(), jax.random.key(0))

    def loss(params, inputs):
        return program.objective.loss(params, inputs, program.objective.loss_normalizers(inputs), None)[0]

    with program.on_mesh():
        pins = str(jax.make_jaxpr(loss)(program.abstract.params, inputs)).count("sharding_constraint[")
    # In each network the embeddings and twice a layer, and the generator's logits.
    assert pins == 2 * (1 + 2 * 2) + 1


def test_initialisation_is_the_same_on_every_mesh_and_made_sharded():
    states = []
    for mesh in ("1x1x1", "2x2x2"):
        program = _program(mesh)
        with program.on_mesh():
            states.append(program.init())
        jax.tree.map(_assert_lies, states[-1], program.abstract)
    alone, ours = jax.device_get(states)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), ours, alone)


def test_evaluation_does_not_depend_on_the_mesh():
    metrics = []
    for mesh in ("1x1x1", "2x2x2"):
        program, first = _program(mesh), _first_state()
        with program.on_mesh():
            params = jax.device_put(first.params, jax.tree.map(lambda s: s.sharding, program.abstract.params))
            arguments = params, program.to_global_batch(padded_rows()), np.int32(3)
            sums = compiled(program.eval_step, *arguments)(*arguments, program.eval_step.seed)
        metrics.append(program.objective.summarize(jax.device_get(sums)))
    _assert_close(*metrics)
