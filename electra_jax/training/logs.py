"""Where metrics go: metrics.jsonl, TensorBoard, and a progress line on the console."""

import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from electra_jax.distributed.agreement import is_host_0
from electra_jax.training.workdir import WorkDir

Metrics = Mapping[str, float | str | None]

ALL_ORIGINAL_NOTICE = (
    "note: the discriminator calls every token original so far (disc_recall {recall:.3f}). That is how "
    "ELECTRA starts: for the first hundreds of steps (500-700 at the usual sizes) the loss rests on a plateau "
    "(about 25 at the usual sizes) before it falls. See docs/metrics.md."
)


class MetricsWriter:
    """Appends to metrics.jsonl and TensorBoard; a line is on disk when `write` returns."""

    def __init__(self, workdir: WorkDir, *, resumed_step: int):
        from tensorboardX import SummaryWriter  # imports protobuf: only when something is written

        self._file = workdir.metrics.open("a")
        self._board = SummaryWriter(str(workdir.tensorboard), purge_step=resumed_step + 1)

    def write(self, step: int, split: str, metrics: Metrics) -> None:
        """Write one line: step, split and the metrics; None becomes null."""
        write_metrics_line(self._file, step, split, metrics)
        for name, value in metrics.items():
            if isinstance(value, (int, float)):
                self._board.add_scalar(f"{split}/{name}", value, step)
        self._board.flush()

    def close(self) -> None:
        """Close both files."""
        self._file.close()
        self._board.close()


def in_json(metrics: Metrics) -> dict[str, Any]:
    """Return metrics as JSON can hold them: a number that it does not know (NaN, infinity) becomes null."""
    return {name: value_in_json(value) for name, value in metrics.items()}


def value_in_json(value: float | str | None) -> float | str | None:
    """Return the value of a metric as JSON can hold it; see `in_json`."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_metrics_line(file: TextIO, step: int, split: str, metrics: Metrics) -> None:
    """Write one JSON line, of `in_json`."""
    file.write(json.dumps({"step": step, "split": split, **in_json(metrics)}) + "\n")
    file.flush()


def append_metrics_line(path: Path, step: int, split: str, metrics: Metrics) -> None:
    """Append one line to a metrics.jsonl that is not open."""
    with path.open("a+b") as there:
        end = there.seek(0, os.SEEK_END)
        if end and (there.seek(end - 1), there.read())[1] != b"\n":  # its writer was killed
            there.write(b"\n")
    with path.open("a") as file:
        write_metrics_line(file, step, split, metrics)


class NullWriter:
    """The writer of all hosts but the first: it writes nothing."""

    def write(self, step: int, split: str, metrics: Metrics) -> None:
        """Ignore the metrics that `MetricsWriter.write` would write."""

    def close(self) -> None:
        """Do nothing."""


class NullConsole:
    """The console of all hosts but the first: it prints nothing."""

    def step(self, loss: float) -> None:
        """Ignore the step that `Console.step` would count."""

    def metrics(self, step: int, metrics: Mapping[str, float | None], seconds_per_step: float) -> None:
        """Ignore the metrics that `Console.metrics` would print."""

    def print_line(self, text: str) -> None:
        """Ignore the line that `Console.print_line` would print."""

    def close(self) -> None:
        """Do nothing."""


def open_writer(workdir: WorkDir, *, resumed_step: int) -> "MetricsWriter | NullWriter":
    """Return the writer of this host: host 0 writes, the others do not."""
    return MetricsWriter(workdir, resumed_step=resumed_step) if is_host_0() else NullWriter()


def open_console(*, start: int, steps: int, tokens_before: Callable[[int], int]) -> "Console | NullConsole":
    """Return the console of this host: host 0 prints, the others do not."""
    return Console(start=start, steps=steps, tokens_before=tokens_before) if is_host_0() else NullConsole()


class Console:
    """A live line in a terminal, plain lines elsewhere; both say step, loss, tokens/s and what is left.

    ``tokens_before`` gives the tokens of the batches before that of a step, from 0.
    """

    def __init__(
        self,
        *,
        start: int,
        steps: int,
        tokens_before: Callable[[int], int],
        stream: TextIO | None = None,
    ):
        self._stream = stream or sys.stderr
        self._tokens_before = tokens_before
        self._steps = steps
        self._live = self._stream.isatty()
        self._explained_all_original = False
        self._bar = tqdm(
            total=steps,
            initial=start,
            unit="step",
            disable=not self._live,
            file=self._stream,
            dynamic_ncols=True,
            smoothing=0.05,
        )

    def step(self, loss: float) -> None:
        """Count a step as done and show its loss."""
        speed = (self._bar.format_dict["rate"] or math.nan) * self._tokens_of(int(self._bar.n) + 1)
        self._bar.set_postfix_str(f"loss {loss:.3f}, {_rate(speed)}", refresh=False)
        self._bar.update(1)

    def metrics(self, step: int, metrics: Mapping[str, float | None], seconds_per_step: float) -> None:
        """Show train metrics that were logged: a plain line where there is no live one."""
        if not self._live:
            speed = _rate(metrics.get("tokens_per_second") or math.nan)
            tokens_left = self._tokens_before(self._steps) - self._tokens_before(step)
            left = duration(tokens_left / self._tokens_of(step) * seconds_per_step)
            shown = ", ".join(
                f"{n} {metrics[n]:.3f}" for n in ("loss", "disc_auc") if metrics.get(n) is not None
            )
            self.print_line(f"step {step}/{self._steps}, {shown}, {speed}, {left} left")
        recall = metrics.get("disc_recall")
        if recall is not None and recall < 0.02 and not self._explained_all_original:
            self._explained_all_original = True
            self.print_line(ALL_ORIGINAL_NOTICE.format(recall=recall))

    def print_line(self, text: str) -> None:
        """Print a line, above the live one where there is one."""
        if self._live:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def _tokens_of(self, step: int) -> int:
        """Return the tokens of the batch of a step, from 1."""
        return self._tokens_before(step) - self._tokens_before(step - 1)

    def close(self) -> None:
        """End the live line."""
        self._bar.close()


def _rate(tokens_per_second: float) -> str:
    return f"{tokens_per_second:,.0f} tokens/s" if math.isfinite(tokens_per_second) else "? tokens/s"


def duration(seconds: float) -> str:
    """Format seconds as h:mm:ss or m:ss."""
    if not math.isfinite(seconds):
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def format_metrics(metrics: Mapping[str, float | None]) -> str:
    """Format metrics on one line."""
    return ", ".join(
        f"{name} {'-' if value is None else format(value, '.4f')}" for name, value in metrics.items()
    )
