"""Results over seeds: numbers one can believe are a mean with its deviation."""

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.json_files import read_object
from electra_jax.training.workdir import write_atomically


def summarise(config: Config, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean, standard deviation (n - 1), median, best and its seed, of every metric of every split of every task."""
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
        "init_from": config.init_from,
        "from_scratch": config.finetune.from_scratch,
        "select": config.finetune.select,
        "seeds": [result["seed"] for result in results],
        "steps": results[0]["steps"],
        "tasks": tasks,
    }


def _statistics(values_and_seeds: Sequence[tuple[float, int]]) -> dict[str, Any]:
    values = [value for value, _ in values_and_seeds]
    best, seed = max(values_and_seeds, key=lambda pair: pair[0])
    return {
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "median": statistics.median(values),
        "best": best,
        "best_seed": seed,
        "values": values,
    }


def print_table(summary: Mapping[str, Any]) -> None:
    """One line a task, split and metric, on standard output."""
    header = ("task", "split", "metric", "mean", "sd", "median", "best")
    lines: list[tuple[str, ...]] = [header]
    for name, splits in summary["tasks"].items():
        for split, metrics in splits.items():
            for metric, numbers in metrics.items():
                sd = "-" if numbers["sd"] is None else f"{numbers['sd']:.2f}"
                rest = (f"{numbers[key]:.2f}" for key in ("median", "best"))
                lines.append((name, split, metric, f"{numbers['mean']:.2f}", sd, *rest))
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        words = [f"{word:<{width}}" for word, width in zip(line[:3], widths[:3], strict=True)]
        words += [f"{word:>{width}}" for word, width in zip(line[3:], widths[3:], strict=True)]
        print("  ".join(words).rstrip())
    sys.stdout.flush()


def best_seed(root: Path) -> int | None:
    """The seed with the best dev metrics of a finished fine-tuning; None where ``root`` is none.

    Raises:
        UserError: its results cannot be read.
    """
    file = root / "results.json"
    if not file.is_file():
        return None
    summary = read_object(file)
    try:
        primary = [next(iter(splits["dev"].values()))["values"] for splits in summary["tasks"].values()]
        means = [statistics.fmean(values) for values in zip(*primary, strict=True)]
        seed = summary["seeds"][means.index(max(means))]
    except (
        AttributeError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        OverflowError,
        StopIteration,
    ) as error:
        raise UserError(
            f"{file} is not what fine-tuning wrote ({type(error).__name__}): restore it from a copy"
        ) from None
    if type(seed) is not int:  # it names a directory
        raise UserError(f"{file} names a seed {seed!r:.40}, which is no whole number: restore it from a copy")
    return seed


def chosen_run(root: Path) -> tuple[Path, Path]:
    """(run, directory of its checkpoints): of a finished fine-tuning the best seed's, and there the best if kept.

    Any other directory is both.
    """
    seed = best_seed(root)
    run = root if seed is None else root / f"seed-{seed}"
    return run, run / "best" if (run / "best" / "checkpoints").is_dir() else run


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replaces a file of JSON lines in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
