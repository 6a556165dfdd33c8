"""The model that searches: its arguments, and what is refused before its parameters are read."""

import argparse
from typing import cast

from electra_jax import cli
from electra_jax.answering import load_with_notes
from electra_jax.config.ranking_task import RankingConfig
from electra_jax.inference.rankers import searching_task
from electra_jax.inference.trained import trained_tasks
from electra_jax.runtime.cpu_devices import one_device_per_core
from electra_jax.runtime.malloc import keep_freed_memory


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add --workdir and --task."""
    parser.add_argument(
        "--workdir", type=cli.path, required=True, metavar="DIR", help="directory of the model"
    )
    parser.add_argument("--task", metavar="NAME", help="which task, where several of the model's rank")


def prepare() -> None:
    """Set what must be set before a device is asked for."""
    keep_freed_memory()
    one_device_per_core()


def check_model(args: argparse.Namespace) -> tuple[str, RankingConfig, int]:
    """Refuse a model that makes no vectors of candidates; of ours it is known before their parameters are read.

    Returns:
        the task, its section, and how many tokens of a text it reads.

    Raises:
        UserError: it has no task that does.
    """
    known = trained_tasks(args.workdir)
    if known is None:  # a foreign checkpoint, which has no ranker
        model = load_with_notes(args.workdir)
        known = model.config, {}
    config, tasks = known
    name = searching_task(config, tasks, args.task)
    return name, cast(RankingConfig, config.finetune.tasks[name]), config.data.sequence_length
