"""The random order is exactly a bijection of every epoch, whatever its size, and looks random."""

import numpy as np
import pytest

from electra_jax.data.permutation import BLOCKS_PER_WINDOW, derive_key, permute, rows_at

SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 97, 1000, 4096, 8191, 8192, 8193, 100_003]


@pytest.mark.parametrize("size", SIZES)
def test_permute_is_a_bijection(size):
    result = permute(np.arange(size), size, key=derive_key(size))
    assert result.dtype == np.int64
    np.testing.assert_array_equal(np.sort(result), np.arange(size))


def test_permute_reaches_every_place_equally_often():
    size, draws = 10, 4000
    counts = np.zeros((size, size))
    for seed in range(draws):
        counts[np.arange(size), permute(np.arange(size), size, derive_key(seed, 1))] += 1
    expected = draws / size
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 81 + 4 * np.sqrt(2 * 81)  # (10 - 1)**2 degrees of freedom, four deviations


def test_permute_has_no_linear_trace():
    result = permute(np.arange(50_000), 50_000, key=1)
    assert abs(np.corrcoef(np.arange(50_000), result)[0, 1]) < 0.02
    assert abs(np.corrcoef(result[:-1], result[1:])[0, 1]) < 0.02


def test_keys_depend_on_every_part_and_their_order():
    parts = [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1), (2**31 - 1, 10**6)]
    assert len({derive_key(*part) for part in parts}) == len(parts)


@pytest.mark.parametrize("num_rows", [1, 2, 31, 33, 1000, 8192, 8193, 2 * 8192 + 37, 20_011])
def test_each_epoch_has_every_row_once(num_rows):
    epochs = rows_at(0, 3 * num_rows, num_rows=num_rows, rows_per_block=32, seed=3).reshape(3, num_rows)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(num_rows), (3, 1)))
    if num_rows > 100:
        assert (epochs[0] != epochs[1]).mean() > 0.9


def test_any_stretch_equals_that_part_of_the_stream():
    arguments = {"num_rows": 8192 + 411, "rows_per_block": 32, "seed": 5}
    stream = rows_at(0, 30_000, **arguments)
    for position, count in [(0, 1), (8190, 5), (8600, 10), (12_345, 9000), (29_999, 1)]:
        np.testing.assert_array_equal(
            rows_at(position, count, **arguments), stream[position : position + count]
        )


def test_order_is_the_same_for_good():
    """Resumed runs depend on it: a change of these figures changes the data order of every run."""
    assert rows_at(0, 6, num_rows=100, rows_per_block=32, seed=0).tolist() == GOLDEN_SMALL
    assert rows_at(10**12, 4, num_rows=10**9, rows_per_block=32, seed=7).tolist() == GOLDEN_LARGE


def test_a_window_touches_few_blocks():
    num_rows, per_block = 10**7, 32
    size = BLOCKS_PER_WINDOW * per_block
    window = rows_at(5 * size, size, num_rows=num_rows, rows_per_block=per_block, seed=0)
    assert len(np.unique(window // per_block)) == BLOCKS_PER_WINDOW
    # ... which come from the whole corpus.
    assert np.ptp(window) > 0.95 * num_rows


GOLDEN_SMALL = [70, 64, 74, 29, 0, 34]
GOLDEN_LARGE = [421305222, 614951725, 755464184, 614951736]
