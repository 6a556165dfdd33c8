"""What the commands share that ask a model, and answer a file line by line: what is read, written and counted."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from electra_jax import cli
from electra_jax.data.sources.compressed import Source, open_bytes
from electra_jax.errors import UserError
from electra_jax.inference.load import load
from electra_jax.inference.model import Model
from electra_jax.inference.predictions import Predictions
from electra_jax.inference.records import Record, extract_inputs

SKIPPED = 65  # EX_DATAERR of sysexits.h: some of the input was wrong
_MAX_NAMED = 10


def load_with_notes(workdir: Path, step: int | None = None) -> Model:
    """Load the model of a command, of a step if it is named, and print what was assumed about it."""
    notes: list[str] = []
    model = load(workdir, notes=notes, step=step)
    for line in notes:
        cli.note(line)
    return model


@dataclass
class LineCounts:
    """What happened to the lines so far.

    Attributes:
        answered: lines that were predicted.
        truncated: those of them that were too long for the model.
        skipped: lines that could not be read.
        tokens_cut: of the sources of texts that were written, not read.
        asked: the numbers, from 0, among all lines of those that are being predicted: what is drawn for a line does not
            depend on whether others could be read.
    """

    answered: int = 0
    truncated: int = 0
    skipped: int = 0
    tokens_cut: int = 0
    asked: Sequence[int] = ()

    def skip(self, error: UserError) -> None:
        """Count a line that was skipped, and print the error of the first ones."""
        self.skipped += 1
        if self.skipped <= _MAX_NAMED:
            cli.note(f"skipped: {error}")

    def status(self) -> int:
        """Print how many lines were cut or skipped, and return the exit status."""
        if self.truncated:
            by = f", by {self.tokens_cut:,} tokens in all" if self.tokens_cut else ""
            cli.note(
                f"{self.truncated:,} of {self.answered:,} were longer than the model reads and were cut{by} (they have "
                '"truncated": true)'
            )
        if self.skipped:
            cli.note(
                f"{self.skipped:,} lines could not be read and were skipped; {self.answered:,} were answered"
            )
        return SKIPPED if self.skipped else 0


class Output:
    """Writes lines, to a file that is created when there is a first one, or to standard output."""

    def __init__(self, path: Path | None):
        self._path = path
        self._file: TextIO | None = sys.stdout if path is None else None
        if path is None and hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8")  # JSON is in UTF-8, whatever the terminal

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None and self._path is not None:
            self._file.close()

    def write(self, lines: Sequence[Mapping[str, Any] | str]) -> None:
        """Write lines, objects as JSON, and flush them."""
        if not lines:
            return
        if self._file is None:
            assert self._path is not None
            self._file = self._path.open("w", encoding="utf-8")
        for line in lines:
            print(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False), file=self._file)
        self._file.flush()


@dataclass(frozen=True)
class Predictor:
    """How a model predicts records.

    Attributes:
        extract: from a record to the model's input; raises `UserError` where it is missing.
        predict: from many inputs to their predictions.
        show: (id, input, prediction) → what is written for people; None: the prediction is, as JSON.
    """

    extract: Callable[[Record], Any]
    predict: Callable[[list[Any]], Predictions]
    show: Callable[[Any, Any, Mapping[str, Any]], str] | None = None


def predict_chunk(
    chunk: list[Record | UserError], predictor: Predictor, on_error: str, output: Output, counts: LineCounts
) -> None:
    """Predict a list of records and write the results; with "stop", only those before the first error.

    Raises:
        UserError: that first error, with "stop".
    """
    found = list(extract_inputs(chunk, predictor.extract))
    errors = [item for item in found if isinstance(item, UserError)]
    if errors and on_error == "stop":
        found = found[: found.index(errors[0])]
    good = [item for item in found if not isinstance(item, UserError)]
    first = counts.answered + counts.skipped
    counts.asked = [first + place for place, item in enumerate(found) if not isinstance(item, UserError)]
    if good:
        answers = predictor.predict([what for _, what in good])
        output.write(
            [
                predictor.show(name, what, line) if predictor.show else {"id": name, **_without_id(line)}
                for (name, what), line in zip(good, answers, strict=True)
            ]
        )
        counts.answered += len(good)
        counts.truncated += sum("truncated" in line for line in answers)
        counts.tokens_cut += sum(line.get("source_tokens_cut", 0) for line in answers)
    for error in errors:
        if on_error == "stop":
            raise error
        counts.skip(error)


def _without_id(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "id"}


def open_source(given: str) -> Source:
    """Return what to read, opened once so that errors come early.

    Raises:
        UserError: it cannot be read.
    """
    if given != "-":
        open_bytes(given).close()
        return given
    if sys.stdin is None:
        raise UserError("--input is -, but there is no standard input: it is closed")
    return sys.stdin.buffer
