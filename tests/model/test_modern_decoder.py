"""A decoder of modern blocks: without what it reads from a source it is the encoder, seeing what is before a token."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_decoder import small_decoder

from electra_jax.model.block import EncoderConfig
from electra_jax.model.decoder import Source
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.modern_decoder import ModernDecoder
from electra_jax.model.modern_encoder import ModernEncoder

ROWS, LENGTH, SOURCE, HIDDEN = 2, 6, 3, 8


def _config(*, layers=3, scan=False, remat="none", **more):
    block = replace(small_decoder(HIDDEN).config.block, kind="modern", layer_norm_epsilon=1e-5)
    return EncoderConfig(block, HIDDEN, layers, scan, remat, **more)


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    embedded, states = rng.normal(size=(ROWS, LENGTH, HIDDEN)), rng.normal(size=(ROWS, SOURCE, HIDDEN))
    segments = jnp.asarray([[1, 1, 1], [1, 0, 0]], jnp.int32)
    return jnp.asarray(embedded, jnp.float32), Source(jnp.asarray(states, jnp.float32), segments)


@pytest.fixture(scope="module")
def params(inputs):
    embedded, source = inputs
    decoder = ModernDecoder(_config(), reads_source=True)
    ones = jnp.ones((ROWS, LENGTH), jnp.int32)
    shapes = jax.eval_shape(
        lambda: decoder.init(jax.random.key(0), embedded, ones, None, source, method="decode")
    )["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes)


def _decode(config, params, inputs):
    decoder = ModernDecoder(config, reads_source=True)
    ones = jnp.ones((ROWS, LENGTH), jnp.int32)
    return decoder.apply({"params": params}, inputs[0], ones, None, inputs[1], method="decode")


# A window of more than the row is none, but layers have other wavelengths than without one.
@pytest.mark.parametrize(
    "more",
    [{"rope_theta": 30.0}, {"window": 99, "global_every": 2, "rope_theta": 5.0, "rope_theta_global": 50.0}],
)
def test_without_a_source_states_are_those_of_the_encoder_seeing_what_is_before(params, inputs, more):
    silent = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.zeros_like(leaf) if "cross_attention'" in str(path) else leaf, params
    )
    own = {name: leaf for name, leaf in silent["layers"].items() if not name.startswith("cross_")}
    encoder = ModernEncoder(_config(**more), "left_to_right")
    zeros = jnp.zeros((ROWS, LENGTH), jnp.int32)
    expected = encoder.apply(
        {"params": {**silent, "layers": own}}, inputs[0], EncoderInputs(zeros, zeros, zeros, zeros + 1), None
    )
    np.testing.assert_allclose(_decode(_config(**more), silent, inputs), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(_decode(_config(**more), params, inputs) - expected).max() > 0.1


def test_attention_to_the_source_stands_between_with_a_norm_before_it(params, inputs):
    """One layer, by hand."""
    one = {**params, "layers": jax.tree.map(lambda leaf: leaf[:1], params["layers"])}
    config = _config(layers=1)
    layer = jax.tree.map(lambda leaf: np.asarray(leaf[0], np.float64), one["layers"])
    x, source = (np.asarray(array, np.float64) for array in (inputs[0], inputs[1].states))

    def norm(x, scale):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale

    def heads(y):
        return y.reshape(*y.shape[:2], 2, -1).transpose(0, 2, 1, 3)

    def turned(y, theta=10_000.0):
        dim = y.shape[-1]
        angles = np.arange(LENGTH)[:, None] * theta ** (-np.arange(0, dim, 2) / dim)
        first, second = y[..., : dim // 2], y[..., dim // 2 :]
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def attention(part, queries, keys, allowed, turn):
        of = layer[part]
        q, k, v = (
            heads(y @ of[n]["kernel"]) for y, n in ((queries, "query"), (keys, "key"), (keys, "value"))
        )
        scores = turn(q) @ turn(k).swapaxes(2, 3) / np.sqrt(q.shape[-1])
        weights = np.exp(scores) * allowed
        weights /= weights.sum(-1, keepdims=True)
        return (weights @ v).transpose(0, 2, 1, 3).reshape(queries.shape) @ of["output"]["kernel"]

    x = x + attention("attention", x, x, np.tril(np.ones((LENGTH, LENGTH))), turned)
    seen = (np.asarray(inputs[1].segment_ids) != 0)[:, None, None, :]
    read = norm(x, layer["cross_attention_layer_norm"]["scale"])
    x = x + attention("cross_attention", read, source, seen, lambda y: y)
    read = norm(x, layer["mlp_layer_norm"]["scale"])
    inner = jax.nn.gelu(jnp.asarray(read @ layer["intermediate"]["kernel"]), approximate=False)
    x = x + (np.asarray(inner, np.float64) * (read @ layer["gate"]["kernel"])) @ layer["output"]["kernel"]
    expected = norm(x, np.asarray(one["final_layer_norm"]["scale"]))
    np.testing.assert_allclose(_decode(config, one, inputs), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", [{"scan": True}, {"remat": "full"}], ids=str)
def test_a_loop_over_layers_and_recomputing_change_nothing(params, inputs, how):
    more = {"window": 4, "global_every": 2, "rope_theta": 5.0, "rope_theta_global": 50.0}

    def loss(params, config):
        return (_decode(config, params, inputs) ** 2).mean()

    plain, other = (
        jax.jit(jax.value_and_grad(loss), static_argnums=1)(params, _config(**made, **more))
        for made in ({}, how)
    )
    for ours, theirs in zip(jax.tree.leaves(other), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
