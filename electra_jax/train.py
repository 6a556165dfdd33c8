"""Training: ``python -m electra_jax.train --config FILE --workdir DIR [key.path=value ...]``.

In Python ``electra_jax.train(config, workdir, …)``, which is `run`.

A run from top to bottom: check → prepare → run (`training.run`: program → restore or initialise → loop) → show.
Fine-tuning does the same for each of its seeds (`tasks.finetune`).
"""

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from electra_jax import cli
from electra_jax.config.loading import load_config, with_overrides
from electra_jax.config.optimization import OptimizerConfig
from electra_jax.config.schema import Config
from electra_jax.config.training import TrainConfig
from electra_jax.data.prepare import check_prepare, prepare
from electra_jax.distributed.agreement import host_0_first, print_on_host_0
from electra_jax.distributed.common_settings import check_common_settings, common_settings
from electra_jax.distributed.joining import joined
from electra_jax.errors import UserError
from electra_jax.files.local_paths import check_folder, local_path
from electra_jax.model.attention.choice import choose_attention
from electra_jax.objectives import build_objective
from electra_jax.partitioning.layout import describe_layout
from electra_jax.partitioning.mesh import check_batch, make_mesh
from electra_jax.runtime.compilation_cache import use_compilation_cache
from electra_jax.runtime.malloc import keep_freed_memory
from electra_jax.training.checkpoints import saved_steps
from electra_jax.training.examples import show_examples
from electra_jax.training.pretraining import PretrainingWorkload
from electra_jax.training.program import Program
from electra_jax.training.run import Experiment, run_experiment
from electra_jax.training.start import (
    check_data,
    check_run,
    check_tokenizer,
    resolve_cleaning,
)
from electra_jax.training.workdir import WorkDir


def train(config: Config, workdir: WorkDir) -> dict[str, float | None]:
    """Pre-train (or go on training) in ``workdir`` and return the last held-out metrics, {} before there are any.

    Raises:
        UserError: Anything the user can put right; nothing already written is lost.
    """
    # Check what can be known at once: first without the devices, which another program may need, then with them
    config = resolve_cleaning(config, workdir)
    check_run(config, workdir)
    changes = workdir.check_usable(config)
    check_prepare(config.data, config.tokenizer)
    mesh = make_mesh(config.mesh)
    check_batch(config.train, config.model, mesh)
    platform = mesh.devices.flat[0].platform
    attention = choose_attention(config, platform)
    use_compilation_cache(config.compute, config.data, platform)

    # Prepare tokenizer and tokens, found in the cache or made
    prepared = host_0_first(
        "preparing tokenizer and text",
        lambda: prepare(
            config.data,
            config.tokenizer,
            validate_tokenizer=lambda tokenizer: check_tokenizer(
                config.init_from, workdir, tokenizer, config.generator.frozen_from
            ),
            saved_tokenizer=workdir.tokenizer if saved_steps(workdir.checkpoints) else None,
        ),
        lambda made: f"{made.tokenizer.fingerprint} {made.train.fingerprint} {made.eval.fingerprint}",
        timeout=config.hosts.prepare_timeout,
    )
    check_data(workdir, prepared.train.fingerprint)

    # Run: program → restore or initialise → loop
    def startup_lines(program: Program[Any], start: int, origin: list[str]) -> list[str]:
        layout = describe_layout(program.abstract, mesh)
        return [
            *changes,
            *origin,
            *_step_notes(config.train, config.optimizer, start),
            attention.line,
            *layout,
        ]

    finished = run_experiment(
        Experiment(
            config=config,
            workdir=workdir,
            tokenizer=prepared.tokenizer,
            data=prepared.train.fingerprint,
            objective=build_objective(config, prepared.tokenizer, platform),
            batch=np.zeros((config.train.batch_size, config.data.sequence_length), np.int32),
            mesh=mesh,
            make_workload=lambda program: PretrainingWorkload(config, prepared, program, workdir),
            startup_lines=startup_lines,
        )
    )

    # Show what came out
    if finished.stop_signal is None and finished.start < config.train.total_steps:
        baselines = finished.program.objective.baselines(prepared.eval.most_frequent_token_share)
        if baselines is not None:
            print_on_host_0(baselines)
    if finished.stop_signal is None and config.train.show_examples:
        params, count = finished.state.params, config.train.show_examples
        show_examples(finished.program, params, prepared, count=count, seed=config.seed)
    return finished.metrics or _last_held_out(workdir)


def _last_held_out(workdir: WorkDir) -> dict[str, float | None]:
    """Return the last held-out metrics that an earlier start of the run wrote; {} where it came to none."""
    for line in reversed(workdir.read_metrics()):
        if line.get("split") == "eval" and "eval_source" not in line:  # those are electra_jax.evaluate's
            return {name: value for name, value in line.items() if name not in ("step", "split")}
    return {}


