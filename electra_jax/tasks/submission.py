"""GLUE's submission files: columns ``index`` and ``prediction``, one file for each set of test examples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.tasks.sources.benchmarks import BENCHMARKS, Benchmark

_LOW, _HIGH = 0.0, 5.0  # STS-B's scale.


def write_submission(
    directory: Path, name: str, predictions: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Path]:
    """Write the files that gluebenchmark.com takes, and return their paths.

    Rows are in the order of their index. Labels are spelled as in the training files; STS-B has numbers from 0 to 5
    with three digits after the point.

    Args:
        directory: created if it does not exist.
        name: of the task; a task that is not in GLUE gives no file.
        predictions: by split, objects with ``id`` and ``label`` (``value`` for STS-B); only test splits are written.

    Raises:
        UserError: a label that the benchmark does not have; a file that cannot be written.
    """
    benchmark = BENCHMARKS.get(name)
    if benchmark is None:
        return []
    paths = []
    for split, file in benchmark.submission.items():
        if split not in predictions:
            continue
        rows = [
            (str(prediction["id"]), _spelled(prediction, benchmark, name))
            for prediction in predictions[split]
        ]
        if all(index.isdecimal() for index, _ in rows):
            rows.sort(key=lambda row: int(row[0]))
        lines = ["index\tprediction", *(f"{index}\t{prediction}" for index, prediction in rows)]
        path = directory / file
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}; name another folder.") from error
        paths.append(path)
    return paths


def _spelled(prediction: Mapping[str, Any], benchmark: Benchmark, name: str) -> str:
    if benchmark.kind == "regression":
        return f"{min(max(float(prediction['value']), _LOW), _HIGH):.3f}"
    if "label" not in prediction:
        raise UserError(f"{name}: GLUE wants one label of each text; leave multi_label or --submission out.")
    label = str(prediction["label"])
    if label not in benchmark.labels:
        raise UserError(
            f"{name}: {label!r} is predicted, but GLUE's labels are {', '.join(benchmark.labels)}; train on the "
            "official files, or give the task another name."
        )
    return label
