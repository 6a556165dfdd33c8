"""Which run, and which of its checkpoints, a path means where fine-tuning left several."""

import math
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from electra_jax.errors import UserError
from electra_jax.training.records import read_record

RESULTS = "results.json"
AVERAGE, BEST_PARAMETERS, RECENT = (
    "average",
    "best",
    "recent",
)  # in a seed's directory, parameters beside its checkpoints
_SEED = re.compile(r"seed-[0-9]{1,10}")


@dataclass(frozen=True)
class _Statistics:
    values: tuple[float, ...]


@dataclass(frozen=True)
class _Summary:
    """What is read of results.json: by task, split and metric a value for each seed, the deciding metric first."""

    seeds: tuple[int, ...]
    tasks: dict[str, dict[str, dict[str, _Statistics]]]


_SUMMARY = TypeAdapter(_Summary)


def best_seed(root: Path) -> int | None:
    """Return the seed with the best dev metrics of a finished fine-tuning; None where ``root`` is none.

    Of several tasks the mean of their deciding metrics counts; NaN is worst, see `nan_as_worst`.

    Raises:
        UserError: results.json is not what was written.
    """
    file = root / RESULTS
    summary = read_record(file, _SUMMARY)
    if summary is None:
        return None
    deciding = [next(iter(splits.get("dev", {}).values()), None) for splits in summary.tasks.values()]
    values = [task.values for task in deciding if task is not None and len(task.values) == len(summary.seeds)]
    if not summary.seeds or not values or len(values) < len(summary.tasks):
        raise UserError(
            f"{file} is not what was written there (it lacks a dev metric of a seed or a task): restore it from a "
            f"copy, or give one of the seeds, such as {root / 'seed-0'}"
        )
    means = [nan_as_worst(statistics.fmean(of_a_seed)) for of_a_seed in zip(*values, strict=True)]
    return summary.seeds[means.index(max(means))]


def nan_as_worst(value: float) -> float:
    """Return ``value`` as it counts when the best is looked for: NaN is worse than any number."""
    return -math.inf if math.isnan(value) else value


def select_run(root: Path) -> tuple[Path, Path]:
    """Return which run, and which of its checkpoint directories, a path means.

    Args:
        root: A work directory. Of a finished fine-tuning the best seed is taken, and of that the checkpoint ``best`` or
            ``average`` if there is one. Any other directory is itself a run; the ``best`` of a run belongs to that run.

    Returns:
        The run's directory, and the directory that holds its ``checkpoints``.

    Raises:
        UserError: results.json is not what was written, or the seed it names is gone.
    """
    # A directory with checkpoints of its own is a run, even if it holds results too
    seed = None if (root / "checkpoints").is_dir() else best_seed(root)
    run = root if seed is None else root / f"seed-{seed}"
    if not run.is_dir() and seed is not None:
        raise UserError(
            f"{root / RESULTS} names seed {seed} as the best, and there is no {run}: restore it from a copy, or give "
            "another seed's directory"
        )
    chosen = (run / name for name in (BEST_PARAMETERS, AVERAGE) if (run / name / "checkpoints").is_dir())
    return run, next(chosen, run)


def run_directory(checkpoints: Path) -> Path:
    """Return the run, with its configuration and tokenizer, that a directory of checkpoints belongs to."""
    holder = checkpoints.parent
    inside = holder.name in (AVERAGE, BEST_PARAMETERS, RECENT) and not (holder / "config.yaml").exists()
    return holder.parent if inside else holder


def started_seeds(root: Path) -> list[Path]:
    """Return the seeds' directories of a fine-tuning, in the order of their numbers."""
    folders = [path for path in root.iterdir() if _SEED.fullmatch(path.name)] if root.is_dir() else []
    return sorted(
        (path for path in folders if path.is_dir()), key=lambda path: int(path.name[len("seed-") :])
    )
