"""What pre-training gives the loop: rows of prepared text, and the same loss on held-out rows."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from electra_jax.config.schema import Config
from electra_jax.data.batches import train_batches
from electra_jax.data.prepare import Prepared
from electra_jax.objectives import PretrainingObjective
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

    @property
    def tokens_per_step(self) -> int:
        """Tokens in a batch, over all hosts."""
        return self.config.train.batch_size * self.config.data.sequence_length

    @property
    def command(self) -> str:
        """The command that goes on with this run."""
        config, folder = (shlex.quote(str(path)) for path in (self.workdir.config, self.workdir.root))
        return f"python -m electra_jax.train --config {config} --workdir {folder}"

    def batches(self, start: int) -> Iterator[np.ndarray]:
        """Yield this host's rows of the steps after ``start``, int32 ``[rows, length]``."""
        host, hosts = self.program.host_share
        return train_batches(
            self.prepared.train,
            batch_size=self.config.train.batch_size,
            seed=self.config.seed,
            start_step=start,
            host=host,
            hosts=hosts,
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

    def throughput(self, seconds_per_step: float | None) -> Metrics:
        """Compute sequences and tokens per second, and the utilization of the chips' peak."""
        return Throughput(
            self.program.objective, self.config.train.batch_size, self.config.data.sequence_length
        )(seconds_per_step)
