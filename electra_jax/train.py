"""Pre-training: ``python -m electra_jax.train --config FILE --workdir DIR [key.path=value ...]``.

The one training loop: check → prepare → restore → train → evaluate → save.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from electra_jax import cli
from electra_jax.config.schema import Config
from electra_jax.data.batches import train_batches
from electra_jax.data.prepare import Prepared, prepare
from electra_jax.errors import UserError
from electra_jax.inference.showcase import showcase
from electra_jax.model.sizes import network_sizes
from electra_jax.partitioning.mesh import check_batch, make_mesh
from electra_jax.tokenizers import load_tokenizer
from electra_jax.training.checkpoints import Checkpoints, RunIdentity
from electra_jax.training.evaluation import evaluate
from electra_jax.training.flops import peak_flops, train_step_flops
from electra_jax.training.interrupt import StopRequest
from electra_jax.training.logs import Console, MetricsWriter, Stopwatch
from electra_jax.training.program import Program, build_program
from electra_jax.training.start import check_init_from, starting_state
from electra_jax.training.state import TrainState
from electra_jax.training.workdir import WorkDir


def train(config: Config, workdir: WorkDir) -> dict[str, float | None]:
    """Trains (or goes on training) in ``workdir`` and returns the last held-out metrics.

    Raises:
        UserError: anything the user can put right; nothing already written is lost.
    """
    # Check, before any work
    changes = workdir.check_usable(config)
    mesh = make_mesh(config.mesh)
    check_batch(config, mesh)

    # Prepare tokenizer and tokens, found in the cache or made
    prepared = prepare(config)
    check_tokenizer(prepared, workdir)
    check_init_from(config, prepared.tokenizer.fingerprint, workdir)
    program = build_program(config, prepared.tokenizer, mesh)

    # The work directory is written from here on
    workdir.write_config(config)
    if not workdir.tokenizer.exists():
        prepared.tokenizer.save(workdir.tokenizer)
    identity = RunIdentity(prepared.tokenizer.fingerprint, prepared.train.fingerprint, config.model_dump())
    checkpoints = Checkpoints(workdir.checkpoints, config.train)
    start, state, notes = starting_state(config, program, checkpoints, identity)
    workdir.truncate_metrics(start)
    for line in [*changes, *notes]:
        print(line, file=sys.stderr)
    if start >= config.train.steps:
        print(f"already trained to step {start}; raise train.steps to go on", file=sys.stderr)

    try:
        state, metrics, stopped = train_loop(
            config, prepared, program, workdir, checkpoints, identity, start, state
        )
    finally:
        checkpoints.close()
    if stopped is None and config.train.show_examples:
        showcase(program, state.params, prepared, config)
    return metrics


def train_loop(
    config: Config,
    prepared: Prepared,
    program: Program,
    workdir: WorkDir,
    checkpoints: Checkpoints,
    identity: RunIdentity,
    start: int,
    state: TrainState,
) -> tuple[TrainState, dict[str, float | None], str | None]:
    """Steps from ``start`` to train.steps; (state, last held-out metrics, the signal that stopped it or None)."""
    settings = config.train
    batches = train_batches(
        prepared.train,
        batch_size=settings.batch_size,
        seed=config.seed,
        start_step=start,
        host=jax.process_index(),
        hosts=jax.process_count(),
        prefetch=config.data.prefetch_batches,
    )
    writer = MetricsWriter(workdir, resumed_step=start)
    console = Console(start=start, steps=settings.steps)
    watch = Stopwatch()
    rates = Rates(config, prepared)
    metrics: dict[str, float | None] = {}
    pending: tuple[int, Any] | None = None  # the newest step whose report has not been read

    with StopRequest() as stop, program.on_mesh():
        for step in range(start + 1, settings.steps + 1):
            state, report = program.train_step(state, program.put_batch(next(batches)))
            if pending is not None:
                read_report(*pending, console, checkpoints)
            pending = (step, report)
            last = step == settings.steps or stop.requested is not None
            logs = step % settings.log_every == 0 or step == settings.steps
            evaluates = step % settings.eval_every == 0 or step == settings.steps
            saves = step % settings.checkpoint_every == 0 or last
            if step == start + 1:
                jax.block_until_ready(report)
                watch.restart()  # compilation does not count
            else:
                watch.step()
            if not (logs or evaluates or saves):
                continue

            last_report = read_report(*pending, console, checkpoints)
            pending = None
            if logs:
                seconds = watch.seconds_a_step()
                summary = program.objective.summarize(jax.device_get(state.window))
                for name in ("learning_rate", "grad_norm"):
                    summary[name] = last_report[name]
                summary |= rates(seconds)
                writer.write(step, "train", summary)
                console.metrics(step, summary, seconds or float("nan"))
            if evaluates:
                limit = None if step == settings.steps else settings.eval_batches
                metrics = evaluate(
                    program,
                    state.params,
                    prepared.eval,
                    batch_size=settings.batch_size,
                    pad_id=prepared.tokenizer.pad_id,
                    limit=limit,
                )
                writer.write(step, "eval", metrics)
                console.say(f"held-out at step {step}: {format_metrics(metrics)}")
            if saves:
                checkpoints.save(step, state, identity)
            if logs or evaluates or saves:
                watch.restart()
            if stop.requested is not None:
                break
        checkpoints.wait()
        console.close()
        writer.close()
        if stop.requested is not None and int(state.step) < settings.steps:
            print(
                f"stopped by {stop.requested} after step {int(state.step)}, which is saved; to go on: "
                f"python -m electra_jax.train --config {workdir.config} --workdir {workdir.root}",
                file=sys.stderr,
            )
            return state, metrics, stop.requested
    return state, metrics, None


class Rates:
    """Speeds from seconds a step: sequences, tokens, and the share of the chips' peak."""

    def __init__(self, config: Config, prepared: Prepared):
        self._rows = config.train.batch_size
        self._length = config.data.sequence_length
        peak = peak_flops(jax.devices()[0])
        self._peak = peak * jax.device_count() if peak else None
        self._flops = train_step_flops(config, network_sizes(config, prepared.tokenizer.vocab_size))

    def __call__(self, seconds_a_step: float | None) -> dict[str, float | None]:
        """The three metrics; None where there is nothing to measure or no peak is known."""
        rows = self._rows / seconds_a_step if seconds_a_step else None
        utilization = self._flops / seconds_a_step / self._peak if seconds_a_step and self._peak else None
        return {
            "sequences_per_second": rows,
            "tokens_per_second": rows * self._length if rows else None,
            "model_flops_utilization": utilization,
        }


