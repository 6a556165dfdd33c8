"""What is measured: ELECTRA-small's pre-training step and its discriminator's forward pass, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from electra_jax.config import Config
from electra_jax.config.loading import with_overrides
from electra_jax.errors import UserError


@dataclass(frozen=True)
class Workload:
    """Rows of ``batch`` × ``length`` tokens, all full, and how many threads may work on them.

    train: masking, generator, sampling, discriminator, backward pass, clipped AdamW update, with dropout.
    inference: logits of the discriminator.

    ``settings`` (``key.path=value``) are over those of ELECTRA-small. Of them, rivals follow the model's sizes and its
    rates of dropout.
    """

    kind: Literal["train", "inference"]
    batch: int
    length: int
    threads: int
    settings: Sequence[str] = ()

    cls_id, sep_id, mask_id = 101, 102, 103

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.kind} {self.batch} x {self.length}"

    def config(self) -> Config:
        """ELECTRA-small (12 layers of 256, generator a quarter as wide, dropout 0.1) with AdamW.

        Raises:
            UserError: settings that are not valid, or change the rows.
        """
        values = {
            "tokenizer": {"vocab_size": 30522},
            "data": {"sequence_length": self.length},
            "model": {"embedding_size": 128},
            "optimizer": {"kind": "adamw"},
            "train": {"batch_size": self.batch},
        }
        config = with_overrides(values, self.settings, "the benchmark")
        if (config.train.batch_size, config.data.sequence_length) != (self.batch, self.length):
            raise UserError(
                "train.batch_size and data.sequence_length are those of --workload: change them there"
            )
        return config

    def rows(self) -> np.ndarray:
        """Return the same random rows for every contender, int32 ``[batch, length]``."""
        rows = np.random.default_rng(0).integers(1000, 30522, (self.batch, self.length), dtype=np.int32)
        rows[:, 0], rows[:, -1] = self.cls_id, self.sep_id
        return rows
