"""What is measured: ELECTRA-small's pre-training step and its discriminator's forward pass, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from electra_jax.config import Config


@dataclass(frozen=True)
class Workload:
    """Rows of ``batch`` × ``length`` tokens, all full, and how many threads may work on them.

    train: masking, generator, sampling, discriminator, backward pass, clipped AdamW update, with dropout.
    inference: logits of the discriminator.
    """

    kind: Literal["train", "inference"]
    batch: int
    length: int
    threads: int

    cls_id, sep_id, mask_id = 101, 102, 103

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.kind} {self.batch} x {self.length}"

    def config(self) -> Config:
        """ELECTRA-small (12 layers of 256, generator a quarter as wide, dropout 0.1) with AdamW."""
        return Config.model_validate(
            {
                "tokenizer": {"vocab_size": 30522},
                "data": {"sequence_length": self.length},
                "model": {"embedding_size": 128},
                "optimizer": {"kind": "adamw"},
                "train": {"batch_size": self.batch},
            }
        )

    def rows(self) -> np.ndarray:
        """The same random rows for everyone, int32 ``[batch, length]``."""
        rows = np.random.default_rng(0).integers(1000, 30522, (self.batch, self.length), dtype=np.int32)
        rows[:, 0], rows[:, -1] = self.cls_id, self.sep_id
        return rows
