"""Multiple choice: which of several options is right after a context (a reply, an ending, an answer)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from electra_jax.errors import UserError
from electra_jax.model.layers import Dtype
from electra_jax.model.pooling import Pooling
from electra_jax.model.task_heads import HeadStyle, MultipleChoiceHead
from electra_jax.tasks.choice_rows import option_rows, together
from electra_jax.tasks.losses import softmax_cross_entropy
from electra_jax.tasks.measures import Measure
from electra_jax.tasks.metrics import METRICS, check_metric
from electra_jax.tasks.protocol import ChoiceExample, Rows, TaskBatch, TunedTask
from electra_jax.tasks.rank_metrics import rank_measures, rank_of
from electra_jax.tokenizers import Tokenizer

# The logit of options that an example does not have; finite, so that a row of padding alone has a loss.
_NO_OPTION = -1e9


@dataclass(frozen=True)
class MultipleChoiceTask:
    """One of several options; implements `Task`.

    In training the options of an example are one row, so that no device has some of them only. Each is scored by
    itself, so in prediction each has a row of its own.

    Attributes:
        name: of the task.
        tokenizer: encodes the texts.
        max_length: of context and option together, in tokens.
        head_style: the head of the original's shape, or of Hugging Face's ELECTRA or ModernBERT.
        head_dropout: dropout rate in the head.
        dtype: of the head's matrix products.
        initializer_range: standard deviation of the initial weights of Hugging Face's head.
        pooling: what stands for a text.
        layer_norm_epsilon: of ModernBERT's head.
        chosen_metric: the metric that selects checkpoints and seeds; None is the accuracy.
        kind: "multiple_choice".
        labels: none: an option is its text.
        f1_of: None.
        shares: nothing.

    Raises:
        UserError: a metric that does not exist.
    """

    name: str
    tokenizer: Tokenizer
    max_length: int
    head_style: HeadStyle
    head_dropout: float
    dtype: Dtype
    initializer_range: float = 0.02
    pooling: Pooling = "first"
    layer_norm_epsilon: float = 1e-5
    chosen_metric: str | None = None
    kind: str = "multiple_choice"
    labels: tuple[()] = ()
    f1_of: None = None
    shares: tuple[()] = ()

    def __post_init__(self) -> None:
        if self.chosen_metric is not None:
            check_metric(self.name, "multiple choice", self.chosen_metric)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics, the one that selects first."""
        known = METRICS["multiple choice"]
        first = self.chosen_metric or known[0]
        return (first, *(name for name in known if name != first))

    @property
    def metric(self) -> str:
        """The metric that selects checkpoints and seeds."""
        return self.metrics[0]

    def encode(self, examples: Sequence[ChoiceExample], *, training: bool) -> Rows:
        """Encode examples as `option_rows` does; with ``training`` the options of an example are one row.

        The target is int32 ``label``, the number of the right option.

        Raises:
            UserError: an answer that is missing in training.
        """
        rows = option_rows(self.tokenizer, examples, self.max_length)
        if not training:
            return rows
        for example in examples:
            if example.answer is None:
                raise UserError(
                    f"finetune.tasks.{self.name}: the example {example.id!r} has no label to train on; leave it "
                    "out, or give it one"
                )
        labels = np.array([example.answer for example in examples], np.int32)
        return replace(together(rows, self.tokenizer.pad_id), targets={"label": labels})

    def head(self) -> nn.Module:
        """Return a head with one logit for each option."""
        return MultipleChoiceHead(
            style=self.head_style,
            dtype=self.dtype,
            dropout_rate=self.head_dropout,
            initializer_range=self.initializer_range,
            pooling=self.pooling,
            layer_norm_epsilon=self.layer_norm_epsilon,
        )

    def loss(self, head: Any, hidden: Array, batch: TaskBatch, rng: Array | None) -> Array:
        """Return the cross-entropy of the right option among those of its example; float32 ``[batch]``."""
        is_option = batch.inputs.segment_ids.max(axis=-1) > 0
        logits = jnp.where(is_option, head(hidden, batch.inputs.segment_ids != 0, rng), _NO_OPTION)
        return softmax_cross_entropy(logits, batch.targets["label"])

    def outputs(self, head: Any, hidden: Array, batch: TaskBatch) -> dict[str, Array]:
        """Return ``logit``, float32 ``[batch]``, of the option in each row."""
        return {"logit": head(hidden, batch.inputs.segment_ids != 0)}

    def predictions(
        self, examples: Sequence[ChoiceExample], rows: Rows, outputs: Mapping[str, np.ndarray]
    ) -> list[dict[str, Any]]:
        """Return ``id``, ``label`` (the number of an option), ``option``, its ``probability``, all ``probabilities``.

        ``truncated`` is present, and true, where an option did not fit into its row with the context.
        """
        results: list[dict[str, Any]] = []
        ends = np.cumsum([len(example.options) for example in examples])
        for example, end in zip(examples, ends, strict=True):
            chosen = slice(int(end) - len(example.options), int(end))
            probabilities = _softmax(np.asarray(outputs["logit"][chosen], np.float64))
            best = int(np.argmax(probabilities))
            results.append(
                {
                    "id": example.id,
                    "label": best,
                    "option": example.options[best],
                    "probability": float(probabilities[best]),
                    "probabilities": probabilities.tolist(),
                    **({"truncated": True} if any(rows.details[chosen]) else {}),
                }
            )
        return results

    def score(
        self, examples: Sequence[ChoiceExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Return the metrics in percent; see `rank_measures`."""
        every = np.arange(len(examples))
        return {name: measure(every) for name, measure in self._measures(examples, predictions).items()}

    def measures(
        self,
        examples: Sequence[ChoiceExample],
        predictions: Sequence[Mapping[str, Any]],
        names: Sequence[str],
    ) -> dict[str, Measure]:
        """Return those of the task's metrics that are among ``names``."""
        return {
            name: measure for name, measure in self._measures(examples, predictions).items() if name in names
        }

    def _measures(
        self, examples: Sequence[ChoiceExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, Measure]:
        ranks = []
        for example, prediction in zip(examples, predictions, strict=True):
            if example.answer is None:
                raise ValueError("answers that are hidden cannot be compared with")
            ranks.append(rank_of(np.array(prediction["probabilities"], np.float64), example.answer))
        return rank_measures(np.array(ranks), self.metrics)

    def tune(self, dev: Sequence[ChoiceExample], predictions: Sequence[Mapping[str, Any]]) -> TunedTask:
        """Return the task as it is: nothing is tuned on the dev examples."""
        del dev, predictions
        return TunedTask(self)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()
