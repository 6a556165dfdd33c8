"""Where a run's first state comes from: its newest checkpoint, another run's parameters, or chance.

Precedence: a checkpoint in the work directory, then init_from, then fresh parameters.
"""

from pathlib import Path

from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.training.checkpoints import Checkpoints, RunIdentity
from electra_jax.training.program import Program
from electra_jax.training.state import TrainState
from electra_jax.training.workdir import WorkDir


def starting_state(
    config: Config, program: Program, checkpoints: Checkpoints, identity: RunIdentity
) -> tuple[int, TrainState, list[str]]:
    """(step, state, lines that say where it comes from).

    Raises:
        UserError: the checkpoint is of another tokenizer or other data, or nothing can be read.
    """
    newest = checkpoints.restore_newest(program.abstract)
    if newest is not None:
        step, state, notes = newest
        _check_identity(checkpoints, step, identity)
        return step, state, [*notes, f"resumed at step {step} from {checkpoints.directory / str(step)}"]
    with program.on_mesh():
        state = program.init()
    if config.init_from is None:
        return 0, state, []
    step, source = find_checkpoint(Path(config.init_from))
    params = Checkpoints(source).restore_params(step, program.abstract.params)
    return 0, state.replace(params=params), [f"parameters from {source / str(step)}, optimizer fresh"]


def find_checkpoint(path: Path, step: int | None = None) -> tuple[int, Path]:
    """The step and the checkpoints directory that ``path`` means: a work directory, or ``…/checkpoints/STEP``.

    Raises:
        UserError: there is no checkpoint there, or not that step.
    """
    path = path.expanduser().absolute()
    directory = path / "checkpoints"
    if step is None and path.name.isdigit() and path.parent.name == "checkpoints":
        step, directory = int(path.name), path.parent
    steps = Checkpoints(directory).steps() if directory.is_dir() else []
    if not steps:
        raise UserError(f"there is no checkpoint in {directory}: give the work directory of a run")
    if step is None:
        return steps[-1], directory
    if step not in steps:
        raise UserError(
            f"there is no checkpoint of step {step} in {directory}; there are: {', '.join(map(str, steps))}"
        )
    return step, directory


def check_init_from(config: Config, tokenizer_fingerprint: str, workdir: WorkDir) -> None:
    """Refuses an ``init_from`` that is missing or has another vocabulary, before any device work.

    Raises:
        UserError: see above.
    """
    if config.init_from is None or workdir.checkpoints.exists():
        return
    step, directory = find_checkpoint(Path(config.init_from))
    other = Checkpoints(directory).identity(step).tokenizer
    if other != tokenizer_fingerprint:
        raise UserError(
            f"init_from {config.init_from} was trained with another tokenizer: set tokenizer.vocab_file to "
            f"the one in {directory.parent / 'tokenizer'}"
        )


def _check_identity(checkpoints: Checkpoints, step: int, identity: RunIdentity) -> None:
    saved = checkpoints.identity(step)
    for name, what in (("tokenizer", "tokenizer"), ("data", "prepared training text")):
        if getattr(saved, name) != getattr(identity, name):
            raise UserError(
                f"the {what} is not the one this run began with (checkpoint {checkpoints.directory / str(step)} "
                f"has {getattr(saved, name)[:12]}, this is {getattr(identity, name)[:12]}): the corpus, its files or "
                "the installed packages changed; choose another --workdir, or restore them"
            )
