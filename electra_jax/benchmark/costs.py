"""What a run cost: parameters, FLOPs, tokens and the seconds of its steps."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from electra_jax.data.batch_sizes import BatchSizes
from electra_jax.inference.load import Model
from electra_jax.objectives import build_objective
from electra_jax.training.checkpoints import find_checkpoint
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
        tokens: that it was trained on, padding included; None of a foreign checkpoint.
        flops: of its steps, as docs/metrics.md counts them; None of a foreign checkpoint.
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
    if step is None:
        return Costs(parameters, kept, None, None, None)
    config = model.config
    batches, length = batch_sizes(config.train), config.data.sequence_length
    rows = batches.before(step)
    flops = train_step_flops(build_objective(config, model.tokenizer), rows, length)
    file = WorkDir(run_directory(find_checkpoint(run)[1])).metrics
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return Costs(parameters, kept, rows * length, flops, seconds_of(map(json.loads, lines), batches, step))


def seconds_of(records: Iterable[Mapping[str, Any]], sizes: BatchSizes, step: int) -> float | None:
    """Return the seconds of the steps up to ``step`` from the speeds that were logged; None where there are none.

    Args:
        records: the lines of metrics.jsonl.
        sizes: of the batches.
        step: the last that counts.
    """
    seconds, before, unknown = 0.0, 0, 0
    for record in records:
        if record.get("split") != "train" or not before < record["step"] <= step:
            continue
        steps, before = record["step"] - before, record["step"]
        speed = record.get("sequences_per_second")
        if speed:
            seconds += steps * sizes.at(before - 1) / speed
        else:
            unknown += steps
    known = before - unknown
    return None if known <= 0 else seconds * before / known
