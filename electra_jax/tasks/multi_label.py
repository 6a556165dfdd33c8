"""Classification where a text has any number of the classes, or none of them: each is decided by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax import Array

from electra_jax.errors import UserError
from electra_jax.model.layers import Dtype
from electra_jax.model.pooling import Pooling
from electra_jax.model.task_heads import ClassificationHead, HeadStyle
from electra_jax.tasks.losses import multi_label_loss
from electra_jax.tasks.metrics import METRICS, check_metric, multi_label_scores
from electra_jax.tasks.protocol import Rows, TaskBatch, TextExample, TunedTask
from electra_jax.tasks.text_rows import text_rows
from electra_jax.tokenizers import Tokenizer

KIND = "multi-label classification"  # its metrics in `METRICS`
THRESHOLD = 0.5  # the default
# Candidates for tuning, evenly spaced in log-odds, so that rare classes with small probabilities have some, too.
THRESHOLDS = tuple(round(float(value), 4) for value in 1 / (1 + np.exp(-np.arange(-7, 7.05, 0.1))))


@dataclass(frozen=True)
class MultiLabelTask:
    """Classification into any number of classes per text; implements `Task`.

    Attributes:
        name: of the task.
        labels: the classes.
        tokenizer: encodes the texts.
        max_length: of a row, in tokens.
        head_style: the head of the original, or of Hugging Face's ELECTRA or ModernBERT.
        head_dropout: dropout rate in the head.
        dtype: of the head's matrix products.
        chosen_metric: the metric that selects checkpoints and seeds; None is the first of `METRICS`.
        threshold: classes with at least this probability are predicted; None is `THRESHOLD`.
        tune_threshold: whether the best threshold on the dev examples is used.
        initializer_range: standard deviation of the initial weights of Hugging Face's head.
        pooling: what stands for a text.
        layer_norm_epsilon: of ModernBERT's head.
        swap_pairs: train on every pair in both orders.
        f1_of: None, since F1 is over all classes.
        shares: nothing: its head reads the encoder's states alone.

    Raises:
        UserError: no class at all, or a metric that does not exist.
    """

    name: str
    labels: tuple[str, ...]
    tokenizer: Tokenizer
    max_length: int
    head_style: HeadStyle
    head_dropout: float
    dtype: Dtype
    chosen_metric: str | None = None
    threshold: float | None = None
    tune_threshold: bool = False
    initializer_range: float = 0.02
    pooling: Pooling = "first"
    layer_norm_epsilon: float = 1e-5
    swap_pairs: bool = False
    f1_of: None = None
    shares: tuple[()] = ()

    def __post_init__(self) -> None:
        check_metric(self.name, KIND, self.metric)
        if not self.labels:
            raise UserError(
                f"finetune.tasks.{self.name}: there is nothing to learn, since no training example has a label; give "
                "examples with some"
            )

    @property
    def kind(self) -> str:
        """The kind of its configuration."""
        return "classification"

    @property
    def metric(self) -> str:
        """The metric that selects checkpoints, seeds, and the threshold."""
        return self.chosen_metric or METRICS[KIND][0]

    def encode(self, examples: Sequence[TextExample], *, training: bool) -> Rows:
        """Encode examples as `text_rows` does, with int8 ``labels`` ``[rows, classes]``, 1 for those of the example.

        The target is there with ``training``, or if all examples have labels (an empty list of them counts).

        Raises:
            UserError: labels that are missing in training, or not among the classes.
        """
        rows = text_rows(self.tokenizer, examples, self.max_length, both_orders=training and self.swap_pairs)
        # Known labels are checked even if they are not needed, so that a wrong one is found before training.
        indicators = self._indicators(examples)
        if missing := next((e for e in examples if e.label is None), None):
            if training:
                raise UserError(
                    f"finetune.tasks.{self.name}: the example {missing.id!r} has no labels to train on; leave it out, "
                    "or say that it has none"
                )
            return rows
        return replace(rows, targets={"labels": indicators[rows.example_index]})

    def _indicators(self, examples: Sequence[TextExample]) -> np.ndarray:
        """Return int8 ``[examples, classes]``, 1 for the classes that an example has."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        indicators = np.zeros((len(examples), len(self.labels)), np.int8)
        for row, example in enumerate(examples):
            for name in example.classes:
                if name not in numbers:
                    raise UserError(
                        f"finetune.tasks.{self.name}: the example {example.id!r} has the label {name!r}, which is not "
                        f"known; the labels are: {', '.join(self.labels)}"
                    )
                indicators[row, numbers[name]] = 1
        return indicators

    def head(self) -> nn.Module:
        """Return a head with one logit per class."""
        return ClassificationHead(
            num_labels=len(self.labels),
            style=self.head_style,
            dtype=self.dtype,
            dropout_rate=self.head_dropout,
            initializer_range=self.initializer_range,
            pooling=self.pooling,
            layer_norm_epsilon=self.layer_norm_epsilon,
        )

    def loss(self, head: Any, hidden: Array, batch: TaskBatch, rng: Array | None) -> Array:
        """Return binary cross-entropy averaged over the classes; float32 ``[batch]``."""
        return multi_label_loss(head(hidden, batch.inputs.segment_ids != 0, rng), batch.targets["labels"])

    def outputs(self, head: Any, hidden: Array, batch: TaskBatch) -> dict[str, Array]:
        """Return ``probabilities`` ``[batch, classes]``, each class by itself."""
        return {"probabilities": jax.nn.sigmoid(head(hidden, batch.inputs.segment_ids != 0))}

    def predictions(
        self, examples: Sequence[TextExample], rows: Rows, outputs: Mapping[str, np.ndarray]
    ) -> list[dict[str, Any]]:
        """Return ``id``, ``labels``, which have at least the threshold's probability, and the ``probabilities`` of all.

        ``truncated`` is present, and true, where the text did not fit into its row.
        """
        threshold = THRESHOLD if self.threshold is None else self.threshold
        results: list[dict[str, Any]] = []
        for number, example in enumerate(examples):
            probabilities = dict(zip(self.labels, outputs["probabilities"][number].tolist(), strict=True))
            labels = [label for label, probability in probabilities.items() if probability >= threshold]
            results.append({"id": example.id, "labels": labels, "probabilities": probabilities})
            if rows.details[number]:
                results[-1]["truncated"] = True
        return results

    def score(
        self, examples: Sequence[TextExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Return the metrics in percent, the task's own first; see `multi_label_scores`.

        A threshold that is still to be tuned is the best one for these very predictions.
        """
        if any(example.label is None for example in examples):
            raise ValueError("labels that are hidden cannot be compared with")
        threshold = self.threshold
        if threshold is None:
            threshold = self.find_threshold(examples, predictions) if self.tune_threshold else THRESHOLD
        return self._scores(examples, predictions, [threshold])[0]

    def find_threshold(
        self, examples: Sequence[TextExample], predictions: Sequence[Mapping[str, Any]]
    ) -> float:
        """Return the best of `THRESHOLDS` for the task's metric on these (dev) examples; of equals the nearest to 0.5.

        No threshold changes the mean average precision: with that metric, the threshold is the best one for micro F1.
        """
        decides = "micro_f1" if self.metric == "mean_average_precision" else self.metric
        found = self._scores(examples, predictions, THRESHOLDS, (decides,))
        values = dict(zip(THRESHOLDS, (scores[decides] for scores in found), strict=True))
        return max(THRESHOLDS, key=lambda threshold: (values[threshold], -abs(threshold - THRESHOLD)))

    def tune(self, dev: Sequence[TextExample], predictions: Sequence[Mapping[str, Any]]) -> TunedTask:
        """Return the task with the best threshold on the dev examples, if it is to be tuned."""
        if not self.tune_threshold:
            return TunedTask(self)
        threshold = self.find_threshold(dev, predictions)
        note = f"{self.name}: labels at least {threshold} probable are predicted, the best on dev"
        return TunedTask(replace(self, threshold=threshold), {"threshold": threshold}, note)

    def _scores(
        self,
        examples: Sequence[TextExample],
        predictions: Sequence[Mapping[str, Any]],
        thresholds: Sequence[float],
        names: Sequence[str] | None = None,
    ) -> list[dict[str, float]]:
        """Return the scores at each threshold."""
        names = names or (self.metric, *(name for name in METRICS[KIND] if name != self.metric))
        indicators = self._indicators(examples)
        given = [[p["probabilities"][label] for label in self.labels] for p in predictions]
        probabilities = np.array(given, np.float64).reshape(indicators.shape)
        return [multi_label_scores(names, indicators, probabilities, threshold) for threshold in thresholds]
