"""A decoder with embeddings and head: the losses of whole rows against logits one by one, and its parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from small_run import small_config

from electra_jax.config.seq2seq import DecoderConfig
from electra_jax.model.network_config import text_decoder_config
from electra_jax.model.text_decoder import TextDecoder
from electra_jax.partitioning.axes import parameter_axes, partition_spec, path_name

ENTRIES, ROWS, SOURCE, LENGTH, CLS = 13, 3, 5, 8, 2
MODEL = {
    **{"hidden_size": 8, "num_layers": 1, "num_heads": 2, "vocab_multiple": 8, "max_positions": LENGTH},
    **{"hidden_dropout": 0.0, "attention_dropout": 0.0},
}
# Widths of embeddings and decoder; the encoder's is 8.
SIZES = {
    "as wide as the encoder": (8, {}),
    "narrow embeddings": (4, {}),
    "narrower than the encoder": (8, {"hidden_size": 4, "num_layers": 2, "num_heads": 1}),
}
OWN = {"decoder/layers", "lm_head/dense", "lm_head/layer_norm", "lm_head/output_bias"}
SHARED = {"embeddings/word", "embeddings/position", "embeddings/token_type", "embeddings/layer_norm"}
PARTS = {
    "as wide as the encoder": OWN | SHARED,
    "narrow embeddings": OWN | SHARED | {"decoder/embeddings_project"},
    "narrower than the encoder": OWN
    | SHARED
    | {"decoder/embeddings_project", "encoder_projection/kernel", "encoder_projection/bias"},
}
LAYER = {"attention", "attention_layer_norm", "cross_attention", "cross_attention_layer_norm"} | {
    *("intermediate", "output", "output_layer_norm")
}


def _inputs():
    rng = np.random.default_rng(0)
    targets = rng.integers(3, ENTRIES, (ROWS, LENGTH))
    return {
        "states": jnp.asarray(rng.normal(size=(ROWS, SOURCE, 8)), jnp.float32),
        "segments": jnp.asarray(np.arange(SOURCE) < np.array([[5], [2], [3]]), jnp.int32),
        "read": jnp.asarray(np.insert(targets[:, :-1], 0, CLS, axis=1), jnp.int32),
        "targets": jnp.asarray(targets, jnp.int32),
        "weights": jnp.asarray(np.arange(LENGTH) < np.array([[8], [1], [4]]), jnp.float32),
    }


def _losses(bound, states, segments, read, targets, weights):
    return bound.losses(bound.source(states, segments), read, targets, weights)


@pytest.fixture(scope="module", params=SIZES)
def made(request):
    """The name of the sizes, a network, and random variables."""
    embedding, decoder = SIZES[request.param]
    config = small_config(model=MODEL | {"embedding_size": embedding}, data={"sequence_length": LENGTH})
    network = TextDecoder(text_decoder_config(config, DecoderConfig(**decoder), ENTRIES))
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), **_inputs(), method=_losses))
    rng = np.random.default_rng(1)

    def weights(path, leaf):
        noise = rng.normal(size=leaf.shape) * 0.5
        return jnp.asarray(noise + path_name(path).endswith("scale"), jnp.float32)

    return request.param, network, jax.tree_util.tree_map_with_path(weights, shapes)


@pytest.fixture(scope="module")
def compute(made):
    """The losses, as one program for all inputs of the same shapes."""
    _, network, variables = made
    return jax.jit(lambda inputs: network.apply(variables, **inputs, method=_losses))


def test_losses_of_whole_rows_are_those_of_logits_one_by_one(made, compute):
    _, network, variables = made
    inputs = _inputs()
    total, found = compute(inputs)

    @jax.jit
    def one_by_one(inputs):
        source = network.apply(variables, inputs["states"], inputs["segments"], method="source")
        kept = network.apply(variables, source, method="read_source")
        first, ones = inputs["read"][:, :1], jnp.ones(ROWS, jnp.int32)
        logits, cache = network.apply(variables, first, ones, LENGTH, kept, method="prefill")

        def step(cache, ids):
            logits, cache = network.apply(variables, cache, ids, kept, method="step")
            return cache, logits

        rest = jax.lax.scan(step, cache, inputs["read"][:, 1:].T)[1]
        return jnp.concatenate([logits[None], rest]).swapaxes(0, 1)

    logits = one_by_one(inputs)
    assert logits.shape == (ROWS, LENGTH, 16)
    log_p = jax.nn.log_softmax(logits)
    nll = -np.take_along_axis(np.asarray(log_p), np.asarray(inputs["targets"])[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(found, nll, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(total, (nll * np.asarray(inputs["weights"])).sum(), rtol=1e-5)
    np.testing.assert_allclose(jnp.exp(log_p)[..., ENTRIES:], 0, atol=0)  # rows that round the table up


def test_nothing_of_padding_is_seen(compute):
    """Whatever stands behind the end of a target or of a source; but all that stands before it is."""
    inputs = _inputs()
    total, found = compute(inputs)
    padding, places = inputs["weights"] == 0, jnp.arange(LENGTH)
    ends = inputs["weights"].sum(axis=1, keepdims=True).astype(int)
    other = {
        **inputs,
        "states": jnp.where(inputs["segments"][..., None] != 0, inputs["states"], 9.0),
        "targets": jnp.where(padding, 4, inputs["targets"]),
        "read": jnp.where(places >= ends, 5, inputs["read"]),
    }
    same, as_before = compute(other)
    np.testing.assert_allclose(same, total, rtol=1e-6)
    real = ~np.asarray(padding)
    np.testing.assert_allclose(np.asarray(as_before)[real], np.asarray(found)[real], rtol=1e-5)
    for changed in (
        {"states": inputs["states"].at[1, 1].add(1.0)},
        {"read": inputs["read"].at[2, 2].set(3 + (inputs["read"][2, 2] - 2) % (ENTRIES - 3))},
    ):
        assert abs(float(compute(inputs | changed)[0] - total)) > 1e-3


def test_parameters_have_names_shapes_and_places_on_a_mesh(made):
    name, _, variables = made
    leaves = {
        path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
    }
    assert {"/".join(path.split("/")[:2]) for path in leaves} == PARTS[name]
    assert {path.split("/")[2] for path in leaves if path.startswith("decoder/layers/")} == LAYER
    embedding, decoder = SIZES[name]
    width, layers = decoder.get("hidden_size", 8), decoder.get("num_layers", 1)
    assert leaves["decoder/layers/cross_attention/key/kernel"].shape == (layers, width, width)
    assert leaves["decoder/layers/intermediate/kernel"].shape == (layers, width, 4 * width)
    assert leaves["lm_head/dense/kernel"].shape == (width, embedding)
    assert leaves["lm_head/output_bias"].shape == (16,)
    if "encoder_projection/kernel" in leaves:
        assert leaves["encoder_projection/kernel"].shape == (8, width)
    specs = {
        path: partition_spec(
            parameter_axes(path if path.startswith("embeddings") else f"heads/mine/{path}", len(leaf.shape))
        )
        for path, leaf in leaves.items()
    }
    assert specs["decoder/layers/cross_attention/query/kernel"] == PartitionSpec(None, "fsdp", "tensor")
    assert specs["decoder/layers/cross_attention/output/kernel"] == PartitionSpec(None, "tensor", "fsdp")
    assert specs["lm_head/output_bias"] == PartitionSpec(("tensor", "fsdp"))
