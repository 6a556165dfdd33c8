"""The section on the length of a run, its batches, and what is written meanwhile."""

from __future__ import annotations

import re

from pydantic import model_validator

from electra_jax.config.fields import PRETRAINING, Section, field, require, section
from electra_jax.config.value_schedule import ValueSchedule


class TrainConfig(Section):
    """The loop."""

    steps: int | None = field(
        1_000_000,
        "Optimizer updates in the whole run; the schedule ends here. null, the default in fine-tuning: from "
        "finetune.epochs.",
        free=True,
        in_finetuning=None,
        ge=1,
        lt=2**31,
    )
    batch_size: int = field(128, "Rows in a batch, over all devices and hosts.", ge=1)
    batch_size_schedule: ValueSchedule = section(ValueSchedule(), PRETRAINING)
    accumulation_steps: int = field(
        1, "Microbatches a batch is cut into; the gradient is that of the whole batch.", free=True, ge=1
    )
    log_every: int = field(100, "Steps between train lines in metrics.jsonl.", free=True, ge=1, lt=2**31)
    eval_every: int | None = field(
        10_000,
        "Steps between held-out evaluations; there is always one at the end. null, the default in fine-tuning: after "
        "every pass over the examples.",
        free=True,
        in_finetuning=None,
        ge=1,
    )
    eval_batches: int | None = field(
        64,
        "Batches in an evaluation while training; null: all. The last evaluation uses all.",
        free=True,
        kinds=PRETRAINING,
        ge=1,
    )
    checkpoint_every: int = field(1_000, "Steps between checkpoints.", free=True, ge=1)
    checkpoint_minutes: float | None = field(
        10.0,
        "Minutes after which there is a checkpoint in any case; null: by steps alone.",
        free=True,
        gt=0.0,
    )
    keep_checkpoints: int = field(
        2, "Newest checkpoints kept; in fine-tuning 1 where it is not set.", free=True, in_finetuning=1, ge=1
    )
    keep_every: int | None = field(
        None, "Checkpoints at multiples of this step are kept for good.", free=True, ge=1
    )
    show_examples: int = field(
        4,
        "Held-out examples shown when training ends: replaced tokens (electra, electric) or continuations (causal_lm); "
        "masked_lm shows none; 0: none.",
        free=True,
        kinds=PRETRAINING,
        ge=0,
    )
    profile_steps: str | None = field(
        None,
        "FIRST:LAST, steps (both included) of which a trace is written to WORKDIR/profile; null: none.",
        free=True,
    )

    @property
    def total_steps(self) -> int:
        """Updates in the whole run, once they are known."""
        return require(self.steps, "train.steps")

    @property
    def evaluation_interval(self) -> int:
        """Steps between evaluations, once they are known."""
        return require(self.eval_every, "train.eval_every")

    def at_largest_batch(self) -> TrainConfig:
        """Return the section with all batches as large as the largest, in as many more microbatches."""
        rows = round(self.batch_size_schedule.to or self.batch_size)
        return self.model_copy(
            update={
                "batch_size": rows,
                "accumulation_steps": self.accumulation_steps * (rows // self.batch_size),
                "batch_size_schedule": ValueSchedule(),
            }
        )

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.profile_steps is not None:
            found = re.fullmatch(r"([0-9]+):([0-9]+)", self.profile_steps)
            if found is None or not 1 <= int(found[1]) <= int(found[2]):
                raise ValueError(
                    f"profile_steps is {self.profile_steps!r}, but must be FIRST:LAST, two steps from 1 in their "
                    "order, such as 10:20"
                )
        most = self.batch_size_schedule.to
        if most is not None and (most < self.batch_size or most % self.batch_size):
            raise ValueError(
                f"batch_size_schedule.to is {most:g}, but batches grow by whole multiples of batch_size "
                f"{self.batch_size}: set it to one"
            )
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"batch_size {self.batch_size} is not divisible by "
                f"accumulation_steps {self.accumulation_steps}"
            )
        return self
