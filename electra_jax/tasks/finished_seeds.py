"""What the finished seeds of a fine-tuning predicted, read back, and the examples that it predicted them for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electra_jax.config.schema import Config
from electra_jax.errors import UserError, listed
from electra_jax.tasks.build import build_task
from electra_jax.tasks.protocol import Example, Task
from electra_jax.tasks.results import PREDICTIONS, RESULT, read_predictions, read_result
from electra_jax.tasks.settings import read_settings
from electra_jax.tasks.sources import load_examples
from electra_jax.tokenizers import load_tokenizer
from electra_jax.training.seed_selection import RESULTS, select_run, started_seeds
from electra_jax.training.workdir import WorkDir


@dataclass(frozen=True)
class FinishedSeed:
    """A seed that was trained to its end.

    Attributes:
        root: its directory.
        config: as it was trained with.
        scores: by task, split and metric, as they were written when it ended.
    """

    root: Path
    config: Config
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of its tasks."""
        return tuple(self.config.finetune.tasks)


def finished_seeds(root: Path, *, every: bool) -> list[FinishedSeed]:
    """Return the best seed on dev of a fine-tuning, or with ``every`` all of them.

    Args:
        root: the work directory, or that of one seed, which is then the only one.
        every: whether all seeds are wanted.

    Raises:
        UserError: it holds no fine-tuning, or one that is not finished.
    """
    config = WorkDir(root).load_config()
    if not config.finetuning:
        raise UserError(f"{root} holds no fine-tuning but {config.kind_of_run}, which predicts no examples")
    started = started_seeds(root)
    if started and not (root / RESULTS).is_file():
        raise UserError(
            f"{root} is not finished, as it has no {RESULTS}: run its training to the end, or give a seed's directory, "
            f"such as {started[0]}"
        )
    seeds = started if every and started else [select_run(root)[0]]
    return [_finished(seed) for seed in seeds]


def _finished(root: Path) -> FinishedSeed:
    result = read_result(root)
    if result is None:
        raise UserError(f"{root} is not finished, as it has no {RESULT}: run its training to the end")
    return FinishedSeed(root, WorkDir(root).load_config(), result["scores"])


@dataclass(frozen=True)
class Predicted:
    """What a seed predicted for the examples of a split.

    Attributes:
        root: the seed's directory.
        task: as it was trained, with what was tuned on the dev examples.
        predictions: one for each example, in order.
        scores: by metric.
    """

    root: Path
    task: Task
    predictions: Sequence[Mapping[str, Any]]
    scores: Mapping[str, float]


def load_split(seed: FinishedSeed, name: str, split: str) -> list[Example]:
    """Return the examples of a task's split, from where the configuration of a seed says.

    Raises:
        UserError: they cannot be read, there is no such split, or its right answers are hidden.
    """
    task = seed.config.finetune.tasks[name]
    data = seed.config.data
    splits = load_examples(name, task, tfds_data_dir=data.tfds_data_dir, sequence_length=data.sequence_length)
    if split not in splits:
        raise UserError(f"{name} has no {split} examples in {seed.root}; there are: {', '.join(splits)}")
    if any(example.hidden for example in splits[split]):
        known = [
            other
            for other, some in splits.items()
            if other != "train" and not any(example.hidden for example in some)
        ]
        raise UserError(
            f"the right answers of {name}'s {split} examples are hidden, so nothing can be scored; they are known "
            f"of: {listed(known) or 'none'}"
        )
    return splits[split]


def read_seed(seed: FinishedSeed, name: str, split: str, examples: Sequence[Example]) -> Predicted:
    """Return what a seed predicted for a task's split, scored anew.

    Raises:
        UserError: there are none, they are for other examples, or these give other scores than when the seed ended.
    """
    folder = seed.root / PREDICTIONS
    file = folder / f"{name}.{split}.jsonl"
    if not file.is_file():
        there = [path.name for path in sorted(folder.glob(f"{name}.*.jsonl"))] if folder.is_dir() else []
        raise UserError(
            f"{seed.root} has no predictions for {name}'s {split} examples ({file}); there are: "
            f"{listed(there) or 'none'}"
        )
    predictions = read_predictions(file)
    settings = read_settings(seed.root)
    if name not in settings:
        raise UserError(f"{seed.root} was not trained on {name}; its tasks are: {listed(settings)}")
    tokenizer = load_tokenizer(WorkDir(seed.root).tokenizer)
    task = build_task(name, settings[name], seed.config, tokenizer)
    if len(predictions) != len(examples):
        raise UserError(
            f"{file} has {len(predictions):,} predictions, but {name} now has {len(examples):,} {split} examples"
        )
    for number, (prediction, example) in enumerate(zip(predictions, examples, strict=True), start=1):
        if prediction.get("id") != example.id:
            raise UserError(
                f"{file}, line {number} is for the example {prediction.get('id')!r}, but of the {split} examples of "
                f"{name} that one is now {example.id!r}"
            )
    try:
        now = task.score(examples, predictions)
    except ImportError as error:
        raise UserError(
            f"{name} cannot be scored here ({error}): python -m pip install 'electra_jax[generation]'"
        ) from None
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"{file} cannot be scored ({type(error).__name__}: {error}): delete the seed's {RESULT} to predict anew"
        ) from None
    for metric, was in seed.scores.get(name, {}).get(split, {}).items():
        if metric in now and not math.isclose(now[metric], was, rel_tol=1e-6, abs_tol=1e-6):
            raise UserError(
                f"{file} has {metric} {now[metric]:.2f} on the {split} examples of {name} as they are now, but had "
                f"{was:.2f} when the seed ended: restore the examples, or delete the seed's {RESULT} to predict anew"
            )
    return Predicted(seed.root, task, predictions, now)
