"""What a fine-tuning task is made of: examples, encoded rows, batches, and the task itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from flax import linen as nn
from flax import struct
from jax import Array

from electra_jax.model.inputs import EncoderInputs

# Target of tokens without a class, padding among them; it costs nothing in the loss.
NO_TARGET = -100

# Between the numbers of the rows of an example.
_BETWEEN_ROWS = 1 << 20

Label = str | float | tuple[str, ...] | None


@dataclass(frozen=True)
class TextExample:
    """One text or a pair of texts.

    Attributes:
        id: the identifier.
        text: the text, or the first of a pair.
        pair: the second text of a pair.
        label: a class as the file spells it, a number for regression, a tuple where a text may have several classes;
            None if hidden.
    """

    id: str
    text: str
    pair: str | None = None
    label: Label = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Its classes: one, or any number of them; () where they are hidden, or the label is a number."""
        if isinstance(self.label, tuple):
            return self.label
        return (self.label,) if isinstance(self.label, str) else ()

    @property
    def hidden(self) -> bool:
        """Whether the label is unknown."""
        return self.label is None

    @property
    def gold(self) -> Label:
        """The right answer; None if hidden."""
        return self.label


@dataclass(frozen=True)
class SourceLocation:
    """Where the words of a sentence are in a file, for error messages.

    Attributes:
        file: its name.
        line: the line of the first word, from 1.
        lines_per_word: 1 where each word has a line of its own; 0 where one line holds the whole sentence.
    """

    file: str
    line: int
    lines_per_word: int = 0

    def of_word(self, word: int) -> str:
        """Return file and line of a word, given its number from 0."""
        return f"{self.file}, line {self.line + self.lines_per_word * word}"


@dataclass(frozen=True)
class WordsExample:
    """Words with a tag each; ``tags`` is None if hidden. ``location`` is for messages, and not compared."""

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...] | None = None
    location: SourceLocation | None = field(default=None, compare=False, repr=False)

    @property
    def hidden(self) -> bool:
        """Whether the tags are unknown."""
        return self.tags is None

    @property
    def gold(self) -> tuple[str, ...] | None:
        """The right answer; None if hidden."""
        return self.tags


@dataclass(frozen=True)
class Answer:
    """An answer and the character of the context where it begins; None if it only serves for comparison."""

    text: str
    start: int | None


@dataclass(frozen=True)
class QuestionExample:
    """A question about a context; no ``answers`` means unanswerable (SQuAD 2.0), unless they are ``hidden``."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    hidden: bool = False

    @property
    def gold(self) -> tuple[str, ...] | None:
        """The texts of the right answers; None if hidden."""
        return None if self.hidden else tuple(answer.text for answer in self.answers)


@dataclass(frozen=True)
class Seq2SeqExample:
    """A text, and what is to be written for it.

    Attributes:
        id: the identifier.
        source: the text that is read.
        targets: the references, one or more; each is learned. None if they are hidden.
    """

    id: str
    source: str
    targets: tuple[str, ...] | None = None

    @property
    def hidden(self) -> bool:
        """Whether the targets are unknown."""
        return self.targets is None

    @property
    def gold(self) -> tuple[str, ...] | None:
        """The references; None if hidden."""
        return self.targets


@dataclass(frozen=True)
class RetrievedExample(Seq2SeqExample):
    """The same with a text that was retrieved for it.

    Attributes:
        retrieved: that text; None where there is none.
    """

    retrieved: str | None = None


@dataclass(frozen=True)
class ChoiceExample:
    """A context and several options, one of which is right.

    Attributes:
        id: the identifier.
        context: the text before the options: a dialogue, a passage, a sentence.
        options: two or more.
        question: asked of each option, and put before it; "" where there is none.
        answer: the number of the right option, from 0; None if hidden.
    """

    id: str
    context: str
    options: tuple[str, ...]
    question: str = ""
    answer: int | None = None

    @property
    def hidden(self) -> bool:
        """Whether the answer is unknown."""
        return self.answer is None

    @property
    def gold(self) -> str | None:
        """The right option; None if hidden."""
        return None if self.answer is None else self.options[self.answer]


@dataclass(frozen=True)
class RankingExample:
    """A context and candidates, some of which are right.

    Attributes:
        id: the identifier.
        context: what is before the candidates, or is compared with them.
        candidates: texts; in training one may be enough.
        relevant: the numbers of the right ones, from 0; None if hidden.
    """

    id: str
    context: str
    candidates: tuple[str, ...]
    relevant: tuple[int, ...] | None = None

    @property
    def hidden(self) -> bool:
        """Whether the right candidates are unknown."""
        return self.relevant is None

    @property
    def gold(self) -> tuple[str, ...] | None:
        """The right candidates; None if hidden."""
        return None if self.relevant is None else tuple(self.candidates[n] for n in self.relevant)


Example = TextExample | WordsExample | QuestionExample | Seq2SeqExample | ChoiceExample | RankingExample


@dataclass(frozen=True)
class Rows:
    """Encoded rows ``[CLS] … [SEP]`` of different lengths.

    Attributes:
        input_ids: int32 ``[length]`` for each row, or ``[texts, length]`` where texts stay together, as many in each.
        token_type_ids: as ``input_ids``.
        targets: by name, either one array ``[rows, …]`` (a value per row, or one for each class) or a list of
            ``[length]`` (a value per token).
        example_index: int32 ``[rows]``, the number of the example that a row belongs to; long examples have several
            rows.
        details: what the task needs to decode predictions, one entry per row (offsets into the text, for instance).
        target_ids: int32 ``[target_length]`` for each row, a text to be written, whose length is another than the
            row's; () where the task has none.
        segment_ids: as ``input_ids``: 0 for padding, and 1, 2, … for what is read by itself; () where all is 1.
        notes: lines for the user about the texts, each beginning with ``note:`` or ``warning:``.
    """

    input_ids: Sequence[np.ndarray]
    token_type_ids: Sequence[np.ndarray]
    targets: Mapping[str, np.ndarray | Sequence[np.ndarray]]
    example_index: np.ndarray
    details: Sequence[Any] = ()
    target_ids: Sequence[np.ndarray] = ()
    segment_ids: Sequence[np.ndarray] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int ``[rows]``; of texts that stay together those of the longest."""
        return np.array([np.shape(ids)[-1] for ids in self.input_ids], np.int64)

    @property
    def texts_per_row(self) -> int:
        """How many texts stay together in a row; 1 where each has its own."""
        return int(np.prod(np.shape(self.input_ids[0])[:-1])) if len(self) else 1

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """Return for rows of these positions, int ``[n]``, the numbers from which random numbers follow, int32 ``[n]``.

        That of an example's first row is the example's, however many rows others have; those of its other rows are far
        from it.
        """
        examples = self.example_index[rows]
        later = rows - np.searchsorted(self.example_index, examples)
        return (examples.astype(np.int64) + later * _BETWEEN_ROWS).astype(np.int32)


