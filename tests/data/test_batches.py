"""Batches are a pure function of the step, and hosts share them exactly."""

import itertools

import numpy as np
import pytest

from electra_jax.data.batches import batch, eval_batches, train_batches
from electra_jax.data.host_share import HostShare
from electra_jax.errors import UserError

PAD = 0


class NumberedRows:
    """Stands in for prepared rows: row r is filled with r + 1."""

    rows_per_block = 32
    sequence_length = 3

    def __init__(self, num_rows):
        self.num_rows = num_rows

    def read(self, rows):
        return np.repeat(rows[:, None] + 1, self.sequence_length, axis=1).astype(np.int32)


@pytest.mark.parametrize("num_rows", [1, 7, 101, 8192, 10_007])
@pytest.mark.parametrize("batch_size", [8, 64])
def test_stream_has_every_row_once_an_epoch(num_rows, batch_size):
    rows = NumberedRows(num_rows)
    steps = -(-2 * num_rows // batch_size)
    stream = np.concatenate([batch(rows, batch_size=batch_size, seed=1, step=s)[:, 0] for s in range(steps)])
    for epoch in range(2):
        numbers = stream[epoch * num_rows : (epoch + 1) * num_rows]
        np.testing.assert_array_equal(np.sort(numbers), np.arange(1, num_rows + 1))


@pytest.mark.parametrize("hosts", [1, 2, 4])
@pytest.mark.parametrize("step", [0, 3, 1250, 10**9])
def test_hosts_share_the_global_batch(hosts, step):
    rows = NumberedRows(10_007)
    whole = batch(rows, batch_size=16, seed=2, step=step)
    shares = [
        batch(rows, batch_size=16, seed=2, step=step, share=HostShare((h,), hosts)) for h in range(hosts)
    ]
    assert {len(share) for share in shares} == {16 // hosts}
    np.testing.assert_array_equal(np.concatenate(shares), whole)


@pytest.mark.parametrize("prefetch", [1, 8])
def test_resuming_equals_running_on(prefetch):
    rows = NumberedRows(1009)
    share = HostShare((1, 2, 5), 8)
    options = {"batch_size": 64, "seed": 0, "share": share, "prefetch": prefetch}
    whole = list(itertools.islice(train_batches(rows, start_step=0, **options), 40))
    resumed = list(itertools.islice(train_batches(rows, start_step=25, **options), 15))
    np.testing.assert_array_equal(whole[25:], resumed)
    for step, result in enumerate(whole):
        expected = batch(rows, batch_size=64, seed=0, step=step)[[*range(8, 24), *range(40, 48)]]
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == np.int32


def test_seeds_give_other_orders():
    rows = NumberedRows(5000)
    first, second = (batch(rows, batch_size=256, seed=seed, step=0) for seed in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize("hosts", [1, 2, 4])
@pytest.mark.parametrize("num_rows", [1, 16, 17, 8209])
def test_evaluation_has_every_row_once(num_rows, hosts):
    rows = NumberedRows(num_rows)
    batches = [
        np.concatenate(parts)
        for parts in zip(
            *(
                eval_batches(rows, batch_size=16, pad_id=PAD, limit=None, share=HostShare((host,), hosts))
                for host in range(hosts)
            ),
            strict=True,
        )
    ]
    assert len(batches) == -(-num_rows // 16)
    assert {result.shape for result in batches} == {(16, 3)}
    numbers = np.concatenate(batches)
    real = numbers[(numbers != PAD).all(axis=1)]
    assert (numbers == PAD).sum() == 3 * (len(batches) * 16 - num_rows)
    np.testing.assert_array_equal(np.sort(real[:, 0]), np.arange(1, num_rows + 1))


def test_limited_evaluation_is_the_beginning_of_the_whole():
    rows = NumberedRows(997)
    whole = list(eval_batches(rows, batch_size=16, pad_id=PAD, limit=None))
    limited = list(eval_batches(rows, batch_size=16, pad_id=PAD, limit=5))
    np.testing.assert_array_equal(limited, whole[:5])
    # ... and a sample of all rows, where storage order would give the first 80.
    assert np.max(limited) > 500


@pytest.mark.parametrize("num_rows", [1, 17, 37, 48])
def test_evaluation_of_a_host_with_scattered_parts_is_its_part_of_the_whole(num_rows):
    rows, share = NumberedRows(num_rows), HostShare((0, 3, 4, 7), 8)
    whole = eval_batches(rows, batch_size=16, pad_id=PAD, limit=None)
    own = eval_batches(rows, batch_size=16, pad_id=PAD, limit=None, share=share)
    for all_rows, some in zip(whole, own, strict=True):
        np.testing.assert_array_equal(some, all_rows[[0, 1, 6, 7, 8, 9, 14, 15]])


def test_batch_size_must_be_a_multiple_of_the_parts():
    for call in (
        lambda rows: batch(rows, batch_size=10, seed=0, step=0, share=HostShare((1,), 4)),
        lambda rows: train_batches(
            rows, batch_size=10, seed=0, start_step=0, share=HostShare((1,), 4), prefetch=1
        ),
        lambda rows: list(eval_batches(rows, batch_size=10, pad_id=0, limit=None, share=HostShare((1,), 4))),
    ):
        with pytest.raises(UserError, match="batch_size 10 cannot be cut into 4 equal parts"):
            call(NumberedRows(50))


def test_a_failure_to_read_arrives_as_it_is():
    class Damaged(NumberedRows):
        def read(self, rows):
            raise UserError("the shard is damaged")

    with pytest.raises(UserError, match="the shard is damaged"):
        next(train_batches(Damaged(50), batch_size=10, seed=0, start_step=0, prefetch=2))
