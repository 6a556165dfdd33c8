"""The modern encoder by itself; `test_modern_live` compares it with transformers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config
from tiny import padded_rows

from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.flops import attended_pairs, encoder_flops
from electra_jax.model.inputs import packed_inputs
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network
from electra_jax.optim.decay_mask import weight_decay_mask
from electra_jax.optim.layer_decay import layer_rates
from electra_jax.partitioning.axes import parameter_axes, parameter_specs, path_name
from electra_jax.partitioning.mesh import make_mesh

V = SmallVocabulary
MODEL = {"block": "modern", "embedding_size": None, "num_layers": 3}


def _network(model=(), /, **sections):
    config = small_config(model={**MODEL, **dict(model)}, **sections)
    return config, build_network(config, V.vocab_size)


@pytest.fixture(scope="module")
def params():
    _, network = _network()
    return jax.jit(lambda: init_params(network, jax.random.key(0)))()


@pytest.fixture(scope="module")
def inputs():
    rows = padded_rows(rows=4)
    rows[0, 6] = V.cls_id  # two documents
    return packed_inputs(rows, pad_id=V.pad_id, cls_id=V.cls_id, sep_id=V.sep_id)


def _gradients(network, params, inputs, rng=None):
    """Of everything that both networks compute."""
    positions = jnp.tile(jnp.arange(16), (4, 1))

    def loss(params):
        logits = network.apply({"params": params}, inputs, positions, rng, method="generate")[..., :100]
        marks = network.apply({"params": params}, inputs, rng, method="discriminate")
        return jnp.sin(logits).sum() + jnp.sin(marks).sum()

    return jax.jit(jax.grad(loss))(params)


def _agree(gradients, others):
    for (path, one), other in zip(
        jax.tree_util.tree_leaves_with_path(gradients), jax.tree.leaves(others), strict=True
    ):
        scale = max(1.0, float(np.abs(other).max()))
        np.testing.assert_allclose(one / scale, other / scale, atol=2e-5, err_msg=path_name(path))


def test_scanned_groups_equal_unrolled_layers_with_the_same_dropout(params, inputs):
    dropout = {"hidden_dropout": 0.2, "attention_dropout": 0.2}
    dropout |= {"local_attention": {"window": 4, "global_every": 2}, "rope_theta_global": 100.0}
    _, unrolled = _network(dropout)
    _, scanned = _network(dropout, compute={"scan_layers": True, "remat": "dots"})
    rng = jax.random.key(3)
    gradients = _gradients(scanned, params, inputs, rng)
    _agree(gradients, _gradients(unrolled, params, inputs, rng))
    # The first block has no LayerNorm before its attention; its row is there and never read.
    scale = np.asarray(gradients["encoder"]["layers"]["attention_layer_norm"]["scale"])
    assert not scale[0].any()
    assert scale[1:].all()


def test_a_sharded_network_computes_the_same(params, inputs):
    config, network = _network(mesh={"data": 2, "fsdp": 2, "tensor": 2})
    mesh = make_mesh(config.mesh)
    shardings = jax.tree.map(
        lambda spec: jax.sharding.NamedSharding(mesh, spec), parameter_specs(params, mesh)
    )
    gate = shardings["encoder"]["layers"]["gate"]["kernel"].spec
    assert gate == jax.sharding.PartitionSpec(None, "fsdp", "tensor")
    with jax.set_mesh(mesh):
        sharded = _gradients(network, jax.device_put(params, shardings), inputs)
    _agree(jax.device_get(sharded), _gradients(network, params, inputs))


def test_parameters_their_axes_and_their_decay(params):
    names = {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    for name, leaf in names.items():
        assert len(parameter_axes(name, leaf.ndim)) == leaf.ndim
    assert {name for name in names if name.endswith("bias")} == {
        "generator_head/output_bias",
        "discriminator_head/prediction/bias",
    }
    assert not any("position" in name or "token_type" in name for name in names)
    decayed = {
        path_name(path) for path, on in jax.tree_util.tree_leaves_with_path(weight_decay_mask(params)) if on
    }
    assert decayed == {name for name in names if name.endswith(("kernel", "embedding"))}
    encoder = {name: params[name] for name in ("embeddings", "encoder")}
    rates = layer_rates(encoder, 0.5, reference_quirk=False)
    assert rates["encoder"]["final_layer_norm"]["scale"] == 0.5
    assert rates["encoder"]["layers"]["gate"]["kernel"].ravel().tolist() == [0.125, 0.25, 0.5]
    assert rates["embeddings"]["word"]["embedding"] == 0.0625


def test_initialisation_is_modernberts(params):
    """Kernels are cut at three deviations; those that end in the residual, and in the heads, are narrower."""
    into_residual = 0.02 / np.sqrt(2 * 3)
    layers = params["encoder"]["layers"]
    for table, sigma in (
        (params["embeddings"]["word"]["embedding"][: V.vocab_size], 0.02),
        (layers["attention"]["query"]["kernel"], 0.02),
        (layers["gate"]["kernel"], 0.02),
        (layers["attention"]["output"]["kernel"], into_residual),
        (layers["output"]["kernel"], into_residual),
        (params["discriminator_head"]["dense"]["kernel"], into_residual),
    ):
        assert float(jnp.std(table)) == pytest.approx(0.9866 * sigma, rel=0.08)
        assert 2.2 * sigma < float(jnp.abs(table).max()) <= 3.0001 * sigma
    prediction = params["discriminator_head"]["prediction"]["kernel"]
    assert float(jnp.std(prediction)) == pytest.approx(32**-0.5, rel=0.4)


def test_flops_count_the_pairs_that_a_window_leaves():
    segments = jnp.ones((1, 11), jnp.int32)
    for window in (None, 0, 3, 10, 30):
        seen = AttentionMask.within(segments, window=window).allowed().sum()
        assert attended_pairs(11, window) == int(seen)
    _, network = _network({"local_attention": {"window": 4, "global_every": 2}})  # layers 0 and 2 are global
    _, without = _network()
    saved = encoder_flops(without.config.encoder, 16) - encoder_flops(network.config.encoder, 16)
    assert saved == 4 * 32 * (16 * 16 - attended_pairs(16, 2))
