"""Batches of encoded rows: bucketed by length, every row once per epoch, in an order that needs no state."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from electra_jax.model.inputs import EncoderInputs
from electra_jax.tasks.protocol import NO_TARGET, Rows, TaskBatch

# Of the rows of a bucket, this share has no longer targets than its batches; the others go to a longer bucket.
_FITTING_TARGETS = 0.95
_TARGET_STEP = 8


@dataclass(frozen=True)
class Bucket:
    """The shape of a batch.

    Attributes:
        length: every row is padded to it.
        rows: of a batch.
        target_length: every text to be written is padded to it; 0 where there is none.
    """

    length: int
    rows: int
    target_length: int = 0


@dataclass(frozen=True)
class BatchPlan:
    """Which rows a batch consists of, before its arrays are made.

    Attributes:
        length: every row is padded to it.
        rows: int64 ``[batch]``, numbers of rows; -1 is padding, a row that only fills the batch.
        target_length: every text to be written is padded to it; 0 where there is none.
    """

    length: int
    rows: np.ndarray  # int64 [batch]
    target_length: int = 0


def usable_buckets(buckets: Sequence[int], longest: int) -> tuple[int, ...]:
    """Return the buckets shorter than ``longest``, and ``longest`` itself."""
    return (*(bucket for bucket in buckets if bucket < longest), longest)


def widened(buckets: Sequence[int], longest: int) -> tuple[int, ...]:
    """Return the buckets, with longer ones, each by about a quarter, until ``longest`` fits.

    Rows of several segments may be longer than a text can be.
    """
    found = list(buckets)
    while found[-1] < longest:
        found.append(-(-found[-1] * 5 // 4 // 32) * 32)
    return tuple(found)


def plan_batches(
    lengths: np.ndarray, batch_size: int, buckets: Sequence[int], rng: np.random.Generator | None
) -> list[BatchPlan]:
    """Divide rows into batches of similar length, as `plan_buckets` does, all of ``batch_size`` rows.

    Args:
        lengths: int ``[rows]``.
        batch_size: rows of a batch.
        buckets: lengths, increasing.
        rng: see `plan_buckets`.
    """
    shapes = [Bucket(length, batch_size) for length in buckets]
    return plan_buckets(_assigned(lengths, buckets), shapes, rng)


def _assigned(lengths: np.ndarray, buckets: Sequence[int]) -> np.ndarray:
    return np.searchsorted(buckets, lengths).clip(max=len(buckets) - 1)


def plan_buckets(
    assigned: np.ndarray, buckets: Sequence[Bucket], rng: np.random.Generator | None
) -> list[BatchPlan]:
    """Divide rows into batches, every row once; only the last batch may need padding rows.

    Rows that do not fill a batch of their bucket move on to the next longer bucket.

    Args:
        assigned: int ``[rows]``, the number of the shortest bucket that each row fits.
        buckets: increasing in all lengths, and not increasing in rows.
        rng: shuffles the rows within each bucket, and then the batches; None keeps the order, for evaluation.
    """
    plans: list[BatchPlan] = []
    waiting = np.zeros(0, np.int64)
    for number, bucket in enumerate(buckets):
        members = np.flatnonzero(assigned == number)
        if rng is not None:
            members = rng.permutation(members)
        waiting = np.concatenate([waiting, members])
        whole = len(waiting) // bucket.rows * bucket.rows
        plans += [
            BatchPlan(bucket.length, rows, bucket.target_length)
            for rows in waiting[:whole].reshape(-1, bucket.rows)
        ]
        waiting = waiting[whole:]
    if len(waiting):
        bucket = buckets[int(assigned[waiting].max())]
        filling = np.full(bucket.rows - len(waiting), -1)
        plans.append(BatchPlan(bucket.length, np.concatenate([waiting, filling]), bucket.target_length))
    if rng is not None:
        plans = [plans[i] for i in rng.permutation(len(plans))]
    return plans


def buckets_with_targets(
    lengths: np.ndarray, target_lengths: np.ndarray, buckets: Sequence[int]
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Return for rows with a text to write the bucket of each, and (length, target length) of the buckets.

    There is one bucket for each of ``buckets`` that occurs, so that few programs are compiled. Its targets may be as
    long as those of 19 in 20 of its rows; rows with longer ones go to the next bucket that has room for them.

    Args:
        lengths: int ``[rows]``.
        target_lengths: int ``[rows]``.
        buckets: lengths, increasing.
    """
    by_length = _assigned(lengths, buckets)
    used = np.unique(by_length)
    room = [
        np.quantile(target_lengths[by_length == number], _FITTING_TARGETS, method="higher") for number in used
    ]
    room[-1] = target_lengths.max()
    rounded = -(-np.maximum.accumulate(np.array(room, np.int64)) // _TARGET_STEP) * _TARGET_STEP
    assigned = np.maximum(np.searchsorted(used, by_length), np.searchsorted(rounded, target_lengths))
    return assigned, [(buckets[number], int(most)) for number, most in zip(used, rounded, strict=True)]


def make_batch(task: str, rows: Rows, plan: BatchPlan, pad_id: int, *, targets: bool) -> TaskBatch:
    """Make the arrays of a planned batch.

    Args:
        task: the task's name.
        rows: the rows that the plan's numbers refer to.
        plan: which rows, and the length they are padded to.
        pad_id: the id of [PAD].
        targets: whether to include the targets; prediction does without.
    """
    shape = (len(plan.rows), *np.shape(rows.input_ids[0])[:-1], plan.length)
    ids = np.full(shape, pad_id, np.int32)
    types = np.zeros(shape, np.int32)
    segments = np.zeros(shape, np.int32)
    for position, row in enumerate(plan.rows):
        if row >= 0:
            size = np.shape(rows.input_ids[row])[-1]
            ids[position, ..., :size] = rows.input_ids[row]
            types[position, ..., :size] = rows.token_type_ids[row]
            segments[position, ..., :size] = rows.segment_ids[row] if len(rows.segment_ids) else 1
    positions = np.broadcast_to(np.arange(plan.length, dtype=np.int32), shape).copy()
    if len(rows.segment_ids):
        positions = _positions_in_segments(segments)
    weights = (plan.rows >= 0).astype(np.float32)
    wanted = (
        {name: _target(values, plan, plan.length) for name, values in rows.targets.items()} if targets else {}
    )
    if targets and len(rows.target_ids):
        wanted["target_ids"] = _target(rows.target_ids, plan, plan.target_length)
        weights = (wanted["target_ids"] != NO_TARGET).sum(axis=1, dtype=np.float32)
    return TaskBatch(
        inputs=EncoderInputs(ids, types, positions, segments),  # type: ignore[arg-type]
        targets=wanted,
        weights=weights,  # type: ignore[arg-type]
        numbers=np.where(plan.rows >= 0, rows.numbers(np.maximum(plan.rows, 0)), 0),  # type: ignore[arg-type]
        task=task,
    )


def _positions_in_segments(segments: np.ndarray) -> np.ndarray:
    """Return int32 positions from 0 on in each segment, and 0 for padding; ``[…, length]`` both."""
    columns = np.broadcast_to(np.arange(segments.shape[-1]), segments.shape)
    begins = np.diff(segments, axis=-1, prepend=-1) != 0
    starts = np.maximum.accumulate(np.where(begins, columns, 0), axis=-1)
    return np.where(segments > 0, columns - starts, 0).astype(np.int32)


def _target(values: np.ndarray | Sequence[np.ndarray], plan: BatchPlan, length: int) -> Any:
    if isinstance(values, np.ndarray):
        real = (plan.rows >= 0).reshape(-1, *[1] * (values.ndim - 1))
        return np.where(real, values[plan.rows], np.zeros((), values.dtype))
    out = np.full((len(plan.rows), length), NO_TARGET, np.int32)
    for position, row in enumerate(plan.rows):
        if row >= 0:
            out[position, : len(values[row])] = values[row]
    return out


@dataclass(frozen=True)
class TrainingOrder:
    """Which batch each step trains on, as a pure function of the seed and the step.

    Attributes:
        lengths: of the training rows of each task, by name.
        batch_size: rows of a batch.
        buckets: lengths that rows are padded to, increasing.
        seed: of the run.
        weights: relative share of each task's batches; None stands for the task's number of batches per epoch.
        target_lengths: of the texts to be written, of tasks that have them.
        batch_tokens: tokens of a batch, padding and targets included; its rows are then a multiple of ``batch_size``,
            at least one. None: ``batch_size`` rows.
        texts_per_row: of tasks whose rows hold several texts, how many; see `Rows`.
    """

    lengths: Mapping[str, np.ndarray]
    batch_size: int
    buckets: tuple[int, ...]
    seed: int
    weights: Mapping[str, float | None]
    target_lengths: Mapping[str, np.ndarray] = field(default_factory=dict)
    batch_tokens: int | None = None
    texts_per_row: Mapping[str, int] = field(default_factory=dict)

    def batches_per_epoch(self, task: str) -> int:
        """Return the number of batches that hold every row of a task once."""
        if self.batch_tokens is None:
            return -(-len(self.lengths[task]) // self.batch_size)
        return len(plan_buckets(*self._bucketed(task), None))

    @property
    def steps_per_epoch(self) -> int:
        """The batches of all tasks in an epoch, added up."""
        return sum(self.batches_per_epoch(task) for task in self.lengths)

    def plans(self, start: int, steps: int) -> Iterator[tuple[str, BatchPlan]]:
        """Yield (task, plan) for the steps ``start`` … ``steps`` - 1."""
        names = list(self.lengths)
        sizes = {name: self.batches_per_epoch(name) for name in names}
        shares = np.array([self.weights.get(name) or sizes[name] for name in names], float)
        chosen = np.random.default_rng([self.seed, 1]).choice(len(names), size=steps, p=shares / shares.sum())
        done = np.bincount(chosen[:start], minlength=len(names))

        @lru_cache(maxsize=2 * len(names))
        def epoch(task: int, number: int) -> list[BatchPlan]:
            rng = np.random.default_rng([self.seed, 0, task, number])
            return plan_buckets(*self._bucketed(names[task]), rng)

        for task in chosen[start:]:
            number, position = divmod(int(done[task]), sizes[names[task]])
            yield names[task], epoch(int(task), number)[position]
            done[task] += 1

    def _bucketed(self, task: str) -> tuple[np.ndarray, list[Bucket]]:
        """Return the bucket of each row of a task, and the buckets."""
        lengths, texts = self.lengths[task], self.texts_per_row.get(task, 1)
        buckets = widened(self.buckets, int(lengths.max()))
        if task in self.target_lengths:
            assigned, shapes = buckets_with_targets(lengths, self.target_lengths[task], buckets)
        else:
            assigned, shapes = _assigned(lengths, buckets), [(length, 0) for length in buckets]
        return assigned, [
            Bucket(length, self._rows(texts * length + target), target) for length, target in shapes
        ]

    def _rows(self, tokens: int) -> int:
        if self.batch_tokens is None:
            return self.batch_size
        return max(1, self.batch_tokens // tokens // self.batch_size) * self.batch_size
