"""A few fine-tunings of each run with the same recipe and seeds, each in a directory of its own that is kept."""

import contextlib
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.benchmark.measured import Measured
from electra_jax.benchmark.tasks_of_data import task_config
from electra_jax.errors import UserError
from electra_jax.tasks.finished_seeds import finished_seeds, load_split, read_seed
from electra_jax.tasks.paired_bootstrap import measure_of
from electra_jax.train import run as train


def finetune_and_measure(
    run: Path,
    step: int,
    name: str,
    section: Mapping[str, Any],
    settings: Sequence[str],
    seeds: int,
    workdir: Path,
) -> Measured:
    """Fine-tune a run on a task, or read back what was fine-tuned before, and measure every seed on dev.

    Args:
        run: work directory of a pre-trained model.
        step: of its checkpoint.
        name: of the task.
        section: of the task.
        settings: overrides of the recipe.
        seeds: how many, the same for every run.
        workdir: has a directory for each run, step and task.

    Raises:
        UserError: anything the user can put right.
    """
    place = run.resolve()
    of_run = hashlib.sha256(str(place).encode()).hexdigest()[:8]
    directory = workdir / f"{place.name}-{step}-{of_run}" / name
    config = task_config(run, name, section, [*settings, f"finetune.seeds={seeds}"])
    with contextlib.redirect_stdout(sys.stderr):  # what is printed at the end is the benchmark's
        if not train(config, directory):
            raise UserError(f"the fine-tuning in {directory} was stopped; run the same command to go on")
    # Another suite may have trained more of them.
    wanted = [directory / f"seed-{config.seed + n}" for n in range(seeds)]
    finished = [only for seed in wanted for only in finished_seeds(seed, every=False)]
    examples = load_split(finished[0], name, "dev")
    read = [read_seed(seed, name, "dev", examples) for seed in finished]
    metric = read[0].task.metric
    measures = [measure_of(some.task, examples, some.predictions, metric) for some in read]
    of_what = hashlib.sha256(repr([(example.id, example.gold) for example in examples]).encode()).hexdigest()[
        :16
    ]
    return Measured(f"{name} fine-tuned: {metric}", measures, len(examples), of_what)
