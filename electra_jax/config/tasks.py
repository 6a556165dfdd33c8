"""The tasks of fine-tuning: a section for each kind, with the keys that this kind reads and no others."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from electra_jax.config.fields import field
from electra_jax.config.ranking_task import RankingConfig
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.config.task import KIND, POOLING, Pooling, TaskConfig, TaskKind
from electra_jax.config.yaml_format import show
from electra_jax.files.file_names import is_file_name

TagScheme = Literal["BIO", "IOB1", "IOE2", "IOE1", "BIOES", "BMES", "BILOU", "BMEWO", "plain"]
ChoiceFormat = Literal["columns", "mutual", "swag", "copa", "race"]

# What the tasks of benchmarks predict, known by their names.
BENCHMARK_KINDS: Mapping[str, TaskKind] = MappingProxyType(
    {
        **dict.fromkeys(
            ("cola", "sst2", "mrpc", "qqp", "mnli", "qnli", "rte", "wnli", "ag_news"), "classification"
        ),
        "stsb": "regression",
        **dict.fromkeys(("squad", "squad2"), "question_answering"),
        **dict.fromkeys(("chunk", "ner"), "tagging"),
    }
)


def nearest_benchmark(name: str) -> str:
    """Return `` (did you mean rte?)``, or nothing where no benchmark's name is near."""
    nearest = difflib.get_close_matches(name.lower(), BENCHMARK_KINDS, n=1)
    return f" (did you mean {nearest[0]}?)" if nearest else ""


def _separator(text: str) -> str:
    if not text:
        raise ValueError("an empty text separates nothing: name a character, or leave it out")
    return text


def _threshold(value: Any) -> Any:
    """Check a threshold before its type is looked at: one sentence, and not one for each type it may have."""
    if value not in (None, "tune") and (type(value) not in (int, float) or not 0 < value < 1):
        raise ValueError(f"{show(value, 40)} is no threshold: it must be between 0 and 1, tune or null")
    return value


def _class_name(value: Any) -> Any:
    """Read the name of a class as labels of files are read: 1 is the class "1"."""
    return str(value).lower() if isinstance(value, int) else value


ClassName = Annotated[str, BeforeValidator(_class_name)]


class ColumnsConfig(TaskConfig):
    """Tasks whose files may have columns by name."""

    text: str | None = field(None, "Column of the (first) text; of the words, for tagging JSON lines.")
    label: str | None = field(None, "Column of the label or number; of the tags, for tagging JSON lines.")


class TextsConfig(ColumnsConfig):
    """Tasks that say something of a text, or of two."""

    pair: str | None = field(None, "Column of the second text; null: there is none.")
    swap_pairs: bool | None = field(
        None, "Train on every pair in both orders; null: as the reference does (MRPC and STS-B)."
    )
    pooling: Pooling = field(None, POOLING)


_Labels = list[ClassName] | None
_LABELS = "The classes in the order of their numbers; null: those of the training examples, sorted."


class ClassificationConfig(TextsConfig):
    """Which class, or classes, a text has."""

    kind: Literal["classification"] = field("classification", KIND)
    labels: _Labels = field(None, _LABELS)
    multi_label: bool = field(
        False, "A text may have any number of the labels, none among them (sigmoid, not softmax)."
    )
    label_separator: Annotated[str, AfterValidator(_separator)] | None = field(
        None,
        "multi_label: what stands between the labels in a cell of a table; null: |. JSON lines have lists.",
    )
    threshold: Annotated[float | Literal["tune"] | None, BeforeValidator(_threshold)] = field(
        None,
        "multi_label: labels at least so probable are predicted; tune: the best on the dev examples; null: 0.5.",
        free=True,
        affects_score=True,
    )
    positive: ClassName | None = field(
        None,
        "The class that F1 is of; null: of two the second (a benchmark's 1), else the mean over all.",
        free=True,
        affects_score=True,
    )

    @model_validator(mode="after")
    def _check(self) -> ClassificationConfig:
        if self.positive is not None and self.multi_label:
            raise ValueError(
                "positive is for classification with one label a text, not multi_label: leave it out"
            )
        if self.multi_label and self.data is not None:
            raise ValueError("multi_label is for your own files, not for data: give train and dev")
        for key in () if self.multi_label else ("label_separator", "threshold"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key} is for multi_label: set multi_label to true, or leave {key} out")
        return self


