"""Batches of rows: `batch(step)` is a pure function, and the iterators around it only read ahead."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import SupportsIndex

import grain
import numpy as np

from electra_jax.data.batch_sizes import BatchSizes
from electra_jax.data.permutation import rows_at
from electra_jax.data.token_rows import TokenRows
from electra_jax.errors import UserError

# Evaluation rows keep one order for good, so that the first few batches are a fair and constant sample.
_EVAL_SEED = 0


def batch(
    rows: TokenRows,
    *,
    batch_size: int | BatchSizes,
    seed: int,
    step: int,
    host: int = 0,
    hosts: int = 1,
) -> np.ndarray:
    """Return one host's share of the batch of a step.

    Batches follow each other in an endless stream of epochs, each in another order; a batch at the end of an
    epoch runs on into the next one. Host h gets rows [h * batch_size // hosts, (h + 1) * batch_size // hosts)
    of the batch, which does not depend on the number of hosts.

    Args:
        rows: the training rows.
        batch_size: rows in the batch, over all hosts, or in that of each step.
        seed: of the order.
        step: from 0.
        host: which host.
        hosts: how many there are; must divide batch_size.

    Returns:
        int32 ``[batch_size // hosts, length]``.

    Raises:
        UserError: hosts does not divide batch_size.
    """
    sizes = _sizes(batch_size)
    share = _host_share(sizes.at(step), hosts)
    position = sizes.before(step) + host * share
    order = rows_at(position, share, num_rows=rows.num_rows, rows_per_block=rows.rows_per_block, seed=seed)
    return rows.read(order)


def train_batches(
    rows: TokenRows,
    *,
    batch_size: int | BatchSizes,
    seed: int,
    start_step: int,
    host: int = 0,
    hosts: int = 1,
    prefetch: int,
) -> Iterator[np.ndarray]:
    """Return an endless iterator of ``batch(step)`` from ``start_step`` on, read ahead in a thread.

    Args:
        rows: the training rows.
        batch_size: rows in a batch, over all hosts, or in that of each step.
        seed: of the order.
        start_step: step of the first batch.
        host: which host.
        hosts: how many there are; must divide batch_size.
        prefetch: batches read ahead, at least 1.

    Returns:
        Iterator of int32 ``[batch_size // hosts, length]``.

    Raises:
        UserError: hosts does not divide batch_size.
    """
    sizes = _sizes(batch_size)
    for size in sizes.rows:
        _host_share(size, hosts)
    steps = _Steps(rows, sizes, seed, start_step, host, hosts)
    # One thread keeps the blocks of a window in the cache; reading is far faster than any step.
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=prefetch)
    return iter(grain.MapDataset.source(steps).to_iter_dataset(options))


def eval_batches(
    rows: TokenRows, *, batch_size: int, pad_id: int, limit: int | None, host: int = 0, hosts: int = 1
) -> Iterator[np.ndarray]:
    """Yield every row once, in a fixed order; rows of padding fill the last batch.

    Args:
        rows: the evaluation rows.
        batch_size: rows in a batch, over all hosts.
        pad_id: what the filling rows consist of.
        limit: stop after this many batches; None: after all.
        host: which host.
        hosts: how many there are; must divide batch_size.

    Yields:
        int32 ``[batch_size // hosts, length]``; as many batches on every host.

    Raises:
        UserError: hosts does not divide batch_size.
    """
    share = _host_share(batch_size, hosts)
    total = -(-rows.num_rows // batch_size)
    for step in range(total if limit is None else min(limit, total)):
        position = min(step * batch_size + host * share, rows.num_rows)
        real = min(share, rows.num_rows - position)
        result = np.full((share, rows.sequence_length), pad_id, np.int32)
        result[:real] = rows.read(
            rows_at(
                position, real, num_rows=rows.num_rows, rows_per_block=rows.rows_per_block, seed=_EVAL_SEED
            )
        )
        yield result


class _Steps:
    """The batches from a step on, as the random-access sequence that Grain asks for."""

    def __init__(
        self, rows: TokenRows, sizes: BatchSizes, seed: int, start_step: int, host: int, hosts: int
    ) -> None:
        self._rows, self._sizes, self._seed = rows, sizes, seed
        self._start_step, self._host, self._hosts = start_step, host, hosts

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: SupportsIndex) -> np.ndarray:
        return batch(
            self._rows,
            batch_size=self._sizes,
            seed=self._seed,
            step=self._start_step + int(index),
            host=self._host,
            hosts=self._hosts,
        )


def _sizes(batch_size: int | BatchSizes) -> BatchSizes:
    return BatchSizes.constant(batch_size) if isinstance(batch_size, int) else batch_size


def _host_share(batch_size: int, hosts: int) -> int:
    if batch_size % hosts:
        raise UserError(
            f"train.batch_size {batch_size} cannot be shared by {hosts} hosts: "
            f"set it to a multiple of {hosts}"
        )
    return batch_size // hosts
