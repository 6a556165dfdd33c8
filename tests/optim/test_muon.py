"""Muon: which parameters it has, what it does to each layer, and where its state lies."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from small_run import SmallVocabulary, small_config

from electra_jax.config.schema import Config
from electra_jax.optim import build_optimizer
from electra_jax.optim.muon import UPDATE_RMS, scale_by_muon_and_adam
from electra_jax.partitioning.axes import path_name
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.checkpoints import CheckpointWriter, RunIdentity, restore_state
from electra_jax.training.program import build_program
from electra_jax.training.state import TrainState

LAYERS = 2
SHAPES = {
    "embeddings": {"word": {"embedding": (8, 4)}, "layer_norm": {"scale": (4,)}},
    "encoder": {
        "layers": {
            "attention": {"query": {"kernel": (LAYERS, 8, 8), "bias": (LAYERS, 8)}},
            "output": {"kernel": (LAYERS, 16, 8)},
            "intermediate": {"kernel": (LAYERS, 8, 16)},
        }
    },
    "discriminator_head": {"dense": {"kernel": (8, 8)}},
}
SETTINGS = (0.95, 0.999, 1e-6)


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    draw = lambda shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)  # noqa: E731
    return jax.tree.map(draw, SHAPES, is_leaf=lambda x: isinstance(x, tuple))


def _flat(tree):
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _states(opt_state):
    """The two inner states: (Muon's, Adam's)."""
    parts = jax.tree.leaves(
        opt_state, is_leaf=lambda x: isinstance(x, optax.contrib.MuonState | optax.ScaleByAdamState)
    )
    (muon,) = (part for part in parts if isinstance(part, optax.contrib.MuonState))
    (adam,) = (part for part in parts if isinstance(part, optax.ScaleByAdamState))
    return muon, adam


def _of_norm_1(tree):
    norm = optax.tree.norm(tree)
    return jax.tree.map(lambda leaf: leaf / norm, tree)


def _is_muons(name):
    return "/layers/" in name and name.endswith("kernel")


@pytest.mark.parametrize(
    "overrides",
    [{}, {"generator": {"sharing": "none"}}, {"objective": {"kind": "electric"}}],
    ids=["electra", "untied", "electric"],
)
def test_the_state_leaf_by_leaf_and_where_it_lies(overrides):
    """Stacked kernels have one momentum and nothing else; all else has Adam's two, embeddings above all."""
    config = small_config(optimizer={"kind": "muon"}, mesh={"fsdp": 2, "tensor": 2}, **overrides)
    program = build_program(config, SmallVocabulary(), make_mesh(config.mesh))
    parameters = _flat(program.abstract.params)
    muon, adam = _states(program.abstract.opt_state)
    by_hand = {name for name in parameters if _is_muons(name)}
    assert by_hand == set(_flat(muon.mu))
    assert set(parameters) - by_hand == set(_flat(adam.mu)) == set(_flat(adam.nu))
    for name, moment in [*_flat(muon.mu).items(), *_flat(adam.mu).items(), *_flat(adam.nu).items()]:
        assert (moment.shape, moment.dtype) == (parameters[name].shape, jnp.float32)
        assert moment.sharding == parameters[name].sharding, name
    query = "encoder/layers/attention/query/kernel"
    assert not _flat(muon.mu)[query].sharding.is_fully_replicated
    assert "embeddings/word/embedding" in _flat(adam.nu)
    assert all(len(parameters[name].shape) == 3 for name in by_hand)


def test_every_layer_is_orthogonalized_by_itself_and_is_as_large_as_adams(params):
    optimizer = scale_by_muon_and_adam(params, *SETTINGS)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    for name, update in _flat(updates).items():
        if not _is_muons(name):
            continue
        for layer, gradient in zip(np.asarray(update), _flat(params)[name], strict=True):
            size = max(layer.shape)
            values = np.linalg.svd(layer / (UPDATE_RMS * size**0.5), compute_uv=False)
            assert 0.3 < values.min() <= values.max() < 1.6, name
            # Nearly the closest orthogonal matrix to the gradient, which the first momentum is.
            left, _, right = np.linalg.svd(np.asarray(gradient), full_matrices=False)
            assert np.vdot(layer, left @ right) > 0.9 * np.linalg.norm(layer) * np.linalg.norm(left @ right)
            assert 0.5 * UPDATE_RMS < np.sqrt(np.square(layer).mean()) < 1.5 * UPDATE_RMS, name


def test_the_rest_has_adam_and_all_have_the_same_rate_and_decay(params):
    common = {"warmup_steps": 0, "weight_decay": 0.1, "learning_rate": 0.5, "clip_norm": 1.0, "beta1": 0.95}
    moved = {}
    for kind in ("adamw", "muon"):
        config = Config.model_validate({"optimizer": {"kind": kind, **common}}).optimizer
        optimizer = build_optimizer(config, params, total_steps=10)
        update, state = jax.jit(optimizer.update), optimizer.init(params)
        _, state = update(params, state, params)
        moved[kind] = _flat(update(jax.tree.map(jnp.cos, params), state, params)[0])
    for name, theirs in moved["adamw"].items():
        if not _is_muons(name):
            np.testing.assert_allclose(moved["muon"][name], theirs, rtol=1e-5, err_msg=name)
    plain = scale_by_muon_and_adam(params, *SETTINGS)
    first, second = map(_of_norm_1, (params, jax.tree.map(jnp.cos, params)))
    _, state = plain.update(first, plain.init(params))
    directions, rate = _flat(plain.update(second, state)[0]), 0.5 * 0.9
    for name in filter(_is_muons, directions):
        by_hand = -rate * (directions[name] + 0.1 * _flat(params)[name])
        np.testing.assert_allclose(moved["muon"][name], by_hand, rtol=1e-4, atol=1e-5, err_msg=name)


def test_on_a_mesh_it_is_the_same(params):
    """Kernels cut over fsdp and tensor are put together where their layer is orthogonalized."""
    mesh = make_mesh(Config.model_validate({"mesh": {"fsdp": 4, "tensor": 2}}).mesh)
    optimizer = scale_by_muon_and_adam(params, *SETTINGS)
    state = optimizer.init(params)
    alone = optimizer.update(params, state, params)[0]
    cut = NamedSharding(mesh, jax.sharding.PartitionSpec(None, "fsdp", "tensor"))
    whole = NamedSharding(mesh, jax.sharding.PartitionSpec())
    placed = jax.tree.map(lambda x: jax.device_put(x, cut if x.ndim == 3 else whole), (params, state))
    found = jax.jit(optimizer.update)(placed[0], placed[1])[0]
    assert not _flat(placed[0])["encoder/layers/output/kernel"].sharding.is_fully_replicated
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, alone)


def test_a_checkpoint_keeps_both_states(params, tmp_path):
    config = small_config(optimizer={"kind": "muon"})
    optimizer = build_optimizer(config.optimizer, params, total_steps=10)
    _, opt_state = optimizer.update(params, optimizer.init(params), params)
    state = TrainState(jnp.int32(1), params, opt_state, {})
    writer = CheckpointWriter(tmp_path / "checkpoints", config.train, RunIdentity("t", "d", {}))
    writer.save(1, state)
    writer.close()
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
    restored = restore_state(tmp_path / "checkpoints", 1, abstract)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
