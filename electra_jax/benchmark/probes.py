"""Frozen probes: logistic regression on the mean state of a text at each of several layers, nothing fine-tuned.

Tenney et al., "BERT Rediscovers the Classical NLP Pipeline" (ACL 2019), look at frozen layers so; the last of a
discriminator are the worst for the meaning of a text (Rep et al. 2024, arXiv 2402.13130).
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.benchmark.logistic import fit_logistic, logits, softmax
from electra_jax.benchmark.measured import Measured
from electra_jax.benchmark.tasks_of_data import read_task
from electra_jax.errors import UserError
from electra_jax.inference.model import Model
from electra_jax.inference.vectors import pooled_states
from electra_jax.tasks.classification import ClassificationTask
from electra_jax.tasks.paired_bootstrap import measure_of
from electra_jax.tasks.protocol import TextExample


def probe(
    model: Model, run: Path, name: str, section: Mapping[str, Any], layers: int, most: int
) -> list[Measured]:
    """Measure a probe of each of several layers by the task's own metric, on its dev examples.

    Args:
        model: the run's.
        run: its work directory.
        name: of the task.
        section: of the task, as ``finetune.tasks`` has it.
        layers: how many, at most.
        most: examples that it learns from; see `some_of`.

    Raises:
        UserError: the task is no classification into one class, or has no train and dev examples.
    """
    length = f"data.sequence_length={model.config.data.sequence_length}"
    task, examples = read_probe(run, name, section, [length])
    train, dev = (
        [some for some in examples[split] if isinstance(some, TextExample)] for split in ("train", "dev")
    )
    train = some_of(train, most)
    rows = {split: task.encode(some, training=False) for split, some in (("train", train), ("dev", dev))}
    depths = spread_layers(model.config.model.num_layers, layers)
    states = {split: pooled_states(model, some, depths, "mean") for split, some in rows.items()}
    labels = np.asarray(rows["train"].targets["label"])
    hash_of_dev = hashlib.sha256(repr([(e.id, e.gold) for e in dev]).encode()).hexdigest()[:16]
    found = []
    for number, depth in enumerate(depths):
        seen, unseen = _standardised(states["train"][:, number], states["dev"][:, number])
        weights = fit_logistic(seen, labels, len(task.labels))
        outputs = {"probabilities": softmax(logits(unseen, weights))}
        predictions = task.predictions(dev, rows["dev"], outputs)
        measure = measure_of(task, dev, predictions, task.metric)
        title = f"{name} probe, layer {depth}: {task.metric}"
        found.append(Measured(title, [measure], len(dev), hash_of_dev))
    return found


def read_probe(
    run: Path, name: str, section: Mapping[str, Any], settings: Sequence[str] = ()
) -> tuple[ClassificationTask, Mapping[str, Sequence[Any]]]:
    """Return the task that is probed and its examples by split; no device is used.

    Args:
        run: its work directory.
        name: of the task.
        section: of the task, as ``finetune.tasks`` has it.
        settings: overrides of the recipe.

    Raises:
        UserError: the task is no classification into one class, or has no train and dev examples.
    """
    data = read_task(run, name, section, settings)
    task = data.tasks[name]
    if not isinstance(task, ClassificationTask) or task.kind != "classification":
        raise UserError(f"probes.{name} is {task.kind}: a probe is for classification into one class")
    return task, data.examples[name]


def some_of(examples: Sequence[TextExample], most: int) -> list[TextExample]:
    """Return the ``most`` examples whose texts have the smallest hashes, in their order; all, where there are no more.

    So they are the same for every run, and of all classes, though the file may have one class behind the other.
    """
    ranked = sorted(
        range(len(examples)),
        key=lambda number: hashlib.sha256(
            repr((examples[number].text, examples[number].pair)).encode()
        ).digest(),
    )
    return [examples[number] for number in sorted(ranked[:most])]


def spread_layers(depth: int, most: int) -> list[int]:
    """Return the numbers, from 1, of up to ``most`` layers spread evenly over ``depth``; the last is one of them."""
    count = min(depth, most)
    return [round(depth * (number + 1) / count) for number in range(count)]


def _standardised(seen: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, deviation = seen.mean(axis=0), seen.std(axis=0) + 1e-6
    return (seen - mean) / deviation, (unseen - mean) / deviation