def read_report(step: int, report: Any, console: Console, checkpoints: Checkpoints) -> dict[str, float]:
    """Waits for a step's scalars and counts it as done.

    Raises:
        UserError: its loss or gradient is not finite; nothing of it is saved.
    """
    values = {name: float(value) for name, value in jax.device_get(report).items()}
    if not (np.isfinite(values["loss"]) and np.isfinite(values["grad_norm"])):
        console.close()
        checkpoints.wait()
        bad = [n for n in ("masked_lm_loss", "disc_loss") if not np.isfinite(values.get(n, 0.0))]
        networks = {"masked_lm_loss": "generator", "disc_loss": "discriminator"}
        culprit = " and ".join(networks[n] for n in bad) or "gradient only"
        kept = checkpoints.steps()
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise UserError(
            f"the loss is not finite at step {step} ({culprit}): {numbers}. "
            + (f"The checkpoint of step {kept[-1]} is kept; " if kept else "There is no checkpoint yet; ")
            + "a lower optimizer.learning_rate, more optimizer.warmup_steps or compute.dtype=float32 may help"
        )
    console.step(values["loss"])
    return values


def check_tokenizer(prepared: Prepared, workdir: WorkDir) -> None:
    """Refuses a work directory whose saved tokenizer is not the one the configuration gives.

    Raises:
        UserError: see above, or its files were altered.
    """
    if not workdir.tokenizer.exists():
        return
    saved = load_tokenizer(workdir.tokenizer).fingerprint
    if saved != prepared.tokenizer.fingerprint:
        raise UserError(
            f"the tokenizer in {workdir.tokenizer} ({saved[:12]}) is not the one this configuration gives "
            f"({prepared.tokenizer.fingerprint[:12]}): the vocabulary file or the corpus changed; choose another "
            "--workdir, or restore them"
        )


def format_metrics(metrics: dict[str, float | None]) -> str:
    """Metrics on one line."""
    return ", ".join(
        f"{name} {'-' if value is None else format(value, '.4f')}" for name, value in metrics.items()
    )


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = cli.parser(
        "electra_jax.train",
        "Pre-trains ELECTRA: prepares tokenizer and tokens where they are missing, trains, evaluates on held-out "
        "text and saves. Run again on the same --workdir, it goes on where it stopped.",
        epilog="examples:\n"
        "  python -m electra_jax.train --config configs/pretrain/tiny.yaml --workdir runs/tiny\n"
        "  python -m electra_jax.train --config configs/pretrain/small.yaml --workdir runs/mine \\\n"
        "      'data.source=text:corpus/*.txt' train.steps=100000\n",
    )
    parser.add_argument("--workdir", type=Path, help="directory of the run; created, or resumed")
    args = parser.parse_args(argv)
    config = cli.load_config(args)
    if args.workdir is None:
        raise UserError("--workdir is missing: the directory that is to hold the run")
    train(config, WorkDir(args.workdir))
    return 0


if __name__ == "__main__":
    cli.run(main)
