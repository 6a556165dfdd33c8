"""Commands as a shell would run them, but in this process, and what they leave behind."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_run import small_run_config, write_corpus

from electra_jax import cli
from electra_jax.config import dump_config

SPEEDS = ("sequences_per_second", "tokens_per_second", "model_flops_utilization")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


class Commands:
    """Runs a ``main`` through `cli.run`, as ``python -m`` does."""

    def __init__(self, capsys: pytest.CaptureFixture[str]):
        self._capsys = capsys

    def __call__(self, main: Callable[[Sequence[str] | None], int], *argv: object) -> Ended:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.run(lambda _: main([str(argument) for argument in argv]))
        shown = self._capsys.readouterr()
        return Ended(stop.value.code, shown.out, shown.err)


def write_vocabulary(path: Path, corpus: Path) -> Path:
    """A BERT vocab.txt of all words of a corpus."""
    words = sorted(set(re.findall(r"\w+|\.", corpus.read_text())))
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    return path


def write_run(folder: Path) -> Path:
    """The configuration of a run of a few steps, WordPiece, on a corpus of its own; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_vocabulary(folder / "vocab.txt", write_corpus(folder / "corpus.txt"))
    config = small_run_config(
        folder,
        tokenizer={"kind": "wordpiece", "vocab_file": str(vocabulary), "vocab_size": None},
        model={"num_layers": 1},
        train={
            "steps": 6,
            "batch_size": 8,
            "log_every": 2,
            "eval_every": 6,
            "checkpoint_every": 3,
            "show_examples": 2,
        },
    )
    path = folder / "run.yaml"
    path.write_text(dump_config(config))
    return path


def metrics_of(workdir: Path) -> list[dict]:
    """The lines of metrics.jsonl without the speeds, which no two runs share."""
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in r.items() if name not in SPEEDS} for r in records]


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with what it holds, and every directory."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
