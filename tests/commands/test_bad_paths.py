"""Every command with every kind of path that cannot be used: status 2, one printable line, nothing written.

To add a place where a path is taken, add a line to PLACES; to add a kind of bad path, one to KINDS.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import pytest
from command_runs import contents, write_run

from electra_jax import evaluate, generate, plan, plot, predict, prepare, train
from electra_jax.benchmark import __main__ as benchmark
from electra_jax.convert import __main__ as convert
from electra_jax.partitioning import mesh

READ_FILE, READ_FOLDER, READ_CHECKPOINT, WRITE_FILE, WRITE_FOLDER, WRITE_CHECKPOINT, SPARE = (
    "file to read", "folder to read", "checkpoint to read",
    "file to write", "folder to write", "folder of checkpoints to write", "folder that one can do without",
)  # fmt: skip
READ = (READ_FILE, READ_FOLDER, READ_CHECKPOINT)
FOLDERS = (READ_FOLDER, READ_CHECKPOINT, WRITE_FOLDER, WRITE_CHECKPOINT)
NEEDED = (READ_FILE, *FOLDERS, WRITE_FILE)
ALL = (*NEEDED, SPARE)


@dataclass(frozen=True)
class Place:
    """Where a command takes a path: ``{}`` in one of its arguments."""

    main: Callable
    arguments: tuple[str, ...]
    use: str

    @property
    def option(self) -> str | None:
        """The option that takes the path, if it is one."""
        return next((a for a in self.arguments if a.startswith("--") and "{}" in a), None)

    def argv(self, path: str) -> list[str]:
        if not any(argument in ("{}", self.option) for argument in self.arguments):
            path = json.dumps(path)  # a YAML value, in quotes
        return [argument.replace("{}", path) for argument in self.arguments]


TRAIN = ("--config", "run.yaml", "--workdir", "new")
TUNE = ("--config", "tune.yaml", "--workdir", "new")
TASK = ("finetune.tasks.mine={kind: classification, train: {}, dev: task.csv, text: text, label: label}",)

PLACES = {
    "train --config": Place(train.main, ("--config", "{}", "--workdir", "new"), READ_FILE),
    "train --workdir": Place(train.main, ("--config", "run.yaml", "--workdir={}"), WRITE_CHECKPOINT),
    "train --submission": Place(train.main, (*TUNE, "--submission={}"), WRITE_FOLDER),
    "train base": Place(train.main, ("--config", "based.yaml", "--workdir", "new"), READ_FILE),
    "train init_from": Place(train.main, (*TRAIN, "init_from={}"), READ_CHECKPOINT),
    "train vocab_file": Place(train.main, (*TRAIN, "tokenizer.vocab_file={}"), READ_FILE),
    "train cache_dir": Place(train.main, (*TRAIN, "data.cache_dir={}"), WRITE_FOLDER),
    "train tfds_data_dir": Place(
        train.main, (*TRAIN, "data.source=tfds:some", "data.tfds_data_dir={}"), READ_FOLDER
    ),
    "train compilation_cache": Place(train.main, (*TRAIN, "compute.compilation_cache={}"), SPARE),
    "train task": Place(train.main, (*TUNE, *TASK), READ_FILE),
    "prepare --config": Place(prepare.main, ("--config", "{}"), READ_FILE),
    "prepare cache_dir": Place(prepare.main, ("--config", "run.yaml", "data.cache_dir={}"), WRITE_FOLDER),
    "evaluate --workdir": Place(evaluate.main, ("--workdir={}",), READ_CHECKPOINT),
    "evaluate --errors": Place(evaluate.main, ("--workdir", "done", "--errors={}"), READ_FILE),
    "evaluate --tune-on": Place(
        evaluate.main, ("--workdir", "done", "--errors", "marked.tsv", "--tune-on={}"), READ_FILE
    ),
    "benchmark RUN": Place(benchmark.main, ("--data", "exam.yaml", "--", "{}"), READ_CHECKPOINT),
    "benchmark --data": Place(benchmark.main, ("done", "--data={}"), READ_FILE),
    "benchmark --out": Place(benchmark.main, ("done", "--data", "exam.yaml", "--out={}"), WRITE_FILE),
    "benchmark exam": Place(benchmark.main, ("done", "--data", "named.yaml"), READ_FILE),
    "predict --workdir": Place(predict.main, ("--input", "corpus.txt", "--workdir={}"), READ_CHECKPOINT),
    "predict --input": Place(predict.main, ("--workdir", "done", "--input={}"), READ_FILE),
    "predict --output": Place(
        predict.main, ("--workdir", "done", "--input", "corpus.txt", "--output={}"), WRITE_FILE
    ),
    "generate --workdir": Place(generate.main, ("--prompt", "a", "--workdir={}"), READ_CHECKPOINT),
    "generate --input": Place(generate.main, ("--workdir", "done", "--input={}"), READ_FILE),
    "generate --output": Place(
        generate.main, ("--workdir", "done", "--prompt", "a", "--output={}"), WRITE_FILE
    ),
    "convert SRC": Place(convert.main, ("--", "{}", "new"), READ_CHECKPOINT),
    "convert DST": Place(convert.main, ("--", "done", "{}"), WRITE_CHECKPOINT),
    "convert --generator": Place(convert.main, ("done", "new", "--generator={}"), READ_FOLDER),
    "convert --vocab": Place(convert.main, ("done", "new", "--vocab={}"), READ_FILE),
    "plan --config": Place(plan.main, ("--config", "{}"), READ_FILE),
    "plot WORKDIR": Place(plot.main, ("--", "{}"), READ_FOLDER),
    "plot --out": Place(plot.main, ("done", "--out={}"), WRITE_FILE),
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of bad path, what it is bad for, and a word of the sentence."""

    path: str
    uses: tuple[str, ...]
    word: str = ""


