"""Where a run's first state comes from: its newest checkpoint, another run's parameters, or chance.

Precedence: a checkpoint in the work directory, then init_from, then fresh parameters. The ``check_`` functions
refuse what does not fit before anything is written.
"""

from dataclasses import replace
from pathlib import Path

from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.tokenizers import load_tokenizer
from electra_jax.training.checkpoints import (
    RunIdentity,
    read_identity,
    restore_newest,
    restore_params,
    saved_steps,
)
from electra_jax.training.program import Program
from electra_jax.training.state import TrainState
from electra_jax.training.workdir import WorkDir


def starting_state(config: Config, program: Program, workdir: WorkDir) -> tuple[int, TrainState, list[str]]:
    """(step, state, lines that say where it comes from).

    Raises:
        UserError: there are checkpoints, and none can be read.
    """
    newest = restore_newest(workdir.checkpoints, program.abstract)
    if newest is not None:
        step, state, notes = newest
        return step, state, [*notes, f"resumed at step {step} from {workdir.checkpoints / str(step)}"]
    with program.on_mesh():
        state = program.init()
    if config.init_from is None:
        return 0, state, []
    step, source = find_checkpoint(Path(config.init_from))
    params = restore_params(source, step, program.abstract.params)
    return 0, replace(state, params=params), [f"parameters from {source / str(step)}, optimizer fresh"]


def find_checkpoint(path: Path, step: int | None = None) -> tuple[int, Path]:
    """The step and the checkpoints directory that ``path`` means: a work directory, or ``…/checkpoints/STEP``.

    Raises:
        UserError: there is no checkpoint there, or not that step.
    """
    path = path.expanduser().absolute()
    directory = path / "checkpoints"
    if step is None and path.name.isdigit() and path.parent.name == "checkpoints":
        step, directory = int(path.name), path.parent
    steps = saved_steps(directory)
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
    other = read_identity(directory, step).tokenizer
    if other != tokenizer_fingerprint:
        raise UserError(
            f"init_from {config.init_from} was trained with another tokenizer: set tokenizer.vocab_file to "
            f"the one in {directory.parent / 'tokenizer'}"
        )


def check_identity(workdir: WorkDir, identity: RunIdentity) -> None:
    """Refuses to resume with a tokenizer or with training text that is not what the run began with.

    Raises:
        UserError: see above, or the tokenizer's files were altered.
    """
    known: list[tuple[str, str, str]] = []
    if workdir.tokenizer.exists():
        known.append((str(workdir.tokenizer), "tokenizer", load_tokenizer(workdir.tokenizer).fingerprint))
    for step in reversed(saved_steps(workdir.checkpoints)):
        try:
            saved = read_identity(workdir.checkpoints, step)
        except UserError:
            continue  # a damaged checkpoint; the one before counts
        where = str(workdir.checkpoints / str(step))
        known += [(where, "tokenizer", saved.tokenizer), (where, "data", saved.data)]
        break
    names = {"tokenizer": "tokenizer", "data": "prepared training text"}
    for where, name, fingerprint in known:
        now = getattr(identity, name)
        if fingerprint != now:
            raise UserError(
                f"the {names[name]} is not the one this run began with ({where} has {fingerprint[:12]}, this is "
                f"{now[:12]}): the corpus, the vocabulary file or the installed packages changed; choose another "
                "--workdir, or restore them"
            )