class RegressionConfig(TextsConfig):
    """Which number a text has."""

    kind: Literal["regression"] = field("regression", KIND)


class TaggingConfig(ColumnsConfig):
    """Which tag a word has."""

    kind: Literal["tagging"] = field("tagging", KIND)
    labels: _Labels = field(None, _LABELS)
    scheme: TagScheme | None = field(
        None,
        "How tags spell spans (BIO is IOB2, BIOES is IOBES), which decides how predictions do; plain: labels that are "
        "no spans; null: recognised.",
    )


class QuestionAnsweringConfig(TaskConfig):
    """Where in a context the answer to a question stands."""

    kind: Literal["question_answering"] = field("question_answering", KIND)
    joint: bool = field(True, "The end is predicted knowing the start, as in the reference.")
    answerable: bool = field(True, "A classifier says whether there is an answer.")
    beam: int = field(
        20, "Starts, and ends for each, that are looked at.", free=True, affects_score=True, ge=1
    )
    n_best: int = field(20, "Answers kept for each question.", free=True, ge=1)
    max_question_tokens: int = field(64, "Longer questions are cut.", ge=1)
    max_answer_tokens: int = field(30, "Longer answers are not given, and windows overlap by as much.", ge=1)
    stride: int = field(128, "Tokens by which the window moves over a long context.", ge=1)


class MultipleChoiceConfig(TaskConfig):
    """Which of several options is right after a context."""

    kind: Literal["multiple_choice"] = field("multiple_choice", KIND)
    format: ChoiceFormat | None = field(
        None,
        "How files are laid out: columns (named by the keys below), or the official mutual, swag, copa or race; null: "
        "recognised by their columns.",
    )
    context: str | None = field(None, "Column of the context; null: context.")
    question: str | None = field(
        None, "Column of a question, put before each option; null: question, where there is one."
    )
    options: str | list[str] | None = field(
        None, "Column of the list of options, or a list of columns with one each; null: options."
    )
    label: str | None = field(
        None, "Column of the right option: its number from 0, or its letter from A; null: label."
    )
    pooling: Pooling = field(None, POOLING)

    @model_validator(mode="after")
    def _check(self) -> MultipleChoiceConfig:
        if self.data is not None:
            raise ValueError("data is for benchmarks and TFDS, where no options are read: give train and dev")
        named = [key for key in ("context", "question", "options", "label", "id") if getattr(self, key)]
        if named and self.format not in (None, "columns"):
            raise ValueError(
                f"{named[0]} names a column, but format {self.format} has known ones: leave it out"
            )
        if isinstance(self.options, list) and len(set(self.options)) < max(2, len(self.options)):
            raise ValueError("options must name one column with lists, or two columns or more, each once")
        return self


AnyTask = Annotated[
    ClassificationConfig
    | RegressionConfig
    | TaggingConfig
    | QuestionAnsweringConfig
    | MultipleChoiceConfig
    | RankingConfig
    | Seq2SeqConfig,
    Field(discriminator="kind"),
]


def _check_names(tasks: Any) -> Any:
    """Refuse tasks whose names cannot be file names, and fill in the kinds that follow from a name."""
    if not isinstance(tasks, Mapping):
        return tasks
    for name in tasks:
        if isinstance(name, str) and not is_file_name(name):
            raise ValueError(
                f"a task cannot be called {show(name, 40)}, since files are named after it: use letters and digits"
            )
    return {name: _with_kind(name, task) for name, task in tasks.items()}


def _with_kind(name: str, task: Any) -> Any:
    if not isinstance(task, Mapping) or task.get("kind") is not None:
        return task
    if name not in BENCHMARK_KINDS:
        raise ValueError(
            f"the kind of {name} is not set, and {name!r} is no benchmark{nearest_benchmark(str(name))}: set "
            f"finetune.tasks.{name}.kind to {', '.join(get_args(TaskKind))}"
        )
    return {**task, "kind": BENCHMARK_KINDS[name]}


Tasks = Annotated[dict[str, AnyTask], BeforeValidator(_check_names)]
