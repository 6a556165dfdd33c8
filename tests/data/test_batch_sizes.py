"""Batches that grow: how many rows each step has, and where it begins in the stream of rows."""

import numpy as np
import pytest
from small_run import small_config
from test_batches import NumberedRows

from electra_jax.data.batch_sizes import BatchSizes
from electra_jax.data.batches import batch, train_batches
from electra_jax.data.host_share import HostShare
from electra_jax.errors import UserError
from electra_jax.training.pretraining import batch_sizes

GROWING = BatchSizes((0, 3, 10), (8, 16, 32))


def sizes_of(schedule, **train):
    config = small_config(train={"steps": 1000, "batch_size": 8, **train, "batch_size_schedule": schedule})
    return batch_sizes(config.train)


def test_rows_before_a_step_are_those_of_all_batches_before_it():
    rows = [8] * 3 + [16] * 7 + [32] * 20
    assert [GROWING.at(step) for step in range(30)] == rows
    assert [GROWING.before(step) for step in range(31)] == [0, *np.cumsum(rows)]
    assert BatchSizes.constant(8).before(10**9) == 8 * 10**9


def test_stream_of_growing_batches_has_every_row_once_an_epoch():
    rows = NumberedRows(101)
    stream = np.concatenate([batch(rows, batch_size=GROWING, seed=1, step=s)[:, 0] for s in range(12)])
    np.testing.assert_array_equal(np.sort(stream[:101]), np.arange(1, 102))
    alike = np.concatenate([batch(rows, batch_size=8, seed=1, step=s)[:, 0] for s in range(25)])
    np.testing.assert_array_equal(stream, alike)  # the same rows in the same order, cut elsewhere


@pytest.mark.parametrize("start", [0, 2, 3, 11])
def test_hosts_and_a_resumed_run_read_the_same_growing_batches(start):
    rows = NumberedRows(1009)
    options = {"batch_size": GROWING, "seed": 0, "prefetch": 3}
    shares = [
        train_batches(rows, start_step=start, share=HostShare((host,), 2), **options) for host in range(2)
    ]
    for step in range(start, 14):
        whole = batch(rows, batch_size=GROWING, seed=0, step=step)
        np.testing.assert_array_equal(np.concatenate([next(share) for share in shares]), whole)


def test_every_size_is_shared_by_the_hosts():
    with pytest.raises(UserError, match="batch_size 12 cannot be cut into 8 equal parts"):
        train_batches(
            NumberedRows(50),
            batch_size=BatchSizes((0, 5), (8, 12)),
            seed=0,
            start_step=0,
            share=HostShare((7,), 8),
            prefetch=1,
        )


def test_linear_growth_is_by_whole_multiples_nearest_to_the_line():
    sizes = sizes_of({"to": 32, "begin": 0.1, "over": 0.5})
    # Multiples 1, 2, 3, 4: 1.5, 2.5 and 3.5 are a sixth, a half and five sixths of the way from step 100 to 600.
    assert sizes == BatchSizes((0, 184, 350, 517), (8, 16, 24, 32))


def test_exponential_growth_follows_its_formula():
    sizes = sizes_of({"to": 64, "shape": "exponential", "over": 0.25})
    share = np.arange(1000) / 1000
    expected = 8 * np.rint((64 - 56 * np.exp(-share / 0.25)) / 8).astype(int)
    assert [sizes.at(step) for step in range(1000)] == expected.tolist()


def test_no_schedule_is_one_size():
    assert sizes_of({}) == BatchSizes.constant(8)


@pytest.mark.parametrize("to", [4, 20, 8.5])
def test_a_size_that_is_no_multiple_is_refused(to):
    with pytest.raises(ValueError, match=r"batch_size_schedule\.to is .* whole multiples of batch_size 8"):
        sizes_of({"to": to})
