"""The one training loop, for every objective: step → report → evaluate → save, until the end or a signal."""

from collections.abc import Hashable, Iterator
from contextlib import closing
from typing import Any, Protocol

import jax

from electra_jax.config.training import TrainConfig
from electra_jax.runtime.profiling import Profile
from electra_jax.training.checkpoints import CheckpointWriter, RunIdentity
from electra_jax.training.compile_messages import shapes_of
from electra_jax.training.health import read_report
from electra_jax.training.interrupt import StopRequest
from electra_jax.training.logs import format_metrics, open_console, open_writer
from electra_jax.training.program import Program
from electra_jax.training.save_clock import SaveClock
from electra_jax.training.state import TrainState
from electra_jax.training.throughput import StepTimer
from electra_jax.training.workdir import WorkDir

Metrics = dict[str, float | None]


class Workload(Protocol):
    """What the loop trains on, and how it is evaluated.

    Attributes:
        command: What to type to go on after an interruption.
    """

    @property
    def command(self) -> str: ...  # noqa: D102

    def tokens_before(self, step: int) -> int:
        """Return the tokens of the batches before that of a step, from 0, padding included (at most)."""

    def batches(self, start: int) -> Iterator[Any]:
        """Yield this host's part of the batches of the steps after ``start``."""

    def evaluate(self, params: Any, step: int) -> Metrics:
        """Compute held-out metrics of the parameters after ``step`` updates."""

    def throughput(self, seconds_per_step: float | None, step: int) -> Metrics:
        """Compute the speeds to log after ``step`` updates; None where no step was timed."""


def run_loop(
    settings: TrainConfig,
    workload: Workload,
    program: Program[Any],
    workdir: WorkDir,
    identity: RunIdentity,
    start: int,
    state: TrainState,
) -> tuple[TrainState, Metrics, str | None]:
    """Run `train_loop` with checkpoints in ``workdir``, all on disk when it returns or raises.

    Raises:
        OSError: Something could not be written; it names a file or the directory.
    """
    checkpoints = CheckpointWriter(workdir.checkpoints, settings, identity)
    try:
        return train_loop(settings, workload, program, workdir, checkpoints, start, state)
    except OSError as error:
        error.filename = (
            error.filename or workdir.root
        )  # an error of writing to an open file does not name it
        raise
    finally:
        checkpoints.close()


def train_loop(
    settings: TrainConfig,
    workload: Workload,
    program: Program[Any],
    workdir: WorkDir,
    checkpoints: CheckpointWriter,
    start: int,
    state: TrainState,
) -> tuple[TrainState, Metrics, str | None]:
    """Train from step ``start`` to train.steps, or until a signal.

    Args:
        settings: The section ``train``.
        workload: Batches and evaluation.
        program: Of the run.
        workdir: Where metrics and a profile are written.
        checkpoints: Where the state is saved.
        start: Updates that ``state`` has already had.
        state: Given up to the first step, which donates its buffers.

    Returns:
        The last state, the last held-out metrics, and the signal that stopped it or None.
    """
    subnetworks = program.objective.subnetworks
    last = settings.total_steps
    batches = workload.batches(start)
    watch = StepTimer()
    clock = SaveClock(settings.checkpoint_minutes)
    metrics: Metrics = {}
    pending: tuple[int, Any] | None = None  # the newest step whose report has not been read
    compiled: set[Hashable] = set()  # shapes of batches for which there is a program

    with (
        StopRequest(program.mesh) as stop,
        closing(Profile(settings.profile_steps, workdir.root / "profile")) as profile,
        closing(open_writer(workdir, resumed_step=start)) as writer,
        closing(open_console(start=start, steps=last, tokens_before=workload.tokens_before)) as console,
        program.on_mesh(),
    ):
        for step in range(start + 1, last + 1):
            batch = program.to_global_batch(next(batches))
            # Nothing else is transferred to the devices, so dispatch waits for nothing.
            with profile.step(step), jax.transfer_guard("disallow"):
                state, report = program.train_step(state, batch)
            profile.done(step, report)
            if pending is not None:
                read_report(*pending, console, subnetworks)
            pending = (step, report)
            decision = stop.decide(
                save=clock.due()
            )  # called once: what is requested later is for the next step
            logs = step % settings.log_every == 0 or step == last
            evaluates = step % settings.evaluation_interval == 0 or step == last
            saves = step % settings.checkpoint_every == 0 or step == last or decision.save
            if (shapes := shapes_of(batch)) in compiled:
                watch.step()
            else:
                jax.block_until_ready(report)
                stop.step_done()
                watch.restart()  # compilation does not count
                compiled.add(shapes)
            if not (logs or evaluates or saves):
                continue

            last_report = read_report(*pending, console, subnetworks)
            pending = None
            if logs:
                seconds = watch.seconds_per_step()
                summary = program.objective.summarize(jax.device_get(state.metric_sums))
                of_groups = sorted(name for name in last_report if name.endswith("_learning_rate"))
                for name in ("learning_rate", *of_groups, "grad_norm"):
                    summary[name] = last_report[name]
                summary |= workload.throughput(seconds, step)
                writer.write(step, "train", summary)
                console.metrics(step, summary, seconds or float("nan"))
            if evaluates:
                metrics = workload.evaluate(state.params, step)
                writer.write(step, "eval", metrics)
                console.print_line(f"held-out at step {step}: {format_metrics(metrics)}")
            if saves:
                checkpoints.save(step, state)
                clock.restart()
            watch.restart()
            if decision.stop is not None and step < last:
                checkpoints.wait()
                console.print_line(
                    f"stopped by {decision.stop} after step {step}, which is saved; to go on: {workload.command}"
                )
                return state, metrics, decision.stop
        checkpoints.wait()
    return state, metrics, None
