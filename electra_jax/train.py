"""Pre-training: ``python -m electra_jax.train --config FILE --workdir DIR [key.path=value ...]``.

The one training loop: check → prepare → restore → train → evaluate → save.
"""

import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax

from electra_jax import cli
from electra_jax.config.schema import Config
from electra_jax.data.batches import train_batches
from electra_jax.data.prepare import Prepared, check_prepare, prepare
from electra_jax.errors import UserError
from electra_jax.inference.showcase import showcase
from electra_jax.partitioning.mesh import check_batch, make_mesh
from electra_jax.training.checkpoints import CheckpointWriter, RunIdentity
from electra_jax.training.evaluation import evaluate
from electra_jax.training.health import read_report
from electra_jax.training.interrupt import StopRequest
from electra_jax.training.logs import Console, MetricsWriter, format_metrics
from electra_jax.training.program import Program, build_program
from electra_jax.training.speed import Rates, Stopwatch
from electra_jax.training.start import check_data, check_run, check_tokenizer, starting_state
from electra_jax.training.state import TrainState
from electra_jax.training.workdir import WorkDir


def train(config: Config, workdir: WorkDir) -> dict[str, float | None]:
    """Trains (or goes on training) in ``workdir`` and returns the last held-out metrics.

    Raises:
        UserError: anything the user can put right; nothing already written is lost.
    """
    # Check what can be known at once: first without the devices, which another program may need, then with them
    check_run(config, workdir)
    changes = workdir.check_usable(config)
    check_prepare(config)
    mesh = make_mesh(config.mesh)
    check_batch(config, mesh)

    # Prepare tokenizer and tokens, found in the cache or made
    prepared = prepare(config, accept=lambda tokenizer: check_tokenizer(config, workdir, tokenizer))
    check_data(workdir, prepared.train.fingerprint)
    identity = RunIdentity(prepared.tokenizer.fingerprint, prepared.train.fingerprint, config.model_dump())

    # Restore, or begin
    program = build_program(config, prepared.tokenizer, mesh)
    start, state, notes = starting_state(config, program, prepared.tokenizer, workdir)

    # The work directory is written from here on
    workdir.write_config(config)
    if not workdir.tokenizer.exists():
        prepared.tokenizer.save(workdir.tokenizer)
    workdir.truncate_metrics(start)
    if start >= config.train.steps:
        notes.append(f"already trained to step {start}; raise train.steps to go on")
    elif config.optimizer.warmup_steps >= config.train.steps:
        notes.append(
            f"note: optimizer.warmup_steps {config.optimizer.warmup_steps} is not below train.steps "
            f"{config.train.steps}: the learning rate never reaches its peak"
        )
    for line in [*changes, *notes]:
        print(line, file=sys.stderr)

    checkpoints = CheckpointWriter(workdir.checkpoints, config.train, identity)
    try:
        state, metrics, stopped = train_loop(config, prepared, program, workdir, checkpoints, start, state)
    except OSError as error:
        error.filename = error.filename or workdir.root  # a write to an open file does not say which
        raise
    finally:
        checkpoints.close()
    if stopped is None and start < config.train.steps:
        print(accuracy_baselines(config, prepared.eval.most_frequent_token_share), file=sys.stderr)
    if stopped is None and config.train.show_examples:
        showcase(program, state.params, prepared, config)
    return metrics


def accuracy_baselines(config: Config, most_frequent_share: float) -> str:
    """What masked_lm_accuracy would be without learning from context, as a line to set the result against.

    Chosen tokens that are kept and not masked can be copied, so that is what a network of no context reaches.
    """
    masked = config.objective.mask_token_probability
    copying = (1 - masked) + masked * most_frequent_share
    return (
        f"masked_lm_accuracy to compare with: {most_frequent_share:.4f} for always guessing the commonest token, "
        f"{copying:.4f} for that and copying the chosen tokens that are not masked"
    )


def train_loop(
    config: Config,
    prepared: Prepared,
    program: Program,
    workdir: WorkDir,
    checkpoints: CheckpointWriter,
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
    tokens_a_step = settings.batch_size * config.data.sequence_length
    watch = Stopwatch()
    rates = Rates(config, prepared.tokenizer.vocab_size)
    metrics: dict[str, float | None] = {}
    pending: tuple[int, Any] | None = None  # the newest step whose report has not been read

    with (
        StopRequest() as stop,
        closing(MetricsWriter(workdir, resumed_step=start)) as writer,
        closing(Console(start=start, steps=settings.steps, tokens_a_step=tokens_a_step)) as console,
        program.on_mesh(),
    ):
        for step in range(start + 1, settings.steps + 1):
            state, report = program.train_step(state, program.put_batch(next(batches)))
            if pending is not None:
                read_report(*pending, console)
            pending = (step, report)
            stopping = stop.requested  # read once: a signal that comes later is for the next step
            logs = step % settings.log_every == 0 or step == settings.steps
            evaluates = step % settings.eval_every == 0 or step == settings.steps
            saves = step % settings.checkpoint_every == 0 or step == settings.steps or stopping is not None
            if step == start + 1:
                jax.block_until_ready(report)
                watch.restart()  # compilation does not count
            else:
                watch.step()
            if not (logs or evaluates or saves):
                continue

            last_report = read_report(*pending, console)
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
                checkpoints.save(step, state)
            watch.restart()
            if stopping is not None and step < settings.steps:
                checkpoints.wait()
                config_file, folder = (shlex.quote(str(path)) for path in (workdir.config, workdir.root))
                console.say(
                    f"stopped by {stopping} after step {step}, which is saved; to go on: "
                    f"python -m electra_jax.train --config {config_file} --workdir {folder}"
                )
                return state, metrics, stopping
        checkpoints.wait()
    return state, metrics, None


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = cli.parser(
        "electra_jax.train",
        "Pre-trains ELECTRA: prepares tokenizer and tokens where they are missing, trains, evaluates on held-out "
        "text and saves. Run again on the same --workdir, it goes on where it stopped; Ctrl-C saves before it "
        "stops.\n\n"
        "The work directory holds config.yaml (resolved; training from it alone reproduces the run), metrics.jsonl "
        "(one JSON object a line), tensorboard/, checkpoints/STEP/ and tokenizer/. Settings that decide the model "
        "or the data order cannot change once it is there; all others can, such as train.steps.",
        epilog="examples:\n"
        "  python -m electra_jax.train --config configs/pretrain/tiny.yaml --workdir runs/tiny\n"
        "  python -m electra_jax.train --config configs/pretrain/small.yaml --workdir runs/mine \\\n"
        "      'data.source=text:corpus/*.txt' train.steps=100000\n"
        "  python -m electra_jax.train --config runs/mine/config.yaml --workdir runs/mine train.steps=200000\n",
    )
    parser.add_argument(
        "--workdir", type=Path, metavar="DIR", help="directory of the run; created, or resumed"
    )
    args = parser.parse_args(argv)
    config = cli.load_config(args)
    if args.workdir is None:
        raise UserError("--workdir is missing: the directory that is to hold the run")
    train(config, WorkDir(args.workdir))
    return 0


if __name__ == "__main__":
    cli.run(main)
