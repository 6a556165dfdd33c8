"""Words for dropout: uniform, independent of each other, and the same on every mesh."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from scipy import stats

from electra_jax.model.dropout import dropout, dropout_bits

SHAPE = (64, 4, 64, 64)  # 2²⁰ words
# Below this a test of a fixed seed says that something is wrong; some hundred are made.
LEAST = 1e-6


def _words(seed=0, shape=SHAPE):
    return np.asarray(jax.jit(dropout_bits, static_argnums=1)(jax.random.key(seed), shape))


def _fits(observed, expected):
    assert stats.chisquare(observed, expected).pvalue > LEAST


def _independent(a, b):
    """Events a and b, bool arrays of the same shape, by their two-by-two table."""
    table = np.array([[(x & y).sum() for y in (b, ~b)] for x in (a, ~a)])
    assert stats.chi2_contingency(table, correction=False).pvalue > LEAST, table


@pytest.mark.parametrize("seed", [0, 1, 2**31])
def test_every_byte_of_the_words_is_uniform(seed):
    words = _words(seed)
    for byte in words.reshape(-1, 1).view(np.uint8).T:
        _fits(np.bincount(byte, minlength=256), np.full(256, words.size / 256))


def test_every_bit_is_a_fair_coin_and_no_two_bits_agree_too_often():
    bits = (_words().ravel()[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    signs = 2.0 * bits - 1.0
    # Sums of n independent signs have deviation √n; 32 · 33 / 2 of them are looked at.
    sums = np.tril(signs.T @ signs, -1), signs.sum(axis=0)
    limit = stats.norm.isf(LEAST) * np.sqrt(len(bits))
    assert max(np.abs(s).max() for s in sums) < limit


def test_how_many_of_a_row_are_dropped_is_binomial():
    dropped = (_words(3, (4096, 256)) < 0.1 * 2**32).sum(axis=1)
    edges = np.arange(16, 36)
    observed = np.histogram(dropped, bins=[0, *edges, 257])[0]
    below = stats.binom.cdf([*(edges - 1), 256], 256, 0.1)
    _fits(observed, np.diff(below, prepend=0.0) * 4096)


@pytest.mark.parametrize(
    ("axis", "distance"), [(a, d) for a, size in enumerate(SHAPE) for d in (1, 2, 16, 32) if d < size]
)
def test_neighbours_along_every_axis_are_dropped_independently(axis, distance):
    dropped = _words(5) < 0.1 * 2**32
    n = dropped.shape[axis] - distance
    _independent(dropped.take(range(n), axis), dropped.take(range(distance, n + distance), axis))


def test_layers_and_steps_have_masks_of_their_own():
    steps = [jax.random.fold_in(jax.random.key(0), step) for step in range(3)]
    keys = [jax.random.fold_in(step, layer) for step in steps for layer in range(4)]
    masks = [np.asarray(dropout_bits(key, (64, 64, 64))) < 0.1 * 2**32 for key in keys]
    for a, b in itertools.combinations(masks, 2):
        _independent(a, b)


def test_rows_repeat_no_words_of_other_rows():
    # Of 2²⁰ words, 2⁴⁰ / 2³³ = 128 pairs are equal by chance; a row that repeats another would add 2¹⁴.
    repeated = SHAPE[0] * 2**14 - np.unique(_words(7)).size
    assert stats.poisson.sf(repeated, 128) > LEAST


def test_a_mask_does_not_depend_on_how_the_array_lies_over_devices():
    mesh = jax.make_mesh((4, 2), ("data", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    x = jnp.ones((8, 4, 6, 5))
    alone = jax.jit(lambda x, key: dropout(x, 0.3, key))(x, jax.random.key(1))
    for spec in (
        PartitionSpec("data", "tensor"),
        PartitionSpec(("data", "tensor")),
        PartitionSpec(None, "data"),
    ):
        laid = jax.device_put(x, NamedSharding(mesh, spec))
        spread = jax.jit(lambda x, key: dropout(x, 0.3, key))(laid, jax.random.key(1))
        np.testing.assert_array_equal(spread, alone)