KINDS = {
    "gs": Kind("gs://bucket/run", ALL, "gcsfuse"),
    "s3": Kind("s3://bucket/run", ALL, "docs/launching.md"),
    "hdfs": Kind("hdfs://host:8020/run", ALL, "docs/launching.md"),
    "http": Kind("https://host/run", ALL, "nothing is downloaded"),
    "file URL of another machine": Kind("file://host/run", ALL, "another machine"),
    "nothing": Kind("", ALL, "names nothing"),
    "zero byte": Kind("a\0b", ALL, ""),
    "not UTF-8": Kind("caf\udce9", ALL, ""),
    "name too long": Kind("é" * 140, ALL, "280 bytes"),
    "nobody's home": Kind("~nobody-of-that-name/run", ALL, ""),
    "below a file": Kind("corpus.txt/run", NEEDED, "corpus.txt"),
    "links in a circle": Kind("circle", FOLDERS, "circle"),
    "below links in a circle": Kind("circle/run", NEEDED, "circle"),
    "nothing there": Kind("nowhere", READ, "nowhere"),
    "escape codes": Kind("no\x1b[31mwhere\n\u202e", READ, ""),
    "folder": Kind("folder", (*READ, WRITE_FILE), "folder"),
    "file": Kind("corpus.txt", FOLDERS, "corpus.txt"),
    "pipe": Kind("pipe", (READ_FILE, *FOLDERS), "pipe"),
    "device": Kind("/dev/zero", (READ_FILE, *FOLDERS), "/dev/zero"),
    "backslash": Kind("back\\slash", (READ_CHECKPOINT, WRITE_CHECKPOINT), "back"),
}

# Which of two mistakes is said is the command's business: these have nothing to go with.
ALONE = ("convert --generator", "convert --vocab")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_run(folder)
    tuning = {
        "objective": {"kind": "finetune"},
        "tokenizer": {"kind": "wordpiece", "vocab_file": "vocab.txt"},
        "finetune": {
            "tasks": {
                "mine": {
                    "kind": "classification",
                    "train": "task.csv",
                    "dev": "task.csv",
                    "text": "text",
                    "label": "label",
                }
            }
        },
    }
    (folder / "tune.yaml").write_text(json.dumps(tuning))
    (folder / "task.csv").write_text("text,label\na,0\nb,1\n")
    (folder / "marked.tsv").write_text("a\tc\nb\ti\n")
    (folder / "exam.yaml").write_text("exam: corpus.txt\n")
    (folder / "folder").mkdir()
    (folder / "circle").symlink_to("circle")
    os.mkfifo(folder / "pipe")
    (folder / "done" / "checkpoints" / "3").mkdir(parents=True)
    (folder / "done" / "config.yaml").write_text((folder / "run.yaml").read_text())
    (folder / "done" / "metrics.jsonl").write_text('{"step": 1, "split": "train", "loss": 2.0}\n')
    return folder


@pytest.fixture(autouse=True)
def no_device(monkeypatch):
    def fail():
        raise AssertionError("a device was asked for")

    monkeypatch.setattr(mesh, "_all_devices", fail)
    monkeypatch.setattr(jax, "devices", fail)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", PLACES)
def test_bad_path(where, kind, place, command, monkeypatch):
    monkeypatch.chdir(place)
    taken, bad = PLACES[where], KINDS[kind]
    if taken.use not in bad.uses:
        pytest.skip(f"a {taken.use} may be that")
    (place / "based.yaml").write_text(f"base: {json.dumps(bad.path)}\n")
    (place / "named.yaml").write_text(f"exam: {json.dumps(bad.path)}\n")
    before = contents(place)
    ended = command(taken.main, *taken.argv(bad.path))
    assert ended.status == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.endswith("\n")
    assert ended.err[:-1].isprintable()
    assert bad.word in ended.err or where in ALONE
    assert contents(place) == before
