"""The tasks of fine-tuning: a section for each kind, with the keys that this kind reads and no others."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from electra_jax.config.conversations import ConversationsConfig
from electra_jax.config.fields import PathOrTfds, Section, field
from electra_jax.config.seq2seq import DecoderConfig, ParallelFiles, RetrievalConfig, SplitFile
from electra_jax.config.yaml_format import show
from electra_jax.files.file_names import is_file_name

TagScheme = Literal["BIO", "IOB1", "IOE2", "IOE1", "BIOES", "BMES", "BILOU", "BMEWO", "plain"]
TaskKind = Literal[
    "classification", "regression", "tagging", "question_answering", "multiple_choice", "ranking", "seq2seq"
]
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


_KIND = "What is predicted; where it is left out, as the benchmark's task of this name has it."


class TaskConfig(Section):
    """What every task to fine-tune on has: a benchmark's, known by its name, or one of your own files."""

    kind: TaskKind = field("classification", _KIND)
    data: PathOrTfds | None = field(
        None, "Directory with the benchmark's official files, or tfds:NAME[/CONFIG] as prepared by TFDS."
    )
    train: SplitFile = field(
        None,
        "Your own training file: .csv, .tsv, .jsonl, .json (SQuAD) or columns (.txt); for seq2seq also two files of "
        "parallel lines, {source_file: FILE, target_file: FILE}.",
    )
    dev: SplitFile = field(None, "Your own file to evaluate on.")
    test: SplitFile = field(None, "Your own file to predict, with or without labels.")
    id: str | None = field(None, "Column of the identifier; null: the number of the row.")
    metric: str | None = field(
        None,
        "The metric that decides what is best; null: the benchmark's, or the first of the kind.",
        free=True,
        affects_score=True,
    )
    weight: float | None = field(
        None,
        "Share of the batches when several tasks are trained, relative to the others; null: its batches.",
        gt=0.0,
    )

    @model_validator(mode="after")
    def _check_files(self) -> TaskConfig:
        for split in ("train", "dev", "test") if self.kind != "seq2seq" else ():
            if isinstance(getattr(self, split), ParallelFiles):
                raise ValueError(
                    f"{split} has two files, which kind seq2seq reads, not {self.kind}: name one"
                )
        return self


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


_Labels = list[ClassName] | None
_LABELS = "The classes in the order of their numbers; null: those of the training examples, sorted."


class ClassificationConfig(TextsConfig):
    """Which class, or classes, a text has."""

    kind: Literal["classification"] = field("classification", _KIND)
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

    kind: Literal["regression"] = field("regression", _KIND)


class TaggingConfig(ColumnsConfig):
    """Which tag a word has."""

    kind: Literal["tagging"] = field("tagging", _KIND)
    labels: _Labels = field(None, _LABELS)
    scheme: TagScheme | None = field(
        None,
        "How tags spell spans (BIO is IOB2, BIOES is IOBES), which decides how predictions do; plain: labels that are "
        "no spans; null: recognised.",
    )


class QuestionAnsweringConfig(TaskConfig):
    """Where in a context the answer to a question stands."""

    kind: Literal["question_answering"] = field("question_answering", _KIND)
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

    kind: Literal["multiple_choice"] = field("multiple_choice", _KIND)
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


