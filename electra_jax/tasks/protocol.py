"""What a fine-tuning task is made of: examples, encoded rows, batches, and the task itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from flax import linen as nn
from flax import struct
from jax import Array

from electra_jax.model.inputs import EncoderInputs

# Target of tokens that no class is asked for, those that fill a row up among them: no class, so they cost nothing.
NO_TARGET = -100

Label = str | float | tuple[str, ...] | None


@dataclass(frozen=True)
class TextExample:
    """One text or a pair of texts.

    ``label`` is as the file spells it, a number for regression, a tuple where a text may have several; None if hidden.
    """

    id: str
    text: str
    pair: str | None = None
    label: Label = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it has: one, or any number of them; none where they are hidden, or it is a number."""
        if isinstance(self.label, tuple):
            return self.label
        return (self.label,) if isinstance(self.label, str) else ()

    @property
    def hidden(self) -> bool:
        """Whether the right label is not known."""
        return self.label is None


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
        """Whether the right tags are not known."""
        return self.tags is None


@dataclass(frozen=True)
class Answer:
    """An answer and the character of the context it begins at; None for one that is only compared with."""

    text: str
    start: int | None


@dataclass(frozen=True)
class QuestionExample:
    """A question about a context; without ``answers`` it has none there (SQuAD 2.0), unless they are ``hidden``."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    hidden: bool = False


Example = TextExample | WordsExample | QuestionExample


@dataclass(frozen=True)
class Rows:
    """Encoded rows of differing lengths, ``[CLS] … [SEP]``.

    Attributes:
        input_ids: int32 ``[length]`` of each row.
        token_type_ids: int32 ``[length]`` of each row.
        targets: by name, either one array ``[rows, …]`` (a value a row, or one for each class) or a list of
            ``[length]`` (a value a token).
        example_index: int32 ``[rows]``, the number of the example a row belongs to; a long one may have several.
        details: whatever the task needs to read predictions, one entry a row (offsets into the text, for instance).
    """

    input_ids: Sequence[np.ndarray]
    token_type_ids: Sequence[np.ndarray]
    targets: Mapping[str, np.ndarray | Sequence[np.ndarray]]
    example_index: np.ndarray
    details: Sequence[Any] = ()

    def __len__(self) -> int:
        return len(self.input_ids)


@struct.dataclass
class TaskBatch:
    """Rows of one task, filled up to one length; ``weights`` is 0.0 for rows that only fill the batch.

    inputs: int32 ``[batch, length]`` each.
    targets: ``[batch]``, ``[batch, length]`` or ``[batch, classes]`` by name.
    weights: float32 ``[batch]``.
    task: the task's name; a batch of another task is another program.
    """

    inputs: EncoderInputs
    targets: dict[str, Array]
    weights: Array
    task: str = struct.field(pytree_node=False)


@dataclass(frozen=True)
class TunedTask:
    """A task after training, with what it chose on the dev examples.

    Attributes:
        task: as it predicts from now on.
        learned_settings: fields of `settings.TaskSettings` that are kept beside the parameters, by name.
        note: a line that says so; None: nothing to say.
    """

    task: Task
    learned_settings: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None


class Task(Protocol):
    """One fine-tuning task: how examples become rows, what its head computes, what its predictions are worth.

    Attributes:
        name: of the task, also of its head's parameters, ``heads/<name>``.
        kind: that of its configuration, such as "classification".
        labels: the classes in the order of their numbers; empty where there are none.
        metric: the metric that decides which checkpoint or seed is best; larger is better.
        f1_of: the class that F1 is of; None where it is no class's alone, or not measured.
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

    def encode(self, examples: Sequence[Any], *, training: bool) -> Rows:
        """Rows of examples; with ``training`` their targets must be there.

        Raises:
            UserError: a label that is not known, or missing; a text that does not fit.
        """

    def head(self) -> nn.Module:
        """The head; its parameters are initialised by calling it as `loss` does."""

    def loss(self, head: Any, hidden: Array, batch: TaskBatch, rng: Array | None) -> Array:
        """The loss of each row, float32 ``[batch]``, from the encoder's states ``[batch, length, hidden]``.

        Args:
            head: the bound head.
            hidden: the encoder's states.
            batch: with targets.
            rng: for dropout; None is evaluation.
        """

    def outputs(self, head: Any, hidden: Array, batch: TaskBatch) -> dict[str, Array]:
        """What predictions are read from, every array with the batch axis first; needs no targets."""

    def predictions(
        self, examples: Sequence[Any], rows: Rows, outputs: Mapping[str, np.ndarray]
    ) -> list[dict[str, Any]]:
        """One JSON object an example, in order, beginning with its ``id``.

        Args:
            examples: the examples.
            rows: what `encode` made of them.
            outputs: what `outputs` gave for each row, ``[rows, ...]``.
        """

    def score(self, examples: Sequence[Any], predictions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The task's metrics in percent, by name, ``metric`` first; examples with hidden answers are not allowed."""

    def tune(self, dev: Sequence[Any], predictions: Sequence[Mapping[str, Any]]) -> TunedTask:
        """What the task chooses once it is trained, such as a threshold; most choose nothing.

        Args:
            dev: the dev examples.
            predictions: for them, by the task as it is.
        """
