"""Cross-entropy in chunks against plain JAX, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.model.cpu_gradients import CPU_OPERATIONS
from electra_jax.model.heads import UNUSED_ROW_LOGIT
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


def plain_repeats(x, table, bias, ids, weights):
    """Σ w · -log(1 - p) of what stands before a token in its row and is not the same, each once, token by token."""
    negative = np.zeros((BATCH, LENGTH, ROWS), bool)
    for row in range(BATCH):
        for column in range(LENGTH):
            before = {ids[row, n] for n in range(column) if weights[row, n]} - {ids[row, column]}
            negative[row, column, list(before)] = True
    p = jax.nn.softmax(x @ table.T + bias)
    return -(weights * jnp.where(negative, jnp.log(1 - p), 0.0).sum(axis=-1)).sum()


@pytest.mark.parametrize("chunk_tokens", [9, 1000])
def test_unlikelihood_of_repeats_is_that_of_sets_of_tokens(arrays, chunk_tokens):
    *differentiated, ids, weights = arrays
    weights = 2.0 * weights

    def chunked(x, table, bias):
        return vocabulary_loss(x, table, bias, ids, weights, PLAIN_OPERATIONS, chunk_tokens, 0.1, 0.5)[0]

    def reference(x, table, bias):
        smoothed = vocabulary_loss(x, table, bias, ids, weights, PLAIN_OPERATIONS, 1000, 0.1)[0]
        return smoothed + 0.5 * plain_repeats(x, table, bias, ids, weights)

    got, by = jax.jit(jax.value_and_grad(chunked, (0, 1, 2)))(*differentiated)
    expected, by_expected = jax.jit(jax.value_and_grad(reference, (0, 1, 2)))(*differentiated)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    for ours, theirs in zip(by, by_expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(chunked(*differentiated), expected, rtol=1e-5)


def test_unlikelihood_is_finite_where_a_repeat_is_certain():
    certain = np.array([[[50.0, 0.0], [0.0, 50.0], [50.0, 0.0]]], np.float32)
    ids, ones = np.array([[0, 1, 1]], np.int32), np.ones((1, 3), np.float32)
    table, bias = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)

    def loss(x):
        return vocabulary_loss(x, table, bias, ids, ones, PLAIN_OPERATIONS, 9, 0.0, 1.0)[0]

    total, by = jax.jit(jax.value_and_grad(loss))(certain)
    np.testing.assert_allclose(total, 50.0 - np.log(1e-5), rtol=1e-4)
    assert np.isfinite(by).all()


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


SMOOTHED = 0.3


@pytest.mark.parametrize("operations", [PLAIN_OPERATIONS, CPU_OPERATIONS], ids=["plain", "cpu"])
@pytest.mark.parametrize("chunk_tokens", [9, 1000])
def test_smoothed_targets_are_a_mixture_with_all_entries_of_the_vocabulary(arrays, operations, chunk_tokens):
    """Against the cross-entropy to the mixture written out; the last rows only round the table up."""
    x, table, bias, ids, weights = arrays
    entries = ROWS - 3
    bias = np.where(np.arange(ROWS) < entries, bias, np.float32(UNUSED_ROW_LOGIT))
    table, ids = table * (np.arange(ROWS) < entries)[:, None], ids % entries
    mixture = (1 - SMOOTHED) * np.eye(ROWS, dtype=np.float32)[ids]
    mixture[..., :entries] += SMOOTHED / entries

    def smoothed(x, table, bias):
        loss = vocabulary_loss(x, table, bias, ids, weights, operations, chunk_tokens, SMOOTHED)
        return 2.0 * loss[0], loss[1]

    def reference(x, table, bias):
        log_p = jax.nn.log_softmax(x @ table.T + bias)
        return -2.0 * (jnp.where(mixture > 0, mixture * log_p, 0.0).sum(axis=-1) * weights).sum()

    (got, tokens), by = jax.jit(jax.value_and_grad(smoothed, (0, 1, 2), has_aux=True))(x, table, bias)
    expected, by_expected = jax.value_and_grad(reference, (0, 1, 2))(x, table, bias)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    for ours, theirs in zip(by, by_expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=3e-6)
    np.testing.assert_array_equal(by[2][entries:], 0)
    # What is known of each token is without smoothing.
    np.testing.assert_allclose(tokens.nll, plain(x, table, bias, ids, weights)[1], rtol=1e-5, atol=1e-6)
    without_gradient = vocabulary_loss(x, table, bias, ids, weights, operations, chunk_tokens, SMOOTHED)
    np.testing.assert_allclose(without_gradient[0], got / 2, rtol=1e-6)


def test_the_best_prediction_for_a_smoothed_target_costs_the_entropy_of_the_mixture():
    """1 - ε at the token and ε/N everywhere: Szegedy et al. 2016, section 7."""
    entries = 4
    p = np.full(entries, SMOOTHED / entries)
    p[1] += 1 - SMOOTHED
    logits = np.log(p)
    args = (np.array([[[1]]]), np.array([[0, 1, 0, 0]]).T, logits, np.array([[1]]), np.ones((1, 1)))
    x, table, bias, ids, weights = (np.asarray(a, np.float32) for a in args)
    table *= 0
    loss = jax.value_and_grad(
        lambda bias: vocabulary_loss(
            x, table, bias, ids.astype(np.int32), weights, PLAIN_OPERATIONS, 9, SMOOTHED
        )[0]
    )
    value, gradient = loss(bias)
    np.testing.assert_allclose(value, -(p * logits).sum(), rtol=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-7)


def test_a_smoothing_of_0_is_none_to_the_bit(arrays):
    x, table, bias, ids, weights = arrays

    def loss(*differentiated, more=()):
        return vocabulary_loss(*differentiated, ids, weights, PLAIN_OPERATIONS, 9, *more)

    plainly, zero = (
        jax.jit(jax.value_and_grad(lambda *a, more=more: loss(*a, more=more), (0, 1, 2), has_aux=True))(
            x, table, bias
        )
        for more in ((), (0.0,))
    )
    jax.tree.map(np.testing.assert_array_equal, zero, plainly)
    nll = np.asarray(zero[0][1].nll, np.float64)
    np.testing.assert_allclose(zero[0][0], (nll * weights).sum(), rtol=1e-6)  # sums differ in their order
