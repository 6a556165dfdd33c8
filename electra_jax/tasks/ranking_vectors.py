"""The vectors of contexts and of candidates, each text read alone, as a ranker that reads them apart makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from electra_jax.tasks.protocol import Rows, TaskBatch
from electra_jax.tasks.ranking import RankingTask
from electra_jax.tasks.ranking_rows import Side, text_rows


@dataclass(frozen=True)
class VectorsOf:
    """One side of a bi- or poly-encoder, for `FineTuning.outputs`.

    Attributes:
        task: the ranker.
        side: which of its texts.
    """

    task: RankingTask
    side: Side

    @property
    def name(self) -> str:
        """That of the task, whose head it is."""
        return self.task.name

    @property
    def shares(self) -> tuple[()]:
        """Nothing, as the task."""
        return self.task.shares

    def head(self) -> nn.Module:
        """Return the task's."""
        return self.task.head()

    def encode(self, texts: Sequence[str]) -> Rows:
        """Encode texts, a row each; see `text_rows`."""
        longest = self.task.longest[self.side == "candidate"]
        return text_rows(self.task.tokenizer, texts, self.side, longest, keeps_start=self.task.reads_one_kind)

    def outputs(self, head: Any, hidden: Array, batch: TaskBatch) -> dict[str, Array]:
        """Return ``vectors``, float32 ``[batch, codes, hidden]``, one code for a candidate, and ``scale`` ``[batch]``.

        A score is what `scores_of_all` makes of both sides, multiplied by the scale.
        """
        pairs = head(hidden, batch.inputs.segment_ids, 1)
        vectors = pairs.contexts if self.side == "context" else pairs.candidates
        return {"vectors": vectors, "scale": jnp.broadcast_to(pairs.scale, (len(vectors),))}
