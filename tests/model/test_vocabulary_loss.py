"""Cross-entropy in chunks against plain JAX, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.model.cpu_gradients import CPU_OPERATIONS
from electra_jax.model.operations import PLAIN_OPERATIONS
from electra_jax.model.vocabulary_loss import columns_per_chunk, first_largest, vocabulary_loss

BATCH, LENGTH, FEATURES, ROWS = 3, 12, 5, 11


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, LENGTH, FEATURES)).astype(np.float32)
    table = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    bias = rng.normal(size=ROWS).astype(np.float32)
    ids = rng.integers(0, ROWS, (BATCH, LENGTH)).astype(np.int32)
    weights = rng.integers(0, 2, (BATCH, LENGTH)).astype(np.float32)
    return x, table, bias, ids, weights


def plain(x, table, bias, ids, weights):
    log_p = jax.nn.log_softmax(x @ table.T + bias)
    nll = -jnp.take_along_axis(log_p, ids[..., None], axis=-1)[..., 0]
    return (nll * weights).sum(), nll


@pytest.mark.parametrize("operations", [PLAIN_OPERATIONS, CPU_OPERATIONS], ids=["plain", "cpu"])
@pytest.mark.parametrize("chunk_tokens", [1, 9, 1000])
def test_values_and_gradients_are_those_of_all_logits_at_once(arrays, operations, chunk_tokens):
    *differentiated, ids, weights = arrays

    def chunked(x, table, bias):
        total, tokens = vocabulary_loss(x, table, bias, ids, weights, operations, chunk_tokens)
        return 3.0 * total, tokens

    def reference(x, table, bias):
        total, nll = plain(x, table, bias, ids, weights)
        return 3.0 * total, nll

    (got, tokens), by = jax.jit(jax.value_and_grad(chunked, (0, 1, 2), has_aux=True))(*differentiated)
    (expected, nll), by_expected = jax.value_and_grad(reference, (0, 1, 2), has_aux=True)(*differentiated)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(tokens.nll, nll, rtol=1e-5, atol=1e-6)
    logits = arrays[0] @ arrays[1].T + arrays[2]
    np.testing.assert_array_equal(tokens.predictions, logits.argmax(-1))
    for ours, theirs in zip(by, by_expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)
    without_gradient = vocabulary_loss(*arrays, operations, chunk_tokens)
    np.testing.assert_allclose(without_gradient[0], expected / 3, rtol=1e-6)
    np.testing.assert_array_equal(without_gradient[1].predictions, tokens.predictions)


def test_no_array_holds_the_logits_of_all_tokens(arrays):
    x, table, bias, ids, weights = arrays

    def loss(x, table, bias):
        return vocabulary_loss(x, table, bias, ids, weights, PLAIN_OPERATIONS, BATCH * 2)[0]

    program = jax.jit(jax.grad(loss, (0, 1, 2))).lower(x, table, bias).as_text()
    assert f"{BATCH}x2x{ROWS}x" in program
    assert f"{BATCH}x{LENGTH}x{ROWS}x" not in program
    assert f"{LENGTH // 2}x{BATCH}x2x{ROWS}x" not in program


def test_chunks_divide_the_length():
    assert columns_per_chunk(4, 12, 24) == 6
    assert columns_per_chunk(4, 12, 21) == 4  # five columns would not divide it
    assert columns_per_chunk(4, 12, 1) == 1
    assert columns_per_chunk(4, 13, 24) == 1


def test_first_of_equal_logits():
    np.testing.assert_array_equal(first_largest(jnp.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])), [1, 0])
