"""GLUE's submission files: columns ``index`` and ``prediction``, one file for each set of test examples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError, listed
from electra_jax.tasks.multi_label import MultiLabelTask
from electra_jax.tasks.protocol import Task
from electra_jax.tasks.sources.benchmarks import BENCHMARKS, Benchmark

_LOW, _HIGH = 0.0, 5.0  # STS-B's scale.


def check_submission(examples: Mapping[str, Mapping[str, Any]], tasks: Mapping[str, Task]) -> None:
    """Refuse, before training, tasks of which no file could be written.

    Args:
        examples: by task and split.
        tasks: by name.

    Raises:
        UserError: none is GLUE's with test examples, or one has other answers than GLUE wants.
    """
    written = [
        name
        for name in tasks
        if name in BENCHMARKS and BENCHMARKS[name].submission.keys() & examples[name].keys()
    ]
    if not written:
        known = listed((name for name, benchmark in BENCHMARKS.items() if benchmark.submission), 20)
        raise UserError(
            f"--submission writes the answers to test examples of GLUE's tasks ({known}), and {listed(tasks)} is none "
            "that has test examples: leave it out, or name the task so and its test file."
        )
    for name in written:
        benchmark, labels = BENCHMARKS[name], tasks[name].labels
        if benchmark.kind != tasks[name].kind or isinstance(tasks[name], MultiLabelTask):
            raise UserError(
                f"{name}: GLUE wants one label of each text; leave multi_label or --submission out."
            )
        if other := [label for label in labels if label not in benchmark.labels]:
            raise UserError(
                f"{name} has the class {other[0]!r}, but GLUE's labels are {', '.join(benchmark.labels)}; train on the "
                "official files, or leave --submission out."
            )


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
