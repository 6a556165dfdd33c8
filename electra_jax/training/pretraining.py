"""What pre-training gives the loop: rows of prepared text, and the same loss on held-out rows."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from electra_jax.config.schema import Config
from electra_jax.config.training import TrainConfig
from electra_jax.data.batch_sizes import BatchSizes
from electra_jax.data.batches import train_batches
from electra_jax.data.prepare import Prepared
from electra_jax.objectives import PretrainingObjective
from electra_jax.objectives.scheduled import scheduled_value
from electra_jax.training.evaluation import evaluate
from electra_jax.training.loop import Metrics
from electra_jax.training.program import Program
from electra_jax.training.throughput import Throughput
from electra_jax.training.workdir import WorkDir


@dataclass(frozen=True)
class PretrainingWorkload:
    """Implements `loop.Workload` for the objectives that read prepared text."""

    config: Config
    prepared: Prepared
    program: Program[PretrainingObjective[Any, Any]]
    workdir: WorkDir

    def tokens_before(self, step: int) -> int:
        """Return the tokens of the batches before that of a step, from 0, over all hosts."""
        return self._sizes.before(step) * self.config.data.sequence_length

    @property
    def command(self) -> str:
        """The command that goes on with this run."""
        config, folder = (shlex.quote(str(path)) for path in (self.workdir.config, self.workdir.root))
        return f"python -m electra_jax.train --config {config} --workdir {folder}"

    def batches(self, start: int) -> Iterator[np.ndarray]:
        """Yield this host's rows of the steps after ``start``, int32 ``[rows, length]``."""
        return train_batches(
            self.prepared.train,
            batch_size=self._sizes,
            seed=self.config.seed,
            start_step=start,
            share=self.program.host_share,
            prefetch=self.config.data.prefetch_batches,
        )

    def evaluate(self, params: Any, step: int) -> Metrics:
        """Evaluate on train.eval_batches batches, and at the end on all of them."""
        settings = self.config.train
        return evaluate(
            self.program,
            params,
            self.prepared.eval,
            batch_size=settings.batch_size,
            pad_id=self.prepared.tokenizer.pad_id,
            limit=None if step == settings.total_steps else settings.eval_batches,
        )

    def throughput(self, seconds_per_step: float | None, step: int) -> Metrics:
        """Compute sequences and tokens per second, and the utilization of the peak, of the last update's batch."""
        return Throughput(self.program.objective, self._sizes.at(step - 1), self.config.data.sequence_length)(
            seconds_per_step
        )

    @cached_property
    def _sizes(self) -> BatchSizes:
        return batch_sizes(self.config.train)


def batch_sizes(settings: TrainConfig) -> BatchSizes:
    """Return the sizes of a run's batches: ``train.batch_size`` times the whole number nearest to its schedule."""
    schedule = settings.batch_size_schedule
    if schedule.to is None:
        return BatchSizes.constant(settings.batch_size)
    done = np.arange(settings.total_steps) / settings.total_steps
    wanted = np.asarray(scheduled_value(settings.batch_size, schedule, done, np))
    rows = settings.batch_size * np.floor(wanted / settings.batch_size + 0.5).astype(np.int64)
    starts = np.flatnonzero(np.diff(rows, prepend=0))
    return BatchSizes(tuple(starts.tolist()), tuple(rows[starts].tolist()))
