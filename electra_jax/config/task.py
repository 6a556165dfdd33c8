"""What every task of fine-tuning has, whatever is predicted."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from electra_jax.config.fields import PathOrTfds, Section, field
from electra_jax.config.seq2seq import ParallelFiles, SplitFile

TaskKind = Literal[
    "classification", "regression", "tagging", "question_answering", "multiple_choice", "ranking", "seq2seq"
]
KIND = "What is predicted; where it is left out, as the benchmark's task of this name has it."
Pooling = Literal["first", "mean"] | None
POOLING = (
    "What stands for a text: first: the state of its [CLS]; mean: the mean over its tokens; null: mean with "
    "model.local_attention.window, whose last layers do not show [CLS] all of a text, else first."
)


class TaskConfig(Section):
    """What every task to fine-tune on has: a benchmark's, known by its name, or one of your own files."""

    kind: TaskKind = field("classification", KIND)
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
