"""What the training loop asks of an objective, and what else follows from one in pre-training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from jax import Array

from electra_jax.model.text_encoder import TextEncoder
from electra_jax.objectives.metrics import Sums
from electra_jax.tokenizers import Tokenizer

# A tree of float32 arrays, by module and name.
Params = Mapping[str, Any]

Batch = TypeVar("Batch", contravariant=True)  # what the loop is given, a batch axis first
Inputs = TypeVar("Inputs")  # the same with its masks and random numbers
Normalizers = TypeVar("Normalizers")  # what the losses are divided by


@dataclass(frozen=True)
class Subnetwork:
    """A network of an objective whose gradient and loss are watched apart from the others'.

    Attributes:
        name: What a message calls it, such as "generator".
        parameters: The first names of the parameters that only it has.
        loss: The metric that is its loss.
    """

    name: str
    parameters: tuple[str, ...]
    loss: str


@dataclass(frozen=True)
class Examples:
    """What a trained model does on held-out text, to be shown when a run ends.

    Attributes:
        compute: (parameters, rows int32 ``[rows, length]``, key) → named arrays; to be jitted.
        lines: (rows, those arrays, tokenizer, whether in colour) → lines of text.
    """

    compute: Callable[[Params, Array, Array], dict[str, Array]]
    lines: Callable[[np.ndarray, Mapping[str, np.ndarray], Tokenizer, bool], list[str]]


class Objective(Protocol[Batch, Inputs, Normalizers]):
    """A loss that is a sum over tokens or rows divided by totals known before the networks run.

    Everything random about a batch, dropout aside, is drawn once for the whole batch. Its totals do not
    depend on the parameters, so the losses of microbatches, divided by the totals of the whole batch, add up
    to exactly the loss of the batch.

    Attributes:
        subnetworks: The networks that are watched; none where there is but one.
    """

    @property
    def subnetworks(self) -> Sequence[Subnetwork]: ...  # noqa: D102

    def init(self, rng: Array) -> Params:
        """Fresh parameters."""

    def draw_inputs(self, batch: Batch, rng: Array) -> Inputs:
        """Draws masks and random numbers for ``batch``, int32 ``[batch, length]`` in pre-training; leaves keep the
        batch axis.
        """

    def loss_normalizers(self, inputs: Inputs) -> Normalizers:
        """The denominators of the losses over a whole batch."""

    def loss(
        self, params: Params, inputs: Inputs, normalizers: Normalizers, dropout_rng: Array | None
    ) -> tuple[Array, Sums]:
        """The share of the loss of (a part of) the batch, and its metrics as sums; no dropout without a key."""

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """Metrics by name from sums added up over batches; None where nothing was counted."""


class PretrainingObjective(Objective[Array, Inputs, Normalizers], Protocol[Inputs, Normalizers]):
    """An objective on rows of prepared text, int32 ``[batch, length]``.

    Attributes:
        network: What it trains; `TextEncoder.encode` of it is what is kept.
        examples: What is shown when a run ends; None: nothing.
    """

    @property
    def network(self) -> TextEncoder: ...  # noqa: D102

    @property
    def examples(self) -> Examples | None: ...  # noqa: D102

    def flops_per_row(self, length: int) -> float:
        """Model FLOPs of the forward pass over one row of ``length`` tokens; see `electra_jax.model.flops`."""

    def baselines(self, most_frequent_share: float) -> str | None:
        """What its metrics would be without learning from context, as a line to compare the result with.

        Args:
            most_frequent_share: The share of the commonest token in held-out text.
        """
