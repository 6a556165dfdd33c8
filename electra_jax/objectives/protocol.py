"""What the training loop asks of an objective."""

from typing import Any, Protocol

from jax import Array

from electra_jax.objectives.metrics import Sums

Params = Any
Drawn = Any
Totals = Any


class PretrainingObjective(Protocol):
    """A loss that is a sum over tokens divided by totals known before the networks run.

    Everything random about a batch, dropout aside, is drawn once for the whole batch. Its totals do not
    depend on the parameters, so the losses of microbatches, divided by the totals of the whole batch, add up
    to exactly the loss of the batch.
    """

    def init(self, rng: Array) -> Params:
        """Fresh parameters."""

    def draw(self, batch: Any, rng: Array) -> Drawn:
        """Draws masks and random numbers for ``batch``, int32 ``[batch, length]`` in pre-training; leaves keep the
        batch axis.
        """

    def totals(self, drawn: Drawn) -> Totals:
        """The denominators of the losses over a whole batch."""

    def loss(
        self, params: Params, drawn: Drawn, totals: Totals, dropout_rng: Array | None
    ) -> tuple[Array, Sums]:
        """The share of the loss of (a part of) the batch, and its metrics as sums; no dropout without a key."""

    def summarize(self, sums: Any) -> dict[str, float | None]:
        """Metrics by name from sums added up over batches; None where nothing was counted."""