class RankingConfig(TaskConfig):
    """Which of many candidates follows a context, or is alike."""

    kind: Literal["ranking"] = field("ranking", _KIND)
    conversations: ConversationsConfig | None = None
    distractors: int | None = field(
        None,
        "With conversations: so many replies of others, drawn once, stand beside each reply of dev and test; null: 19.",
        ge=1,
    )
    encoder: Literal["bi", "poly", "cross"] = field(
        "bi",
        "bi: a vector for the context, one for each candidate; poly: several for the context; cross: context and "
        "candidate are read together, which is the slowest.",
    )
    codes: int | None = field(None, "poly: vectors of a context, such as 16, 64 or 360; null: 64.", ge=1)
    context: str | None = field(None, "Column of the context; null: context.")
    response: str | None = field(None, "Column of the right candidate; null: response.")
    negatives: str | None = field(
        None, "Column of a list of wrong candidates, beside response; null: negatives."
    )
    candidates: str | None = field(
        None, "Column of a list of candidates, where there is no response; null: candidates."
    )
    label: str | None = field(
        None, "Column of the right one of candidates: its number from 0, or a list of numbers; null: label."
    )
    positives_from: Literal["file", "dropout"] = field(
        "file",
        "What is right in training: file: the response; dropout (bi): the text itself, read twice with other dropout "
        "(SimCSE), out of plain text (.txt), a text a line, or a column.",
    )
    negatives_from: Literal["batch", "file", "drawn"] | None = field(
        None,
        "What is trained against: batch: the candidates of all rows of the batch, and the file's; file: those of the "
        "file; drawn: where the file has fewer than negatives_per_example, responses of other examples, too; null: "
        "batch, for cross drawn.",
    )
    negatives_per_example: int | None = field(
        None, "Negatives of an example's own, at most; null: all of the file; where they are drawn 15.", ge=0
    )
    max_candidate_tokens: int = field(
        72, "bi and poly: longer candidates are cut at their end, [CLS] and [SEP] included.", ge=3
    )
    pooling: Literal["first", "mean"] = field(
        "first", "bi and poly: what stands for a text: the state of its [CLS], or the mean over its tokens."
    )
    similarity: Literal["dot", "cosine"] = field("dot", "bi: how two vectors are compared.")
    scale: float | None = field(
        None,
        "bi and poly: what scores are multiplied by at the start, 1 / temperature; it is learned. null: one over the "
        "square root of the width, for cosine 20.",
        gt=0.0,
    )
    temperature: float | None = field(
        None,
        "bi and poly: what scores are divided by in place of a scale that is learned; it stays as it is.",
        gt=0.0,
    )

    @property
    def number_of_codes(self) -> int:
        """Vectors of a context that are learned; 0 where its pooled states are one."""
        return (self.codes or 64) if self.encoder == "poly" else 0

    @property
    def negatives_of_batch(self) -> bool:
        """Whether the candidates of other rows of the batch are negatives."""
        return self.encoder != "cross" and self.negatives_from in (None, "batch")

    @property
    def has_scored_pairs(self) -> bool:
        """Whether dev and test have pairs of texts with how alike they are, and not candidates."""
        return self.metric in ("spearman", "pearson")

    @property
    def names_columns(self) -> bool:
        """Whether a column is named, so that files are of no published layout."""
        names = (self.context, self.response, self.negatives, self.candidates, self.label, self.id)
        return any(name is not None for name in names)

    @model_validator(mode="after")
    def _check(self) -> RankingConfig:
        if self.data is not None:
            raise ValueError(
                "data is for benchmarks and TFDS, where no candidates are read: give train and dev"
            )
        if self.codes is not None and self.encoder != "poly":
            raise ValueError(f"codes is for encoder poly, not {self.encoder}: leave it out")
        if self.similarity == "cosine" and self.encoder != "bi":
            raise ValueError(f"similarity cosine is for encoder bi, not {self.encoder}: leave it out")
        if self.encoder == "cross" and self.negatives_from == "batch":
            raise ValueError(
                "negatives_from batch is for encoders bi and poly: cross reads each candidate with its context, so set "
                "it to file or drawn"
            )
        if self.positives_from == "dropout":
            if self.encoder != "bi":
                raise ValueError(
                    f"positives_from dropout is for encoder bi, not {self.encoder}: set it to file"
                )
            if not self.negatives_of_batch:
                raise ValueError(
                    f"positives_from dropout reads texts alone, whose negatives are others of the batch: leave "
                    f"negatives_from {self.negatives_from} out"
                )
        if self.temperature is not None and self.scale is not None:
            raise ValueError(
                "temperature is 1 / scale, but stays as it is, while scale is learned: leave one out"
            )
        if problem := self._problem_with_conversations():
            raise ValueError(problem)
        for key in (
            ("max_candidate_tokens", "pooling", "scale", "temperature") if self.encoder == "cross" else ()
        ):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} is for encoders bi and poly, not cross: leave it out")
        return self

    def _problem_with_conversations(self) -> str | None:
        if self.conversations is None:
            wrong = "distractors is for conversations, whose files name no candidates: leave it out"
            return None if self.distractors is None else wrong
        for key in ("context", "response", "negatives", "candidates", "label"):
            if getattr(self, key) is not None:
                return f"{key} is not read with conversations, where each turn follows those before it: leave it out"
        if self.positives_from == "dropout":
            return "positives_from dropout reads texts alone, not conversations: set it to file"
        if self.has_scored_pairs:
            return f"metric {self.metric} is of pairs of texts, not of conversations: choose another"
        return None