def _step_notes(train: TrainConfig, optimizer: OptimizerConfig, start: int) -> list[str]:
    """Return notes on the steps that are left, and on the warm-up."""
    steps, warmup = train.total_steps, optimizer.total_warmup
    if start >= steps:
        grows = train.batch_size_schedule.to is not None  # then train.steps cannot change
        return [f"already trained to step {start}" + ("" if grows else "; raise train.steps to go on")]
    if warmup >= steps:
        return [
            f"note: optimizer.warmup_steps {warmup} is not below train.steps {steps}: the learning rate never "
            "reaches its peak"
        ]
    return []


def run(
    config: Config | str | Path, workdir: str | Path, *overrides: str, submission: Path | None = None
) -> dict[str, Any]:
    """Pre-train, or fine-tune, or go on with it; what ``electra_jax.train(config, workdir, …)`` does.

    >>> import electra_jax
    >>> metrics = electra_jax.train("mine.yaml", "runs/mine", "train.show_examples=0")

    Args:
        config: A `Config`, the path of a YAML file or the name of a preset, such as "small" or "finetune/mrpc".
        workdir: Directory of the run; created, or resumed.
        *overrides: Settings that win over those of ``config``, such as "train.steps=1000".
        submission: Where to write GLUE's submission files, in fine-tuning.

    Returns:
        The last held-out metrics, also those of a run that was finished before; of a fine-tuning, its results over
        all seeds. {} where a signal stopped it before there were any.

    Raises:
        UserError: Anything the user can put right; nothing already written is lost.
    """
    if not isinstance(config, Config):
        config = load_config(config, overrides)
    elif overrides:
        config = with_overrides(config.model_dump(), overrides, "the configuration")
    directory = WorkDir(local_path(workdir, "the work directory"))
    if submission is not None and not config.finetuning:
        raise UserError("--submission goes with fine-tuning on tasks of GLUE (objective.kind=finetune)")
    if submission is not None:
        check_folder(submission, "--submission")
    with joined(config.hosts):
        config = common_settings(config)
        check_common_settings(config)
        if config.finetuning:
            from electra_jax.tasks.finetune import finetune  # brings the libraries of its metrics along

            return finetune(config, directory, submission)
        return train(config, directory)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = cli.parser(
        "electra_jax.train",
        "Pre-trains ELECTRA, or fine-tunes it: prepares tokenizer and tokens where they are missing, trains, "
        "evaluates on held-out text and saves. Run again on the same --workdir, it goes on where it stopped; Ctrl-C "
        "saves before it stops.\n\n"
        "The work directory holds config.yaml (resolved; training from it alone reproduces the run), metrics.jsonl "
        "(one JSON object a line), tensorboard/, checkpoints/STEP/ and tokenizer/; that of a fine-tuning seed-N/, a "
        "run each, and results.json. Settings that decide the model or the data order cannot change once it is "
        "there; all others can, such as train.steps (but not with train.batch_size_schedule). All seeds of a "
        "fine-tuning have one recipe, so its train.steps and optimizer cannot change.",
        epilog="examples:\n"
        "  python -m electra_jax.train --config tiny --workdir runs/tiny\n"
        "  python -m electra_jax.train --config small --workdir runs/mine \\\n"
        "      'data.source=text:corpus/*.txt' train.steps=100000\n"
        "  python -m electra_jax.train --config runs/mine/config.yaml --workdir runs/mine train.steps=200000\n"
        "  python -m electra_jax.train --config finetune/mrpc --workdir runs/mrpc init_from=runs/mine \\\n"
        "      finetune.tasks.mrpc.data=glue/MRPC\n",
    )
    parser.add_argument(
        "--workdir", type=cli.path, metavar="DIR", help="directory of the run; created, or resumed"
    )
    parser.add_argument(
        "--submission", type=cli.path, metavar="DIR", help="fine-tuning: write GLUE's submission files there"
    )
    args = parser.parse_args(argv)
    config = cli.load_config(args)
    if config.compute.keep_memory:
        keep_freed_memory()
    if args.workdir is None:
        raise UserError("--workdir is missing: the directory that is to hold the run")
    run(config, args.workdir, submission=args.submission)
    return 0


class _Callable(ModuleType):
    """Makes ``electra_jax.train`` callable, whether it is asked for before or after this module was imported."""

    __signature__ = inspect.signature(run)

    def __call__(self, *args: Any, **options: Any) -> dict[str, Any]:
        return run(*args, **options)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    cli.run(main)
