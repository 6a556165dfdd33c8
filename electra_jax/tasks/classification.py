"""Classification and regression of texts and pairs of texts (google-research/electra, finetune/classification)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax import Array

from electra_jax.errors import UserError
from electra_jax.model.layers import Dtype
from electra_jax.model.pooling import Pooling
from electra_jax.model.task_heads import ClassificationHead, HeadStyle
from electra_jax.tasks.losses import softmax_cross_entropy, squared_error
from electra_jax.tasks.measures import Measure, mean_of, ratio_of
from electra_jax.tasks.metrics import check_metric, classification_scores
from electra_jax.tasks.protocol import Rows, TaskBatch, TextExample, TunedTask
from electra_jax.tasks.text_rows import text_rows
from electra_jax.tokenizers import Tokenizer


@dataclass(frozen=True)
class ClassificationTask:
    """Classification into one class, or regression; implements `Task`.

    Attributes:
        name: of the task.
        kind: "classification" or "regression".
        labels: the classes; () for regression.
        metrics: by name; the first selects checkpoints and seeds.
        tokenizer: encodes the texts.
        max_length: of a row, in tokens.
        head_style: the head of the original, or of Hugging Face's ELECTRA or ModernBERT.
        head_dropout: dropout rate in the head.
        dtype: of the head's matrix products.
        initializer_range: standard deviation of the initial weights of Hugging Face's head.
        pooling: what stands for a text.
        layer_norm_epsilon: of ModernBERT's head.
        low: the label that is 0 in training, for regression.
        high: the label that is 1.
        swap_pairs: train on every pair in both orders.
        positive: the class whose F1 is measured; None is the second of two classes, and the mean over more.
        shares: nothing: its head reads the encoder's states alone.

    Raises:
        UserError: fewer than two classes, or a metric or positive class that does not exist.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    tokenizer: Tokenizer
    max_length: int
    head_style: HeadStyle
    head_dropout: float
    dtype: Dtype
    initializer_range: float = 0.02
    pooling: Pooling = "first"
    layer_norm_epsilon: float = 1e-5
    low: float = 0.0
    high: float = 1.0
    swap_pairs: bool = False
    positive: str | None = None
    shares: tuple[()] = ()

    def __post_init__(self) -> None:
        for name in self.metrics:
            check_metric(self.name, self.kind, name)
        if self.kind == "classification" and len(self.labels) < 2:
            raise UserError(
                f"finetune.tasks.{self.name}: there is nothing to learn, since the only label is "
                f"{', '.join(self.labels) or 'none'}; give examples with at least two"
            )
        if self.positive is not None and self.positive not in self.labels:
            raise UserError(
                f"finetune.tasks.{self.name}.positive is {self.positive!r}, which is none of the classes: "
                f"{', '.join(self.labels)}"
            )
        if self.positive is not None and "f1" not in self.metrics:
            raise UserError(
                f"finetune.tasks.{self.name}.positive is set, but F1 is no metric of this task: set "
                f"finetune.tasks.{self.name}.metric=f1, or leave positive out"
            )

    @property
    def metric(self) -> str:
        """The metric that selects checkpoints and seeds."""
        return self.metrics[0]

    @property
    def f1_of(self) -> str | None:
        """The class whose F1 is measured; None where it is a mean over all classes, or not measured."""
        if "f1" not in self.metrics or (self.positive is None and len(self.labels) != 2):
            return None
        return self.labels[1] if self.positive is None else self.positive

    def encode(self, examples: Sequence[TextExample], *, training: bool) -> Rows:
        """Encode examples as `text_rows` does.

        The target is int32 ``label`` or float32 ``value``; it is there with ``training``, or if every example has a
        label.

        Raises:
            UserError: a label that is missing in training, not among the classes, or no number in a regression.
        """
        rows = text_rows(self.tokenizer, examples, self.max_length, both_orders=training and self.swap_pairs)
        # Known labels are checked even if they are not needed, so that a wrong one is found before training.
        values = [
            self._target(example) if training or example.label is not None else None for example in examples
        ]
        if None in values:
            return rows
        name, kind = ("label", np.int32) if self.kind == "classification" else ("value", np.float32)
        return replace(rows, targets={name: np.array(values, kind)[rows.example_index]})

    def _target(self, example: TextExample) -> float:
        where = f"finetune.tasks.{self.name}: the example {example.id!r}"
        if example.label is None:
            raise UserError(f"{where} has no label to train on; leave it out, or give it one")
        if self.kind == "regression":
            try:
                return (float(example.label) - self.low) / self._range  # type: ignore[arg-type]
            except (TypeError, ValueError):
                raise UserError(
                    f"{where} has the label {example.label!r}; regression needs numbers"
                ) from None
        number = self._numbers.get(example.label)
        if number is None:
            raise UserError(
                f"{where} has the label {example.label!r}, which is not known; the labels are: {', '.join(self.labels)}"
            )
        return number

    @cached_property
    def _numbers(self) -> Mapping[Any, int]:
        """The number of each class; looked up for every example, of which there may be as many as classes."""
        return {label: number for number, label in enumerate(self.labels)}

    @property
    def _range(self) -> float:
        # The reference divides by the greatest label, which is the same if the least is 0, as in STS-B.
        return (self.high - self.low) or 1.0

    def head(self) -> nn.Module:
        """Return a head with one logit per class, or with one number."""
        return ClassificationHead(
            num_labels=max(1, len(self.labels)),
            style=self.head_style,
            dtype=self.dtype,
            dropout_rate=self.head_dropout,
            initializer_range=self.initializer_range,
            pooling=self.pooling,
            layer_norm_epsilon=self.layer_norm_epsilon,
        )

    def loss(self, head: Any, hidden: Array, batch: TaskBatch, rng: Array | None) -> Array:
        """Return cross-entropy, or the squared error of the number scaled to 0 … 1; float32 ``[batch]``."""
        logits = head(hidden, batch.inputs.segment_ids != 0, rng)
        if self.kind == "regression":
            return squared_error(logits[:, 0], batch.targets["value"])
        return softmax_cross_entropy(logits, batch.targets["label"])

    def outputs(self, head: Any, hidden: Array, batch: TaskBatch) -> dict[str, Array]:
        """Return ``probabilities`` ``[batch, classes]``, or ``value`` ``[batch]``."""
        logits = head(hidden, batch.inputs.segment_ids != 0)
        if self.kind == "regression":
            return {"value": logits[:, 0]}
        return {"probabilities": jax.nn.softmax(logits)}

    def predictions(
        self, examples: Sequence[TextExample], rows: Rows, outputs: Mapping[str, np.ndarray]
    ) -> list[dict[str, Any]]:
        """Return ``id``, ``label``, its ``probability`` and all ``probabilities``; or ``id`` and ``value``.

        ``truncated`` is present, and true, where the text did not fit into its row.
        """
        # In prediction no pair is swapped, so each example has one row.
        is_cut = rows.details or [False] * len(examples)
        results: list[dict[str, Any]] = []
        for number, example in enumerate(examples):
            if self.kind == "regression":
                value = float(outputs["value"][number]) * self._range + self.low
                results.append({"id": example.id, "value": value})
                continue
            probabilities = outputs["probabilities"][number].tolist()
            best = int(np.argmax(probabilities))
            results.append(
                {
                    "id": example.id,
                    "label": self.labels[best],
                    "probability": probabilities[best],
                    "probabilities": dict(zip(self.labels, probabilities, strict=True)),
                }
            )
        for number, result in enumerate(results):
            if is_cut[number]:
                result["truncated"] = True
        return results

    def score(
        self, examples: Sequence[TextExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Return the metrics in percent, regression on the original scale of the labels; F1 is that of `f1_of`."""
        if any(example.label is None for example in examples):
            raise ValueError("labels that are hidden cannot be compared with")
        gold: list[Any] = [example.label for example in examples]
        if self.kind == "regression":
            values = [prediction["value"] for prediction in predictions]
            return classification_scores(self.kind, self.metrics, [float(label) for label in gold], values)
        return classification_scores(
            self.kind,
            self.metrics,
            [self._numbers[label] for label in gold],
            [self._numbers[prediction["label"]] for prediction in predictions],
            num_classes=len(self.labels),
            positive=None if self.f1_of is None else self._numbers[self.f1_of],
        )

    def measures(
        self, examples: Sequence[TextExample], predictions: Sequence[Mapping[str, Any]], names: Sequence[str]
    ) -> dict[str, Measure]:
        """Return those of the metrics ``names`` that follow from sums: the accuracy, and F1 if it is of one class."""
        if self.kind == "regression":
            return {}
        gold = np.array([example.label for example in examples], object)
        given = np.array([prediction["label"] for prediction in predictions], object)
        truth, guess = gold == self.f1_of, given == self.f1_of
        known = {"accuracy": lambda: mean_of(gold == given)}
        if self.f1_of is not None:
            known["f1"] = lambda: ratio_of(2 * (truth & guess), truth.astype(int) + guess)
        return {name: known[name]() for name in names if name in known and name in self.metrics}

    def tune(self, dev: Sequence[TextExample], predictions: Sequence[Mapping[str, Any]]) -> TunedTask:
        """Return the task as it is: nothing is tuned on the dev examples."""
        del dev, predictions
        return TunedTask(self)