class Seq2SeqConfig(TaskConfig):
    """What text a decoder writes for a text: a translation, a summary, a headline."""

    kind: Literal["seq2seq"] = field("seq2seq", _KIND)
    conversations: ConversationsConfig | None = None
    retrieval: RetrievalConfig | None = None
    source: str | None = field(None, "Column of the text that is read.")
    target: str | list[str] | None = field(
        None,
        "Column of the text to write, one text or a list of them; several columns have several references.",
    )
    prefix: str = field("", "Put before every source text, such as 'summarize: '.")
    max_target_tokens: int | None = field(
        None,
        "Longer targets are cut in training, [SEP] included; null: model.max_positions.",
        ge=2,
        lt=2**31,
    )
    long: Literal["truncate", "chunks", "error"] = field(
        "truncate",
        "Sources above data.sequence_length: cut; or read chunk by chunk, a text being written for each (training "
        "reads the first); or refused.",
    )
    label_smoothing: float = field(
        0.1, "Share of the target's probability that is spread over the vocabulary.", ge=0.0, lt=1.0
    )
    unlikelihood: float = field(
        0.0,
        "Weight of the loss against tokens that the target has had before (Welleck et al. 2020); 0: none.",
        ge=0.0,
    )
    word_dropout: float = field(
        0.0, "Share of the tokens that the decoder reads in training that become [MASK].", ge=0.0, lt=1.0
    )
    metrics: list[str] | None = field(
        None,
        "What is measured of the texts; null: bleu and chrf, or rouge1, rouge2 and rougeL if metric is one of those.",
        free=True,
        affects_score=True,
    )
    language: str = field(
        "en",
        "Language of the targets, by which bleu_tokenized_lowercase tokenises: a code such as de.",
        free=True,
        affects_score=True,
        min_length=2,
    )
    decoder: DecoderConfig = DecoderConfig()

    @model_validator(mode="after")
    def _check(self) -> Seq2SeqConfig:
        if self.data is not None:
            raise ValueError(
                "data is for benchmarks and TFDS, where no texts to write are read: give train and dev"
            )
        if not re.fullmatch("[a-z]{2,3}", self.language):
            raise ValueError(f"language {show(self.language, 40)} is no code of a language, such as en or de")
        for given, problem in (
            (self.conversations, self._problem_with_conversations),
            (self.retrieval, self._problem_with_retrieval),
        ):
            if given is not None and (found := problem()):
                raise ValueError(found)
        return self

    def _problem_with_conversations(self) -> str | None:
        for key in ("source", "target", "prefix"):
            if getattr(self, key):
                return f"{key} is not read with conversations, where each turn follows those before it: leave it out"
        if self.long == "chunks":
            return (
                "long chunks is not for conversations, of which the last turns are read: set it to truncate"
            )
        for split in ("train", "dev", "test"):
            if isinstance(getattr(self, split), ParallelFiles):
                return f"{split} has two files of parallel lines, which are no conversations: name one file"
        return None

    def _problem_with_retrieval(self) -> str | None:
        if self.long == "chunks":
            return "long chunks is not for retrieval, where a source is read once: set it to truncate"
        for split in ("train", "dev", "test"):
            if isinstance(getattr(self, split), ParallelFiles):
                return f"{split} has two files of parallel lines, which hold nothing retrieved: name one file"
        return None


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
