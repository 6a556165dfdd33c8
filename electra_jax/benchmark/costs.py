"""What a run cost: parameters, FLOPs, tokens and the seconds of its steps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from electra_jax.data.batch_sizes import BatchSizes
from electra_jax.inference.model import Model
from electra_jax.objectives import build_objective
from electra_jax.training.checkpoints import find_checkpoint, has_progress
from electra_jax.training.flops import train_step_flops
from electra_jax.training.pretraining import batch_sizes
from electra_jax.training.seed_selection import run_directory
from electra_jax.training.workdir import WorkDir


@dataclass(frozen=True)
class Costs:
    """What a run cost.

    Attributes:
        parameters: of all its networks with their heads.
        kept: those of the encoder and its embeddings.
        tokens: that it was trained on, padding included; None of a checkpoint that is foreign or was converted.
        flops: of its steps, as docs/metrics.md counts them; None as ``tokens``.
        seconds: of its steps, without compiling, evaluation and saving; None where no speed was logged.
    """

    parameters: int
    kept: int
    tokens: int | None
    flops: float | None
    seconds: float | None


def costs_of(model: Model, run: Path, step: int | None) -> Costs:
    """Return what a run cost up to a step; what it started from (``init_from``) is not counted."""
    sizes = {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in model._params.items()}
    parameters, kept = sum(sizes.values()), sizes["embeddings"] + sizes["encoder"]
    if step is None or not has_progress(directory := find_checkpoint(run)[1], step):
        return Costs(parameters, kept, None, None, None)
    config = model.config
    batches, length = batch_sizes(config.train), config.data.sequence_length
    rows = batches.before(step)
    flops = train_step_flops(build_objective(config, model.tokenizer), rows, length)
    records = WorkDir(run_directory(directory)).read_metrics()
    return Costs(parameters, kept, rows * length, flops, seconds_of(records, batches, step))


def seconds_of(records: Iterable[Mapping[str, Any]], sizes: BatchSizes, step: int) -> float | None:
    """Return the seconds of the steps up to ``step`` from the speeds that were logged; None where there are none.

    Steps without a speed, those behind the last line among them, are taken to be as long as the mean of the others.

    Args:
        records: the lines of metrics.jsonl.
        sizes: of the batches.
        step: the last that counts.
    """
    seconds, before, known = 0.0, 0, 0
    for record in records:
        if record.get("split") != "train" or not before < record["step"] <= step:
            continue
        steps, before = record["step"] - before, record["step"]
        speed = record.get("sequences_per_second")
        if speed:
            seconds += steps * sizes.at(before - 1) / speed
            known += steps
    return seconds * step / known if known else None
