"""The decoder with its cache against whole rows, with and without a source."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_decoder import small_decoder

from electra_jax.model.cache import Cache
from electra_jax.model.decoder import Source

ROWS, LENGTH, HIDDEN = 3, 9, 8
LENGTHS = np.array([9, 4, 1], np.int32)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def embedded(length=LENGTH, width=HIDDEN, seed=0):
    return jnp.array(np.random.default_rng(seed).normal(size=(ROWS, length, width)), jnp.float32)


def initialise(network, x, source=None):
    segments = jnp.ones(x.shape[:2], jnp.int32)
    return jax.jit(lambda: network.init(jax.random.key(1), x, segments, None, source, method="decode"))()


def source_of(length=5):
    states = embedded(length, seed=2)
    segments = (np.arange(length)[None] < np.array([5, 2, 3])[:, None]).astype(np.int32)
    return Source(states, jnp.array(segments))


def whole_rows(network, variables, x, source=None):
    segments = jnp.ones(x.shape[:2], jnp.int32)
    return network.apply(variables, x, segments, None, source, method="decode")


@pytest.mark.parametrize("with_source", [False, True], ids=["alone", "with a source"])
@pytest.mark.parametrize("options", [{}, {"embedding": 4}, {"scan": True}], ids=str)
def test_a_cache_gives_what_whole_rows_give(options, with_source):
    """Rows are prompts of different lengths; each goes on to its last slot."""
    network = small_decoder(source=with_source, **options)
    x = embedded(width=options.get("embedding", HIDDEN))
    source = source_of() if with_source else None
    variables = initialise(network, x, source)
    expected = np.asarray(whole_rows(network, variables, x, source))
    kept = network.apply(variables, source, method="read_source") if source is not None else None
    prompts = jnp.where(jnp.arange(LENGTH)[None, :, None] < LENGTHS[:, None, None], x, 7.0)
    states, cache = network.apply(variables, prompts, jnp.array(LENGTHS), LENGTH, kept, method="prefill")
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(states[row, :length], expected[row, :length], **TOLERANCE)
    step = jax.jit(lambda x, cache: network.apply(variables, x, cache, kept, method="step"))
    for _ in range(LENGTH):
        used = np.asarray(cache.used)
        going_on = used < LENGTH
        token = x[np.arange(ROWS), np.minimum(used, LENGTH - 1)][:, None]
        states, cache = step(token, cache)
        np.testing.assert_allclose(states[going_on, 0], expected[going_on, used[going_on]], **TOLERANCE)
    np.testing.assert_array_equal(cache.used, LENGTHS + LENGTH)


def test_rows_re_ordered_between_steps_go_on_as_their_own():
    network, x = small_decoder(), embedded()
    variables = initialise(network, x)
    _, cache = network.apply(variables, x[:, :3], jnp.full(ROWS, 3), LENGTH, method="prefill")
    order = np.array([2, 2, 0])
    taken = jax.tree.map(lambda leaf: leaf[order], cache)
    states, _ = network.apply(variables, x[:, 3:4], taken, method="step")
    mixed = jnp.concatenate([x[order, :3], x[:, 3:4]], axis=1)
    np.testing.assert_allclose(states[:, 0], whole_rows(network, variables, mixed)[:, -1], **TOLERANCE)


def test_beams_of_a_source_share_its_keys():
    network, x, source = small_decoder(source=True), embedded(), source_of()
    variables = initialise(network, x, source)
    kept = network.apply(variables, source, method="read_source")
    beams = 2
    repeated = jax.tree.map(lambda leaf: jnp.repeat(leaf, beams, axis=0), source)
    tokens = jnp.array(np.random.default_rng(5).normal(size=(ROWS * beams, 2, HIDDEN)), jnp.float32)
    _, cache = network.apply(
        variables,
        tokens[:, :1],
        jnp.ones(ROWS * beams, jnp.int32),
        4,
        network.apply(variables, repeated, method="read_source"),
        method="prefill",
    )
    states, _ = network.apply(variables, tokens[:, 1:], cache, kept, method="step")
    np.testing.assert_allclose(
        states[:, 0], whole_rows(network, variables, tokens, repeated)[:, -1], **TOLERANCE
    )


def test_bfloat16_steps_are_near_whole_rows():
    network, x = small_decoder(dtype=jnp.bfloat16), embedded()
    variables = initialise(network, x)
    expected = whole_rows(network, variables, x)
    _, cache = network.apply(variables, x[:, :-1], jnp.full(ROWS, LENGTH - 1), LENGTH, method="prefill")
    states, _ = network.apply(variables, x[:, -1:], cache, method="step")
    np.testing.assert_allclose(states[:, 0].astype(np.float32), expected[:, -1].astype(np.float32), atol=0.06)


def test_nothing_behind_a_token_and_no_padding_of_the_source_reaches_it():
    network, x, source = small_decoder(source=True), embedded(), source_of()
    variables = initialise(network, x, source)

    # Weighted, since what LayerNorm leaves always has the sum 0.
    weights = jnp.arange(1.0, 1.0 + HIDDEN) ** 2

    def state(x, states):
        return (whole_rows(network, variables, x, replace(source, states=states))[:, 3] * weights).sum()

    by_x, by_states = jax.grad(state, (0, 1))(x, source.states)
    assert np.abs(by_x[:, :4]).max(axis=-1).min() > 1e-3
    np.testing.assert_array_equal(by_x[:, 4:], 0)
    real = np.asarray(source.segment_ids) != 0
    np.testing.assert_array_equal(np.asarray(by_states)[~real], 0)
    assert np.abs(np.asarray(by_states)[real]).max(axis=-1).min() > 1e-3


def test_the_cache_has_rows_first_everywhere():
    network, x = small_decoder(), embedded()
    variables = initialise(network, x)
    _, cache = network.apply(variables, x, jnp.array(LENGTHS), 12, method="prefill")
    assert isinstance(cache, Cache)
    assert cache.slots == 12
    assert {leaf.shape[0] for leaf in jax.tree.leaves(cache)} == {ROWS}
