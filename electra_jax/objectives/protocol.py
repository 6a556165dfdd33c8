"""What the training loop needs from an objective, and what else an objective defines in pre-training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from jax import Array

from electra_jax.model.text_encoder import TextEncoder
from electra_jax.objectives.metrics import MetricSums
from electra_jax.tokenizers import Tokenizer

# A tree of float32 arrays, by module and name.
Params = Mapping[str, Any]

Batch = TypeVar("Batch", contravariant=True)  # what the loop is given, a batch axis first
Inputs = TypeVar("Inputs")  # the same with its masks and random numbers
Normalizers = TypeVar("Normalizers")  # what the losses are divided by


@dataclass(frozen=True)
class Subnetwork:
    """A network of an objective whose loss and gradient norm are reported on their own, so that messages can name it.

    Attributes:
        name: What a message calls it, such as "generator".
        parameters: Top-level names of the parameters that only this network has.
        loss: The metric that is its loss.
    """

    name: str
    parameters: tuple[str, ...]
    loss: str


@dataclass(frozen=True)
class Examples:
    """How to show what a trained model does on held-out text, when a run ends.

    Attributes:
        compute: (parameters, rows int32 ``[rows, length]``, key) → named arrays; to be jitted.
        lines: (rows, those arrays, tokenizer, whether in colour) → lines of text.
    """

    compute: Callable[[Params, Array, Array], dict[str, Array]]
    lines: Callable[[np.ndarray, Mapping[str, np.ndarray], Tokenizer, bool], list[str]]


class Objective(Protocol[Batch, Inputs, Normalizers]):
    """A loss that is a sum over tokens or rows, divided by normalizers that are known before the networks run.

    Everything random about a batch, dropout aside, is drawn once for the whole batch. The normalizers do not depend on
    the parameters, so the losses of microbatches, each divided by the normalizers of the whole batch, add up to exactly
    the loss of the batch.

    Attributes:
        subnetworks: The networks that are reported on their own; none where there is but one network.
    """

    @property
    def subnetworks(self) -> Sequence[Subnetwork]: ...  # noqa: D102

    def init(self, rng: Array) -> Params:
        """Initialise fresh float32 parameters."""

    def draw_inputs(self, batch: Batch, rng: Array) -> Inputs:
        """Draw the masks and random numbers of a batch, which with it are what the networks read.

        Args:
            batch: In pre-training int32 ``[batch, length]``.
            rng: A key.

        Returns:
            A tree whose leaves keep the batch axis, so that it can be cut into microbatches.
        """

    def loss_normalizers(self, inputs: Inputs) -> Normalizers:
        """Return what the losses of a whole batch are divided by; it does not depend on the parameters."""

    def loss(
        self, params: Params, inputs: Inputs, normalizers: Normalizers, dropout_rng: Array | None
    ) -> tuple[Array, MetricSums]:
        """Compute the loss and the metrics of a batch or of a microbatch of it.

        Args:
            params: Parameters as `init` makes them.
            inputs: What `draw_inputs` returned, or some of its rows.
            normalizers: Those of the whole batch.
            dropout_rng: A key; None means no dropout.

        Returns:
            The (share of the) loss, a float32 scalar, and metrics as sums that can be added up.
        """

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """Turn metric sums, added up over batches, into metrics by name; None where nothing was counted."""


class TextMetrics(Protocol):
    """Metrics of an objective that gives every token of a text a probability, of the text and not of its tokens."""

    def __call__(
        self,
        sums: Mapping[str, np.ndarray],
        *,
        num_targets: int,
        num_bytes: int | None,
        num_words: int | None,
    ) -> dict[str, float | None]:
        """Compute them.

        Args:
            sums: Metric sums, of all rows or a part of them.
            num_targets: Tokens of all rows that are predicted.
            num_bytes: UTF-8 bytes of the text of all rows; None where the tokenizer did not keep all of it.
            num_words: Words and ends of lines of that text, or None.
        """


class PretrainingObjective(Objective[Array, Inputs, Normalizers], Protocol[Inputs, Normalizers]):
    """An objective on rows of prepared text, int32 ``[batch, length]``.

    Attributes:
        network: What it trains; `TextEncoder.encode` of it is what is kept.
        examples: What is shown when a run ends; None shows nothing.
        text_metrics: What it measures of held-out text beside its metrics; None of objectives that give no token a
            probability.
    """

    @property
    def network(self) -> TextEncoder: ...  # noqa: D102

    @property
    def examples(self) -> Examples | None: ...  # noqa: D102

    @property
    def text_metrics(self) -> TextMetrics | None: ...  # noqa: D102

    def flops_per_row(self, length: int) -> float:
        """Count the model FLOPs of the forward pass over a row of ``length`` tokens; see `model.flops`."""

    def baselines(self, most_frequent_share: float) -> str | None:
        """Describe what the metrics would be without learning from context, as a line to compare results with.

        Args:
            most_frequent_share: Share of held-out tokens that are the most frequent token.

        Returns:
            The line, or None where there is nothing to compare with.
        """
