"""Where a run's first state comes from: its newest checkpoint, another run's parameters, or chance.

Precedence: a checkpoint in the work directory, then init_from, then fresh parameters. The ``check_`` functions
refuse what does not fit before anything is written.
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from electra_jax.config.compare import differences, format_differences
from electra_jax.config.loading import validate
from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.model.sizes import network_sizes
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
    params, notes = None, []
    if config.init_from is not None:
        # Before the compiler is called, for they may not fit.
        step, source = _find_init(config.init_from)
        params = restore_params(source, step, program.abstract.params)
        notes = [f"parameters from {source / str(step)}, optimizer fresh"]
    with program.on_mesh():
        state = program.init()
    return 0, state if params is None else replace(state, params=params), notes


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


def check_run(config: Config, workdir: WorkDir) -> None:
    """Refuses, before anything is prepared, what does not fit the checkpoints there are.

    Raises:
        UserError: the run's saved tokenizer was altered, its settings are not those it was trained with so far,
            or init_from has no checkpoint, or one of another model.
    """
    if workdir.tokenizer.exists():
        load_tokenizer(workdir.tokenizer)
    if (newest := _newest_identity(workdir)) is not None:
        where, saved = newest
        # config.yaml may have been edited, so the checkpoint has the last word.
        trained = validate(saved.config, str(where))
        if refused := [change for change in differences(trained, config) if not change.free]:
            raise UserError(
                f"--workdir {workdir.root} holds another run; {where} was trained with settings that decide its model "
                f"or its data order and cannot change: {format_differences(refused)}; choose another --workdir, or "
                "set them back"
            )
    elif config.init_from is not None:
        _check_init_model(config, config.init_from)


def check_tokenizer(config: Config, workdir: WorkDir, fingerprint: str) -> None:
    """Refuses another tokenizer than the one this run, or the one it starts from, began with.

    Raises:
        UserError: see above.
    """
    if workdir.tokenizer.exists():
        saved = load_tokenizer(workdir.tokenizer).fingerprint
        _check_same("tokenizer", workdir.tokenizer, saved, fingerprint)
    if (newest := _newest_identity(workdir)) is not None:
        where, identity = newest
        _check_same("tokenizer", where, identity.tokenizer, fingerprint)
    elif config.init_from is not None:
        step, directory = _find_init(config.init_from)
        if read_identity(directory, step).tokenizer != fingerprint:
            raise UserError(
                f"init_from {config.init_from} was trained with another vocabulary: use the one in "
                f"{directory.parent / 'tokenizer'} (tokenizer.vocab_file and the other settings of its config.yaml)"
            )


def check_data(workdir: WorkDir, fingerprint: str) -> None:
    """Refuses to resume with training text that is not what the run began with.

    Raises:
        UserError: see above.
    """
    if (newest := _newest_identity(workdir)) is not None:
        where, identity = newest
        _check_same("prepared training text", where, identity.data, fingerprint)


def _find_init(init_from: str) -> tuple[int, Path]:
    try:
        return find_checkpoint(Path(init_from))
    except UserError as error:
        raise UserError(f"init_from {init_from}: {error}") from None


def _check_init_model(config: Config, init_from: str) -> None:
    step, directory = _find_init(init_from)
    where = directory / str(step)
    other = validate(read_identity(directory, step).config, str(where))
    if _architecture(other) != _architecture(config):
        changes = [
            change
            for change in differences(other, config)
            if change.key == "objective.kind" or change.key.startswith(("model.", "generator."))
        ]
        raise UserError(
            f"init_from {init_from}: {where} has the parameters of another model: {format_differences(changes)}; "
            "set them as they were there"
        )


def _architecture(config: Config) -> tuple[object, ...]:
    """What two configurations must share for the parameters of one to mean the same in the other."""
    sizes = network_sizes(config, vocab_size=1)  # the vocabulary is compared by its fingerprint
    return sizes, config.generator.sharing, config.objective.kind


def _newest_identity(workdir: WorkDir) -> tuple[Path, RunIdentity] | None:
    """What the newest checkpoint belongs to of which that can be read; a damaged one counts as absent."""
    for step in reversed(saved_steps(workdir.checkpoints)):
        with suppress(UserError):
            return workdir.checkpoints / str(step), read_identity(workdir.checkpoints, step)
    return None


def _check_same(what: str, where: Path, saved: str, now: str) -> None:
    if saved != now:
        raise UserError(
            f"the {what} is not the one this run began with ({where} has {saved[:12]}, this is {now[:12]}): "
            "the corpus, the vocabulary file or the installed packages changed; choose another --workdir, or "
            "restore them"
        )
