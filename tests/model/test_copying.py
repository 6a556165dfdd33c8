"""Taking tokens from a source: probabilities by their definition, and a loss whose gradient is that of them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_decoder import small_decoder

from electra_jax.model.copying import CopyChoice, CopyHead, copy_loss
from electra_jax.model.operations import PLAIN_OPERATIONS
from electra_jax.model.vocabulary_loss import vocabulary_loss

ROWS, LENGTH, PLACES, HIDDEN, ENTRIES = 3, 4, 6, 8, 11
# Of the first source one token stands three times, of the last nothing can be taken.
TOKENS = np.array([[-1, 7, 3, 7, 7, -1], [2, 4, 5, 6, 8, -1], [-1] * PLACES], np.int32)
TARGETS = np.array([[7, 7, 3, 9], [4, 1, 8, 2], [7, 1, 2, 3]], np.int32)


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return {
        "states": normal(ROWS, LENGTH, HIDDEN),
        "source": normal(ROWS, PLACES, HIDDEN),
        "table": normal(ENTRIES, HIDDEN),
        "bias": normal(ENTRIES),
    }


@pytest.fixture(scope="module")
def head():
    return CopyHead(small_decoder(HIDDEN).config.block)


@pytest.fixture(scope="module")
def params(head, inputs):
    def call(module):
        return module(inputs["states"], module.read_source(inputs["source"], TOKENS))

    shapes = jax.eval_shape(nn.init(call, head), jax.random.key(0))["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes)


def _choice(head, params, inputs):
    kept = head.apply({"params": params}, inputs["source"], TOKENS, method="read_source")
    return head.apply({"params": params}, inputs["states"], kept)


def _logits(inputs):
    return inputs["states"] @ inputs["table"].T + inputs["bias"]


def test_probabilities_are_those_of_the_paper_written_out(head, params, inputs):
    found = np.exp(_choice(head, params, inputs).logits(_logits(inputs)))
    arrays = jax.tree.map(np.asarray, (params, inputs))
    weights, given = arrays
    expected = np.zeros((ROWS, LENGTH, ENTRIES))
    for row in range(ROWS):
        keys = given["source"][row] @ weights["key"]["kernel"]
        places = np.flatnonzero(TOKENS[row] >= 0)
        for column in range(LENGTH):
            state = given["states"][row, column]
            own = np.exp(state @ given["table"].T + given["bias"])
            own /= own.sum()
            if not len(places):
                expected[row, column] = own
                continue
            query = state @ weights["query"]["kernel"] + weights["query"]["bias"]
            attention = np.exp(keys[places] @ query / np.sqrt(HIDDEN))
            attention /= attention.sum()
            seen = np.concatenate([state, attention @ given["source"][row][places]])
            gate = seen @ weights["generate"]["kernel"][:, 0] + weights["generate"]["bias"][0]
            generate = 1 / (1 + np.exp(-gate))
            expected[row, column] = generate * own
            for place, share in zip(places, attention, strict=True):
                expected[row, column, TOKENS[row, place]] += (1 - generate) * share
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_and_its_gradient_are_those_of_all_logits(head, params, inputs, smoothing):
    """Smoothing is of the vocabulary's part, as far as it has part in a token."""
    weights = jnp.asarray(np.array([[1, 1, 1, 1], [1, 2, 1, 0], [1, 1, 0, 0]]), jnp.float32)
    targets = jnp.asarray(TARGETS)

    def in_chunks(params, inputs):
        def vocabulary(weights, smoothing, state):
            # One column a chunk.
            return vocabulary_loss(*state, targets, weights, PLAIN_OPERATIONS, ROWS, smoothing)

        state = (inputs["states"], inputs["table"], inputs["bias"])
        nll = vocabulary(weights, 0.0, jax.lax.stop_gradient(state))[1].nll
        return copy_loss(
            _choice(head, params, inputs),
            targets,
            weights,
            nll,
            lambda shares: vocabulary(shares, smoothing, state)[0],
        )

    def of_all(params, inputs):
        choice, logits = _choice(head, params, inputs), _logits(inputs)

        def picked(log_p):
            return jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]

        log_p, own = picked(choice.logits(logits)), jax.nn.log_softmax(logits)
        share = jax.lax.stop_gradient(jnp.exp(choice.log_generate + picked(own) - log_p))
        more = smoothing * (picked(own) - own.mean(axis=-1)) * share
        return (weights * (-log_p + more - jax.lax.stop_gradient(more))).sum(), -log_p

    with_aux = {"argnums": (0, 1), "has_aux": True}
    (loss, nll), gradient = jax.jit(jax.value_and_grad(in_chunks, **with_aux))(params, inputs)
    (same, expected_nll), expected = jax.jit(jax.value_and_grad(of_all, **with_aux))(params, inputs)
    np.testing.assert_allclose(loss, same, rtol=1e-5)
    np.testing.assert_allclose(nll, expected_nll, rtol=1e-5)
    for (path, ours), theirs in zip(
        jax.tree_util.tree_leaves_with_path(gradient), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5, err_msg=jax.tree_util.keystr(path))
        assert np.abs(theirs).max() > 1e-3


def test_a_token_that_is_taken_for_certain_has_a_finite_loss_and_gradient():
    """And one that neither part can write is only unlikely."""
    tokens = jnp.array([[3, -1]], jnp.int32)

    def loss(gate):
        log_places = jnp.array([[[0.0, -1e9], [0.0, -1e9]]]) + jax.nn.log_sigmoid(-gate)
        choice = CopyChoice(jnp.full((1, 2), jax.nn.log_sigmoid(gate)), log_places, tokens)
        nll = jnp.full((1, 2), 300.0)
        return copy_loss(choice, jnp.array([[3, 5]]), jnp.ones((1, 2)), nll, lambda shares: jnp.float32(0))[0]

    value, gradient = jax.value_and_grad(loss)(jnp.float32(-200.0))
    np.testing.assert_allclose(value, 500.0, rtol=1e-6)
    assert np.isfinite(gradient)