@struct.dataclass
class TaskBatch:
    """Rows of one task, padded to one length.

    Attributes:
        inputs: int32 ``[batch, length]`` each, or ``[batch, texts, length]``.
        targets: ``[batch]``, ``[batch, length]`` or ``[batch, classes]``, by name; ``target_ids`` is
            ``[batch, target_length]``.
        weights: float32 ``[batch]``, 0.0 for padding rows; for others 1.0, or of a text to be written its tokens.
        numbers: int32 ``[batch]``, `Rows.numbers` of the rows, whatever batch they are in; 0 of padding rows.
        task: the task's name; a batch of another task is another program.
    """

    inputs: EncoderInputs
    targets: dict[str, Array]
    weights: Array
    numbers: Array
    task: str = struct.field(pytree_node=False)


@struct.dataclass
class SummedLoss:
    """The loss of a batch whose rows are summed already, with a gradient for the sum alone.

    Attributes:
        total: float32 scalar, Σ w · loss over the rows.
        rows: float32 ``[batch]``, the loss of each row as it is logged.
    """

    total: Array
    rows: Array


@dataclass(frozen=True)
class TunedTask:
    """A task after training, with what was tuned on the dev examples.

    Attributes:
        task: the task as it predicts from now on.
        learned_settings: fields of `settings.TaskSettings` that changed, by name; they are kept beside the parameters.
        note: a line for the user; None where there is nothing to say.
    """

    task: Task
    learned_settings: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None


class Task(Protocol):
    """One fine-tuning task: how examples become rows, what its head computes, how its predictions are scored.

    Attributes:
        name: of the task, and of its head's parameters, ``heads/<name>``.
        kind: that of its configuration, such as "classification".
        labels: the classes in the order of their numbers; () where there are none.
        metric: the metric that selects checkpoints and seeds; larger is better.
        f1_of: the class whose F1 is measured; None where F1 is not that of a single class, or not measured.
        shares: (name in the head's parameters, name in the encoder's) of what the head computes with besides its own,
            such as ``("embeddings", "embeddings")``.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def labels(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def metric(self) -> str: ...  # noqa: D102
    @property
    def f1_of(self) -> str | None: ...  # noqa: D102
    @property
    def shares(self) -> tuple[tuple[str, str], ...]: ...  # noqa: D102

    def encode(self, examples: Sequence[Any], *, training: bool) -> Rows:
        """Encode examples as rows; with ``training`` they must have targets.

        Raises:
            UserError: a label that is unknown or missing; a text that does not fit.
        """

    def head(self) -> nn.Module:
        """Return the head; its parameters are initialised by calling it as `loss` does."""

    def loss(self, head: Any, hidden: Array, batch: TaskBatch, rng: Array | None) -> Array | SummedLoss:
        """Return the loss of each row, float32 ``[batch]``, or their sum.

        Args:
            head: the bound head.
            hidden: the encoder's states, of the shape of the batch's ids and ``hidden``.
            batch: with targets.
            rng: for dropout; None in evaluation.
        """

    def outputs(self, head: Any, hidden: Array, batch: TaskBatch) -> dict[str, Array]:
        """Return what predictions are read from, arrays with the batch axis first; needs no targets."""

    def predictions(
        self, examples: Sequence[Any], rows: Rows, outputs: Mapping[str, np.ndarray]
    ) -> list[dict[str, Any]]:
        """Return one JSON object per example, in order, beginning with its ``id``.

        Args:
            examples: the examples.
            rows: what `encode` made of them.
            outputs: what `outputs` gave for each row, ``[rows, ...]``.
        """

    def score(self, examples: Sequence[Any], predictions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return the metrics in percent, by name, ``metric`` first; examples must not be hidden."""

    def tune(self, dev: Sequence[Any], predictions: Sequence[Mapping[str, Any]]) -> TunedTask:
        """Return the task with what it tunes on the dev examples, such as a threshold; most tune nothing.

        Args:
            dev: the dev examples.
            predictions: the predictions for them by the task as it is.
        """


@runtime_checkable
class Signed(Protocol):
    """A task whose metrics depend on how texts are tokenised, among others, and say so."""

    def signatures(self, examples: Sequence[Any]) -> dict[str, str]:
        """Return by metric how it is computed on these examples, for those that have a signature."""
