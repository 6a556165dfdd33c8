"""The benchmarks that are known by name: their official files, columns, labels and metrics.

As in google-research/electra, finetune/.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from electra_jax.config.task import TaskKind


@dataclass(frozen=True)
class Columns:
    """The columns of the fields of an example: names from a header (or of TFDS features), or numbers from 0.

    Attributes:
        text: of the text (the words, the question); several are joined by `TEXT_SEPARATOR`.
        pair: of the second text (the context, for questions).
        label: of the label, number, tags or answers; None where there is none.
        id: of the identifier; None stands for the number of the row, from 0.
    """

    text: tuple[str | int, ...]
    pair: str | int | None = None
    label: str | int | None = None
    id: str | int | None = None

    @property
    def all(self) -> tuple[str | int, ...]:
        """All columns, in the order of the attributes."""
        return self.text + tuple(c for c in (self.pair, self.label, self.id) if c is not None)


@dataclass(frozen=True)
class OfficialFile:
    """One official file.

    Attributes:
        names: that it is published under; the first that exists is read.
        header: its columns by name; None if it has no header line.
        positions: its columns by number, if it has no header line; with both, the first line decides.
        width: the number of columns it must have, where they are known by number.
    """

    names: tuple[str, ...]
    header: Columns | None = None
    positions: Columns | None = None
    width: int = 0


@dataclass(frozen=True)
class Benchmark:
    """What the name of a benchmark decides about a task.

    Attributes:
        kind: of the task.
        metrics: by name; the first selects checkpoints and seeds.
        folders: names of its folder.
        files: by split.
        labels: the classes in the order of their numbers; () where they are found in the training examples.
        spellings: other spellings of labels, as in TFDS or the original files, → those used here.
        swap_pairs: whether the reference trains on every pair in both orders.
        features: the TFDS features of its fields; None if TFDS does not have it.
        extra_configs: by split, another configuration of the TFDS dataset whose test examples are read, if it is
            prepared.
        submission: GLUE's file names by split.
        held_out: which tenth of the training examples becomes dev where there is none: the "end", so that neighbours in
            a document stay together, or "every_tenth", where the file is sorted.
    """

    kind: TaskKind
    metrics: tuple[str, ...]
    folders: tuple[str, ...]
    files: Mapping[str, OfficialFile]
    labels: tuple[str, ...] = ()
    spellings: Mapping[str, str] = field(default_factory=dict)
    swap_pairs: bool = False
    features: Columns | None = None
    extra_configs: Mapping[str, str] = field(default_factory=dict)
    submission: Mapping[str, str] = field(default_factory=dict)
    held_out: Literal["end", "every_tenth"] | None = None


TEXT_SEPARATOR = " . "  # Between title and description of AG News, as in its training file here.

_BINARY = ("0", "1")
_ENTAILMENT = ("contradiction", "entailment", "neutral")
_TWO_WAY = ("entailment", "not_entailment")


def _glue_files(header: Columns, test_header: Columns | None = None) -> dict[str, OfficialFile]:
    """Return train, dev and test of a GLUE task; test files have no labels, and a column with the number of the row."""
    test = test_header or Columns(header.text, header.pair, None, "index")
    return {
        "train": OfficialFile(("train.tsv",), header),
        "dev": OfficialFile(("dev.tsv",), header),
        "test": OfficialFile(("test.tsv",), test),
    }


_COLA = Columns((3,), label=1)
_MNLI = Columns(("sentence1",), "sentence2", "gold_label")
_DIAGNOSTIC = (
    *("AX.tsv", "diagnostic.tsv"),
    *("../AX/AX.tsv", "../AX/test.tsv", "../diagnostic/diagnostic.tsv"),
)
_MNLI_TEST = Columns(("sentence1",), "sentence2", None, "index")
_AG_NEWS = {
    "header": Columns(("text",), label="label"),
    "positions": Columns((1, 2), label=0),
    "width": 3,
}

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        "cola": Benchmark(
            "classification",
            ("matthews",),
            ("CoLA",),
            {
                "train": OfficialFile(("train.tsv",), positions=_COLA, width=4),
                "dev": OfficialFile(("dev.tsv",), positions=_COLA, width=4),
                "test": OfficialFile(("test.tsv",), Columns(("sentence",), id="index")),
            },
            labels=_BINARY,
            spellings={"unacceptable": "0", "acceptable": "1"},
            features=Columns(("sentence",), None, "label", "idx"),
            submission={"test": "CoLA.tsv"},
        ),
        "sst2": Benchmark(
            "classification",
            ("accuracy",),
            ("SST-2",),
            _glue_files(Columns(("sentence",), label="label")),
            labels=_BINARY,
            spellings={"negative": "0", "positive": "1"},
            features=Columns(("sentence",), None, "label", "idx"),
            submission={"test": "SST-2.tsv"},
        ),
        "mrpc": Benchmark(
            "classification",
            ("accuracy", "f1"),
            ("MRPC",),
            _glue_files(Columns(("#1 String",), "#2 String", "Quality")),
            labels=_BINARY,
            spellings={"not_equivalent": "0", "equivalent": "1"},
            swap_pairs=True,
            features=Columns(("sentence1",), "sentence2", "label", "idx"),
            submission={"test": "MRPC.tsv"},
        ),
        "stsb": Benchmark(
            "regression",
            ("spearman", "pearson"),
            ("STS-B",),
            _glue_files(Columns(("sentence1",), "sentence2", "score")),
            swap_pairs=True,
            features=Columns(("sentence1",), "sentence2", "label", "idx"),
            submission={"test": "STS-B.tsv"},
        ),
        "qqp": Benchmark(
            "classification",
            ("accuracy", "f1"),
            ("QQP",),
            _glue_files(
                Columns(("question1",), "question2", "is_duplicate"),
                Columns(("question1",), "question2", None, "id"),
            ),
            labels=_BINARY,
            spellings={"not_duplicate": "0", "duplicate": "1"},
            features=Columns(("question1",), "question2", "label", "idx"),
            submission={"test": "QQP.tsv"},
        ),
        "mnli": Benchmark(
            "classification",
            ("accuracy",),
            ("MNLI",),
            {
                "train": OfficialFile(("train.tsv",), _MNLI),
                "dev": OfficialFile(("dev_matched.tsv",), _MNLI),
                "dev_mismatched": OfficialFile(("dev_mismatched.tsv",), _MNLI),
                "test": OfficialFile(("test_matched.tsv",), _MNLI_TEST),
                "test_mismatched": OfficialFile(("test_mismatched.tsv",), _MNLI_TEST),
                # GLUE's diagnostic examples: only for testing, and in a folder of their own.
                "test_diagnostic": OfficialFile(_DIAGNOSTIC, _MNLI_TEST),
            },
            labels=_ENTAILMENT,
            features=Columns(("premise",), "hypothesis", "label", "idx"),
            submission={
                "test": "MNLI-m.tsv",
                "test_mismatched": "MNLI-mm.tsv",
                "test_diagnostic": "AX.tsv",
            },
            extra_configs={"test_diagnostic": "ax"},
        ),
        "qnli": Benchmark(
            "classification",
            ("accuracy",),
            ("QNLI",),
            _glue_files(Columns(("question",), "sentence", "label")),
            labels=_TWO_WAY,
            features=Columns(("question",), "sentence", "label", "idx"),
            submission={"test": "QNLI.tsv"},
        ),
        "rte": Benchmark(
            "classification",
            ("accuracy",),
            ("RTE",),
            _glue_files(Columns(("sentence1",), "sentence2", "label")),
            labels=_TWO_WAY,
            features=Columns(("sentence1",), "sentence2", "label", "idx"),
            submission={"test": "RTE.tsv"},
        ),
        "wnli": Benchmark(
            "classification",
            ("accuracy",),
            ("WNLI",),
            _glue_files(Columns(("sentence1",), "sentence2", "label")),
            labels=_BINARY,
            spellings={"not_entailment": "0", "entailment": "1"},
            features=Columns(("sentence1",), "sentence2", "label", "idx"),
            submission={"test": "WNLI.tsv"},
        ),
        "squad": Benchmark(
            "question_answering",
            ("f1",),
            ("squad", "SQuAD", "squad1", "squad1.1"),
            {"train": OfficialFile(("train-v1.1.json",)), "dev": OfficialFile(("dev-v1.1.json",))},
            features=Columns(("question",), "context", "answers", "id"),
        ),
        "squad2": Benchmark(
            "question_answering",
            ("f1",),
            ("squad", "SQuAD", "squad2", "squad2.0"),
            {"train": OfficialFile(("train-v2.0.json",)), "dev": OfficialFile(("dev-v2.0.json",))},
            features=Columns(("question",), "context", "answers", "id"),
        ),
        "chunk": Benchmark(
            "tagging",
            ("f1",),
            ("conll2000", "chunk"),
            {
                "train": OfficialFile(("train.txt",), positions=Columns((0,), label=2), width=3),
                "test": OfficialFile(("test.txt",), positions=Columns((0,), label=2), width=3),
            },
            held_out="end",
        ),
        "ner": Benchmark(
            "tagging",
            ("f1",),
            ("conll2003", "ner"),
            {
                split: OfficialFile(names, positions=Columns((0,), label=3), width=4)
                for split, names in {
                    "train": ("train.txt", "eng.train"),
                    "dev": ("valid.txt", "dev.txt", "eng.testa"),
                    "test": ("test.txt", "eng.testb"),
                }.items()
            },
            features=Columns(("tokens",), label="ner"),
        ),
        "ag_news": Benchmark(
            "classification",
            ("accuracy",),
            ("ag_news", "ag_news_csv"),
            {
                "train": OfficialFile(("train.csv",), **_AG_NEWS),  # type: ignore[arg-type]
                "test": OfficialFile(("test.csv",), **_AG_NEWS),  # type: ignore[arg-type]
            },
            labels=("World", "Sports", "Business", "Sci/Tech"),
            spellings={"1": "World", "2": "Sports", "3": "Business", "4": "Sci/Tech"},
            features=Columns(("title", "description"), label="label"),
            held_out="every_tenth",
        ),
    }
)
