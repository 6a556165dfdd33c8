"""Signals to real commands while they start: one sentence within a second, no traceback, no crash."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from command_runs import write_run

ROOT = Path(__file__).resolve().parents[2]
STOPPED = "stopped by {}: nothing was to be saved, and what was saved before is kept"
SAVING = "stopping after this step"
MOMENTS = 20


class Command:
    """A command in a process of its own, and when it wrote each line."""

    def __init__(self, folder: Path, *arguments: str):
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": ""},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[tuple[float, str]] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        while self.process.poll() is None and not self._hears_signals():
            time.sleep(0.002)

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append((time.monotonic(), line.rstrip()))

    def _hears_signals(self) -> bool:
        """Whether our own code runs; before, Python itself answers."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return False
        caught = next((line for line in status.splitlines() if line.startswith("SigCgt")), "SigCgt: 0")
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    def stopped(self, number: int) -> tuple[int, str, float]:
        """Sends a signal: (status, the sentence it was answered with, seconds that took)."""
        sent = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(timeout=300)
        self._reading.join()
        assert not any("Traceback" in line for _, line in self.lines), self.lines
        answers = [(when, line) for when, line in self.lines if line.startswith(("stopped by", SAVING))]
        assert answers, (status, self.lines)
        when, line = answers[0]
        if line.startswith("stopped"):  # and that is the last word
            assert self.lines[-1] == answers[0]
        return status, line, when - sent


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("signals")).parent


TRAIN = ("electra_jax.train", "--config", "run.yaml", "--workdir", "run", "train.steps=1000000")


@pytest.mark.parametrize(
    ("number", "delay"), [(signal.SIGINT, 0), (signal.SIGTERM, 0.3), (signal.SIGINT, 1)], ids=str
)
def test_while_libraries_are_imported(number, delay, folder):
    command = Command(folder, *TRAIN)
    time.sleep(delay)
    status, line, _ = command.stopped(number)
    assert (status, line) == (128 + number, STOPPED.format(signal.Signals(number).name))
    assert not (folder / "run").exists()


COMMANDS = {
    "train": (*TRAIN, "train.eval_every=1000000"),
    "prepare": ("electra_jax.prepare", "--config", "run.yaml", "tokenizer.kind=sentencepiece",
                "tokenizer.vocab_file=null", "tokenizer.vocab_size=300", "data.prepare_processes=2"),
    "vocabulary": ("electra_jax.prepare", "--config", "run.yaml", "data.source=text:large.txt",
                   "tokenizer.kind=sentencepiece", "tokenizer.vocab_file=null", "tokenizer.vocab_size=2000"),
    "finetune": ("electra_jax.train", "--config", "tune.yaml", "--workdir", "tuned"),
    "evaluate": ("electra_jax.evaluate", "--workdir", "done"),
    "predict": ("electra_jax.predict", "--workdir", "done", "--input", "many.txt", "--detect"),
    "convert": ("electra_jax.convert", "done", "exported", "--to", "huggingface", "--overwrite"),
    "plan": ("electra_jax.plan", "--config", "run.yaml"),
    "console": ("electra_jax", "train", *TRAIN[1:]),
}  # fmt: skip
SPAN = {
    "train": 60,
    "prepare": 10,
    "vocabulary": 10,
    "finetune": 40,
    "evaluate": 15,
    "predict": 15,
    "convert": 8,
}
SPAN |= {"plan": 15, "console": 5}
TUNE = """
init_from: done
objective: {kind: finetune}
finetune:
  epochs: 100000
  tasks: {mine: {kind: classification, train: mine.csv, dev: mine.csv, text: text, label: label}}
train: {batch_size: 8, checkpoint_every: 1000000, eval_every: 1000000}
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_at_twenty_moments_of_the_start(name, finished, folder):
    """Whatever the command does at that moment; one that is done before the signal comes must have ended well."""
    arguments = COMMANDS[name]
    corpus = (finished / "corpus.txt").read_text()
    (folder / "many.txt").write_text(corpus * 40)
    letters = random.Random(0)
    words = ["".join(letters.choices("abcdefghijklmnop", k=7)) for _ in range(20_000)]
    (folder / "large.txt").write_text(
        "\n\n".join(" ".join(letters.choices(words, k=12)) for _ in range(40_000))
    )
    (folder / "tune.yaml").write_text(TUNE)
    rows = "".join(f"word{n} word{n + 1},{'yes' if n % 2 else 'no'}\n" for n in range(30))
    (folder / "mine.csv").write_text("text,label\n" + rows)
    if not (folder / "done").exists():
        (folder / "done").symlink_to(finished / "work")
    told = []
    for moment in range(MOMENTS):
        number = (signal.SIGINT, signal.SIGTERM)[moment % 2]
        command = Command(
            folder,
            *arguments,
            *([f"data.cache_dir=cache-{moment}"] if name in ("prepare", "vocabulary") else []),
        )
        time.sleep(SPAN[name] * (moment / MOMENTS) ** 1.5)
        if command.process.poll() is not None:
            assert command.process.returncode == 0, command.lines
            told.append((moment, "done"))
            continue
        status, line, seconds = command.stopped(number)
        told.append((moment, status, line[:24], round(seconds, 3)))
        saved = line.startswith(SAVING)
        assert status == (0 if saved else 128 + number), (told, command.lines)
        assert not list(folder.glob(".*unfinished")), told
    print(*told, sep="\n")
