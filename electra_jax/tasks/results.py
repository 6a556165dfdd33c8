"""Results over several seeds: mean and standard deviation, not the best of them."""

import json
import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # with typing's own pydantic works from Python 3.12

from electra_jax.config.finetuning import FinetuneConfig
from electra_jax.config.yaml_format import show
from electra_jax.errors import UserError
from electra_jax.files.atomic import write_atomically
from electra_jax.training.records import read_record
from electra_jax.training.seed_selection import nan_as_worst

RESULT = "result.json"  # of a seed
PREDICTIONS = "predictions"  # the folder of a seed, written when its training ends
BEST = "metric.json"  # of a seed's best parameters


class Result(TypedDict):
    """The result of a finished seed: metrics by task and split."""

    seed: int
    steps: int
    scores: dict[str, dict[str, dict[str, float]]]


class Best(TypedDict):
    """Which parameters are the best so far."""

    step: int
    value: float


_RESULT, _BEST, _PREDICTION = TypeAdapter(Result), TypeAdapter(Best), TypeAdapter(dict[str, Any])


def read_result(directory: Path) -> Result | None:
    """Read the result of the seed in ``directory``; None where it is not finished.

    Raises:
        UserError: result.json is not what was written.
    """
    return read_record(directory / RESULT, _RESULT)


def read_best(directory: Path) -> Best | None:
    """Read which parameters in ``directory`` are the best; None where there are none yet.

    Raises:
        UserError: metric.json is not what was written.
    """
    return read_record(directory / BEST, _BEST)


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """Read a file of predictions.

    Raises:
        UserError: it cannot be read, or a line of it is not what was written.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): restore it from a copy, or delete the seed's {RESULT} to "
            "predict anew"
        ) from None
    predictions = []
    for number, line in enumerate(lines, start=1):
        try:
            predictions.append(_PREDICTION.validate_json(line))
        except ValidationError:
            raise UserError(
                f"{path}, line {number} is not a prediction: delete the seed's {RESULT} to predict anew"
            ) from None
    return predictions


def summarize_seeds(
    init_from: str | None,
    finetune: FinetuneConfig,
    results: Sequence[Mapping[str, Any]],
    f1_of: Mapping[str, str] = MappingProxyType({}),
    signatures: Mapping[str, Mapping[str, Mapping[str, str]]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return mean, standard deviation (n - 1), median, best value and its seed, for every metric of every split.

    Args:
        init_from: of the configuration.
        finetune: of the configuration.
        results: of the seeds.
        f1_of: by task, the class whose F1 is measured, where it is that of one class.
        signatures: by task and split, how metrics of texts are computed.

    Raises:
        UserError: a seed has other metrics than the first.
    """
    for result in results[1:]:
        if _names(result) != _names(results[0]):
            raise UserError(
                f"seed {result['seed']} was scored by other metrics than seed {results[0]['seed']}, perhaps by another "
                f"version of electra_jax: delete {RESULT} in the older one's directory to predict and score it anew"
            )
    tasks: dict[str, Any] = {}
    for name, splits in results[0]["scores"].items():
        tasks[name] = {
            split: {
                metric: _statistics([(r["scores"][name][split][metric], r["seed"]) for r in results])
                for metric in metrics
            }
            for split, metrics in splits.items()
        }
    return {
        "init_from": init_from,
        "from_scratch": finetune.from_scratch,
        "select": finetune.select,
        "seeds": [result["seed"] for result in results],
        "steps": results[0]["steps"],
        "f1_of": dict(f1_of),
        **({"signatures": signatures} if signatures else {}),
        "tasks": tasks,
    }


def _names(result: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    return {
        task: {split: sorted(m) for split, m in splits.items()} for task, splits in result["scores"].items()
    }


def _statistics(values_and_seeds: Sequence[tuple[float, int]]) -> dict[str, Any]:
    values = [value for value, _ in values_and_seeds]
    best, seed = max(values_and_seeds, key=lambda pair: nan_as_worst(pair[0]))
    known = all(math.isfinite(value) for value in values)  # infinities have no deviation
    return {
        "mean": statistics.fmean(values),
        "sd": (statistics.stdev(values) if known else math.nan) if len(values) > 1 else None,
        "median": statistics.median(values) if known else math.nan,
        "best": best,
        "best_seed": seed,
        "values": values,
    }


def print_table(summary: Mapping[str, Any]) -> None:
    """Print one line per task, split and metric to standard output."""
    header = ("task", "split", "metric", "mean", "sd", "median", "best")
    lines: list[tuple[str, ...]] = [header]
    for name, splits in summary["tasks"].items():
        for split, metrics in splits.items():
            for metric, numbers in metrics.items():
                shown = metric
                if metric == "f1" and name in summary["f1_of"]:
                    shown = f"f1 of {show(summary['f1_of'][name], 40)}"
                sd = "-" if numbers["sd"] is None else f"{numbers['sd']:.2f}"
                rest = (f"{numbers[key]:.2f}" for key in ("median", "best"))
                lines.append((name, split, shown, f"{numbers['mean']:.2f}", sd, *rest))
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        words = [f"{word:<{width}}" for word, width in zip(line[:3], widths[:3], strict=True)]
        words += [f"{word:>{width}}" for word, width in zip(line[3:], widths[3:], strict=True)]
        print("  ".join(words).rstrip())
    for name, splits in summary.get("signatures", {}).items():
        for split, of_metrics in splits.items():
            for metric, signature in of_metrics.items():
                print(f"{name}  {split}  {metric}: {signature}")
    sys.stdout.flush()


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of JSON lines, replacing an old one in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
