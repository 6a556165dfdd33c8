"""One run from its parts to its end, pre-training and fine-tuning alike: program → restore or initialise → loop."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic

from jax.sharding import Mesh

from electra_jax.config.schema import Config
from electra_jax.distributed.agreement import is_host_0, print_on_host_0
from electra_jax.tokenizers import Tokenizer
from electra_jax.training.checkpoints import RunIdentity
from electra_jax.training.frozen_generator import with_frozen_generator
from electra_jax.training.initialisation import Adapt, attention_notes
from electra_jax.training.loop import Metrics, Workload, run_loop
from electra_jax.training.program import AnyObjective, Program, program_for_objective
from electra_jax.training.start import initialize_workdir, restore_or_initialize
from electra_jax.training.state import TrainState
from electra_jax.training.workdir import WorkDir


@dataclass(frozen=True)
class Experiment(Generic[AnyObjective]):
    """A run that has been checked and whose data are there: what pre-training and fine-tuning make differently.

    Attributes:
        config: Its settings, all resolved.
        workdir: Where it is written, or resumed.
        tokenizer: Its vocabulary.
        data: Fingerprint of what it is trained on.
        objective: What is trained: `init`, `draw_inputs` and `loss`.
        batch: Any batch of it; only shapes count.
        mesh: The devices.
        make_workload: Batches and evaluation, from the program.
        adapt: What is done to parameters of ``init_from``; None does nothing.
        saved_config: Its settings as they are written down, where some were derived from the data; None is ``config``.
        write_files: Writes what else a work directory of its kind holds, on host 0.
        startup_lines: What to print before it starts, from the program, the first step, and where the state comes from.
    """

    config: Config
    workdir: WorkDir
    tokenizer: Tokenizer
    data: str
    objective: AnyObjective
    batch: Any
    mesh: Mesh
    make_workload: Callable[[Program[AnyObjective]], Workload]
    adapt: Adapt | None = None
    saved_config: Config | None = None
    write_files: Callable[[], None] = lambda: None
    startup_lines: Callable[[Program[AnyObjective], int, list[str]], list[str]] = (
        lambda program, start, origin: origin
    )


@dataclass(frozen=True)
class RunResult(Generic[AnyObjective]):
    """A run that has ended.

    Attributes:
        program: Its functions and mesh.
        workload: Its batches and evaluation.
        start: The step it started after.
        state: The last state.
        metrics: The last held-out metrics.
        stop_signal: The signal that ended it before its last step; None if none did.
    """

    program: Program[AnyObjective]
    workload: Workload
    start: int
    state: TrainState
    metrics: Metrics
    stop_signal: str | None


def run_experiment(experiment: Experiment[AnyObjective]) -> RunResult[AnyObjective]:
    """Train to the end, or until a signal.

    Raises:
        UserError: Parameters that the mesh does not divide, checkpoints that cannot be read; nothing is lost.
    """
    config, workdir, tokenizer = experiment.config, experiment.workdir, experiment.tokenizer

    # Functions of the run and how everything lies on the mesh; nothing is compiled yet
    program = program_for_objective(config, experiment.objective, experiment.batch, experiment.mesh)

    # The newest checkpoint, else the parameters of init_from, else fresh ones
    start, state, origin = restore_or_initialize(
        program,
        tokenizer,
        workdir,
        objective=config.objective,
        init_from=config.init_from,
        adapt=experiment.adapt,
    )
    if start == 0:
        params, notes = with_frozen_generator(config, tokenizer, program, state.params)
        if config.init_from is not None:
            notes = [*attention_notes(config, config.init_from), *notes]
        state, origin = replace(state, params=params), [*origin, *notes]

    # The work directory is written from here on
    saved_config = experiment.saved_config or config
    initialize_workdir(saved_config, workdir, tokenizer, start)
    if is_host_0():
        experiment.write_files()
    for line in experiment.startup_lines(program, start, origin):
        print_on_host_0(line)

    # Step → report → evaluate → save
    workload = experiment.make_workload(program)
    identity = RunIdentity(tokenizer.fingerprint, experiment.data, saved_config.model_dump())
    state, metrics, stop_signal = run_loop(config.train, workload, program, workdir, identity, start, state)
    return RunResult(program, workload, start, state, metrics, stop_signal)
