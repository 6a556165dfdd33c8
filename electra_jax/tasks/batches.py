"""Batches of encoded rows: bucketed by length, every row once per epoch, in an order that needs no state."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from electra_jax.model.inputs import EncoderInputs
from electra_jax.tasks.protocol import NO_TARGET, Rows, TaskBatch


@dataclass(frozen=True)
class BatchPlan:
    """Which rows a batch consists of, before its arrays are made.

    Attributes:
        length: every row is padded to it.
        rows: int64 ``[batch]``, numbers of rows; -1 is padding, a row that only fills the batch.
    """

    length: int
    rows: np.ndarray  # int64 [batch]


def usable_buckets(buckets: Sequence[int], longest: int) -> tuple[int, ...]:
    """Return the buckets shorter than ``longest``, and ``longest`` itself."""
    return (*(bucket for bucket in buckets if bucket < longest), longest)


def plan_batches(
    lengths: np.ndarray, batch_size: int, buckets: Sequence[int], rng: np.random.Generator | None
) -> list[BatchPlan]:
    """Divide rows into batches of similar length, every row once; only the last batch may need padding rows.

    Rows that do not fill a batch of their bucket move on to the next longer bucket.

    Args:
        lengths: int ``[rows]``.
        batch_size: rows of a batch.
        buckets: lengths, increasing.
        rng: shuffles the rows within each bucket, and then the batches; None keeps the order, for evaluation.
    """
    assigned = np.searchsorted(buckets, lengths).clip(max=len(buckets) - 1)
    plans: list[BatchPlan] = []
    waiting = np.zeros(0, np.int64)
    for number, bucket in enumerate(buckets):
        members = np.flatnonzero(assigned == number)
        if rng is not None:
            members = rng.permutation(members)
        waiting = np.concatenate([waiting, members])
        whole = len(waiting) // batch_size * batch_size
        plans += [BatchPlan(bucket, rows) for rows in waiting[:whole].reshape(-1, batch_size)]
        waiting = waiting[whole:]
    if len(waiting):
        length = buckets[int(assigned[waiting].max())]
        plans.append(BatchPlan(length, np.concatenate([waiting, np.full(batch_size - len(waiting), -1)])))
    if rng is not None:
        plans = [plans[i] for i in rng.permutation(len(plans))]
    return plans


def make_batch(task: str, rows: Rows, plan: BatchPlan, pad_id: int, *, targets: bool) -> TaskBatch:
    """Make the arrays of a planned batch.

    Args:
        task: the task's name.
        rows: the rows that the plan's numbers refer to.
        plan: which rows, and the length they are padded to.
        pad_id: the id of [PAD].
        targets: whether to include the targets; prediction does without.
    """
    count, length = len(plan.rows), plan.length
    ids = np.full((count, length), pad_id, np.int32)
    types = np.zeros((count, length), np.int32)
    real = np.zeros((count, length), np.int32)
    for position, row in enumerate(plan.rows):
        if row >= 0:
            size = len(rows.input_ids[row])
            ids[position, :size] = rows.input_ids[row]
            types[position, :size] = rows.token_type_ids[row]
            real[position, :size] = 1
    positions = np.broadcast_to(np.arange(length, dtype=np.int32), (count, length)).copy()
    return TaskBatch(
        inputs=EncoderInputs(ids, types, positions, real),  # type: ignore[arg-type]
        targets={name: _target(values, plan) for name, values in rows.targets.items()} if targets else {},
        weights=(plan.rows >= 0).astype(np.float32),  # type: ignore[arg-type]
        task=task,
    )


def _target(values: np.ndarray | Sequence[np.ndarray], plan: BatchPlan) -> Any:
    if isinstance(values, np.ndarray):
        real = (plan.rows >= 0).reshape(-1, *[1] * (values.ndim - 1))
        return np.where(real, values[plan.rows], np.zeros((), values.dtype))
    out = np.full((len(plan.rows), plan.length), NO_TARGET, np.int32)
    for position, row in enumerate(plan.rows):
        if row >= 0:
            out[position, : len(values[row])] = values[row]
    return out


def share_of(batch: Any, host: int, hosts: int) -> Any:
    """Return the ``host``-th of ``hosts`` equal parts of a batch."""

    def part(array: np.ndarray) -> np.ndarray:
        size = array.shape[0] // hosts
        return array[host * size : (host + 1) * size]

    return jax.tree.map(part, batch)


@dataclass(frozen=True)
class TrainingOrder:
    """Which batch each step trains on, as a pure function of the seed and the step.

    Attributes:
        lengths: of the training rows of each task, by name.
        batch_size: rows of a batch.
        buckets: lengths that rows are padded to, increasing.
        seed: of the run.
        weights: relative share of each task's batches; None stands for the task's number of batches per epoch.
    """

    lengths: Mapping[str, np.ndarray]
    batch_size: int
    buckets: tuple[int, ...]
    seed: int
    weights: Mapping[str, float | None]

    def batches_per_epoch(self, task: str) -> int:
        """Return the number of batches that hold every row of a task once."""
        return -(-len(self.lengths[task]) // self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """The batches of all tasks in an epoch, added up."""
        return sum(self.batches_per_epoch(task) for task in self.lengths)

    def plans(self, start: int, steps: int) -> Iterator[tuple[str, BatchPlan]]:
        """Yield (task, plan) for the steps ``start`` … ``steps`` - 1."""
        names = list(self.lengths)
        shares = np.array([self.weights.get(name) or self.batches_per_epoch(name) for name in names], float)
        chosen = np.random.default_rng([self.seed, 1]).choice(len(names), size=steps, p=shares / shares.sum())
        done = np.bincount(chosen[:start], minlength=len(names))

        @lru_cache(maxsize=2 * len(names))
        def epoch(task: int, number: int) -> list[BatchPlan]:
            rng = np.random.default_rng([self.seed, 0, task, number])
            return plan_batches(self.lengths[names[task]], self.batch_size, self.buckets, rng)

        for task in chosen[start:]:
            number, position = divmod(int(done[task]), self.batches_per_epoch(names[task]))
            yield names[task], epoch(int(task), number)[position]
            done[task] += 1
