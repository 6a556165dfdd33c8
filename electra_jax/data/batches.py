"""Batches of rows: `batch(step)` is a pure function, and the iterators around it only read ahead."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import SupportsIndex

import grain
import numpy as np

from electra_jax.data.batch_sizes import BatchSizes
from electra_jax.data.host_share import HostShare
from electra_jax.data.permutation import rows_at
from electra_jax.data.token_rows import TokenRows

# Evaluation rows keep one order for good, so that the first few batches are a fair and constant sample.
_EVAL_SEED = 0
WHOLE = HostShare()


def batch(
    rows: TokenRows,
    *,
    batch_size: int | BatchSizes,
    seed: int,
    step: int,
    share: HostShare = WHOLE,
) -> np.ndarray:
    """Return one host's share of the batch of a step.

    Batches follow each other in an endless stream of epochs, each in another order; a batch at the end of an
    epoch runs on into the next one. The batch does not depend on who reads which of its rows.

    Args:
        rows: the training rows.
        batch_size: rows in the batch, over all hosts, or in that of each step.
        seed: of the order.
        step: from 0.
        share: which of the batch's rows are read.

    Returns:
        int32 ``[rows, length]``.

    Raises:
        UserError: the batch cannot be cut into the parts of the share.
    """
    sizes = _sizes(batch_size)
    before = sizes.before(step)
    orders = [
        rows_at(before + first, count, num_rows=rows.num_rows, rows_per_block=rows.rows_per_block, seed=seed)
        for first, count in share.pieces(sizes.at(step))
    ]
    return rows.read(np.concatenate(orders))


def train_batches(
    rows: TokenRows,
    *,
    batch_size: int | BatchSizes,
    seed: int,
    start_step: int,
    share: HostShare = WHOLE,
    prefetch: int,
) -> Iterator[np.ndarray]:
    """Return an endless iterator of ``batch(step)`` from ``start_step`` on, read ahead in a thread.

    Args:
        rows: the training rows.
        batch_size: rows in a batch, over all hosts, or in that of each step.
        seed: of the order.
        start_step: step of the first batch.
        share: which of a batch's rows are read.
        prefetch: batches read ahead, at least 1.

    Returns:
        Iterator of int32 ``[rows, length]``.

    Raises:
        UserError: a batch cannot be cut into the parts of the share.
    """
    sizes = _sizes(batch_size)
    for size in sizes.rows:
        share.size(size)
    steps = _Steps(rows, sizes, seed, start_step, share)
    # One thread keeps the blocks of a window in the cache; reading is far faster than any step.
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=prefetch)
    return iter(grain.MapDataset.source(steps).to_iter_dataset(options))


def eval_batches(
    rows: TokenRows, *, batch_size: int, pad_id: int, limit: int | None, share: HostShare = WHOLE
) -> Iterator[np.ndarray]:
    """Yield every row once, in a fixed order; rows of padding fill the last batch.

    Args:
        rows: the evaluation rows.
        batch_size: rows in a batch, over all hosts.
        pad_id: what the filling rows consist of.
        limit: stop after this many batches; None: after all.
        share: which of a batch's rows are read.

    Yields:
        int32 ``[rows, length]``; as many batches on every host.

    Raises:
        UserError: a batch cannot be cut into the parts of the share.
    """
    size = share.size(batch_size)
    total = -(-rows.num_rows // batch_size)
    for step in range(total if limit is None else min(limit, total)):
        result = np.full((size, rows.sequence_length), pad_id, np.int32)
        filled = 0
        for first, count in share.pieces(batch_size):
            position = min(step * batch_size + first, rows.num_rows)
            real = min(count, rows.num_rows - position)
            result[filled : filled + real] = rows.read(
                rows_at(
                    position,
                    real,
                    num_rows=rows.num_rows,
                    rows_per_block=rows.rows_per_block,
                    seed=_EVAL_SEED,
                )
            )
            filled += count
        yield result


class _Steps:
    """The batches from a step on, as the random-access sequence that Grain asks for."""

    def __init__(
        self, rows: TokenRows, sizes: BatchSizes, seed: int, start_step: int, share: HostShare
    ) -> None:
        self._rows, self._sizes, self._seed = rows, sizes, seed
        self._start_step, self._share = start_step, share

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: SupportsIndex) -> np.ndarray:
        return batch(
            self._rows,
            batch_size=self._sizes,
            seed=self._seed,
            step=self._start_step + int(index),
            share=self._share,
        )


def _sizes(batch_size: int | BatchSizes) -> BatchSizes:
    return BatchSizes.constant(batch_size) if isinstance(batch_size, int) else batch_size
