"""Where a run's first state comes from: its newest checkpoint, another run's parameters, or fresh parameters.

Precedence: a checkpoint in the work directory, then init_from, then fresh parameters. The ``check_`` functions refuse
what does not fit before anything is written.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from electra_jax.config.compare import differences, format_differences
from electra_jax.config.fields import Section
from electra_jax.config.loading import validate
from electra_jax.config.schema import Config
from electra_jax.distributed.agreement import broadcast_from_host_0, gather_from_hosts
from electra_jax.errors import UserError
from electra_jax.tokenizers import Tokenizer, load_tokenizer, with_cleaning
from electra_jax.training.checkpoints import (
    RunIdentity,
    has_progress,
    read_identity,
    restore_newest,
    saved_steps,
)
from electra_jax.training.frozen_generator import check_frozen_generator, check_frozen_vocabulary
from electra_jax.training.initialisation import (
    Adapt,
    check_initial_checkpoint,
    check_vocabulary,
    find_initial_checkpoint,
    initial_params,
    resolve_checkpoint,
)
from electra_jax.training.program import Program
from electra_jax.training.state import TrainState
from electra_jax.training.workdir import WorkDir


def restore_or_initialize(
    program: Program[Any],
    tokenizer: Tokenizer,
    workdir: WorkDir,
    *,
    objective: Section,
    init_from: str | None,
    adapt: Adapt | None = None,
) -> tuple[int, TrainState, list[str]]:
    """Restore the newest checkpoint, or else take the parameters of ``init_from``, or else initialise fresh ones.

    Args:
        program: Of the run.
        tokenizer: Of the run.
        workdir: Its directory.
        objective: The section ``objective`` of the run.
        init_from: The checkpoint to start from; None starts from fresh parameters.
        adapt: What is done to the parameters of ``init_from``; None does nothing.

    Returns:
        The step, the state, and lines that say where it comes from.

    Raises:
        UserError: There are checkpoints, and none can be read.
    """
    newest = restore_newest(workdir.checkpoints, program.abstract)
    if newest is not None:
        step, state, notes = newest
        return step, state, [*notes, f"resumed at step {step} from {workdir.checkpoints / str(step)}"]
    with program.on_mesh():
        state = program.init()
    if init_from is None:
        return 0, state, []
    origin = resolve_checkpoint(f"init_from of {workdir.root}", init_from)
    params, notes = initial_params(objective, origin, tokenizer, program, state.params, adapt)
    return 0, replace(state, params=params), notes


def initialize_workdir(config: Config, workdir: WorkDir, tokenizer: Tokenizer, start: int) -> None:
    """Write what a work directory holds before its first step; host 0 writes, and all hosts must see it.

    Raises:
        UserError: It cannot be made, or not all hosts see it.
    """

    def write() -> None:
        workdir.write_config(config)
        if not workdir.tokenizer.exists():
            tokenizer.save(workdir.tokenizer)
        workdir.truncate_metrics(start)

    broadcast_from_host_0(f"writing {workdir.root}", write)
    seen = gather_from_hosts(f"finding {workdir.root}", workdir.wait_for_config())
    if absent := [str(host) for host, there in enumerate(seen) if not there]:
        raise UserError(
            f"--workdir {workdir.root}, which host 0 has written, is not there on host {', '.join(absent)}: give a "
            "directory of a file system that all hosts share"
        )


def resolve_cleaning(config: Config, workdir: WorkDir) -> Config:
    """Return the configuration with ``tokenizer.strip_accents`` set.

    Where it is null, it becomes what it is in this run so far, else in the run it starts from, else as the vocabulary
    was made.

    Raises:
        UserError: What decides it cannot be read.
    """
    strip_accents = config.tokenizer.strip_accents
    if strip_accents is None and workdir.config.is_file():
        strip_accents = workdir.load_config().tokenizer.strip_accents
    elif strip_accents is None and config.init_from is not None:
        strip_accents = find_initial_checkpoint(config.init_from).config.tokenizer.strip_accents
    tokenizer = config.tokenizer.model_copy(update={"strip_accents": strip_accents})
    return config.model_copy(update={"tokenizer": with_cleaning(tokenizer)})


def check_run(config: Config, workdir: WorkDir, *, free: Collection[str] = ()) -> None:
    """Refuse, before anything is prepared, what does not fit the checkpoints there are.

    Args:
        config: Of the run.
        workdir: Its directory.
        free: Keys that may change here, besides those that always may.

    Raises:
        UserError: The run's saved tokenizer was altered, its settings are not those it was trained with so far, or
            init_from has no checkpoint, or one of another model.
    """
    if workdir.tokenizer.exists():
        load_tokenizer(workdir.tokenizer)
    if (newest := _newest_identity(workdir)) is not None:
        where, saved = newest
        if not has_progress(where.parent, int(where.name)):
            raise UserError(
                f"--workdir {workdir.root} holds converted weights and no state of an optimizer, so it can be started "
                f"from but not resumed: give a new --workdir, and init_from={workdir.root}"
            )
        # config.yaml may have been edited, so the checkpoint has the last word.
        trained = validate(saved.config, str(where))
        if refused := [change for change in differences(trained, config, free=free) if not change.free]:
            raise UserError(
                f"--workdir {workdir.root} holds another run; {where} was trained with settings that decide its model "
                f"or its data order and cannot change: {format_differences(refused)}; choose another --workdir, or "
                "set them back"
            )
        return
    if config.init_from is not None:
        check_initial_checkpoint(config, config.init_from)
    check_frozen_generator(config)


def check_tokenizer(
    init_from: str | None, workdir: WorkDir, tokenizer: Tokenizer, frozen_from: str | None = None
) -> None:
    """Refuse another tokenizer than the one this run, or one that it starts from, began with.

    Raises:
        UserError: It is another one.
    """
    if workdir.tokenizer.exists():
        saved = load_tokenizer(workdir.tokenizer).fingerprint
        _check_same("tokenizer", workdir.tokenizer, saved, tokenizer.fingerprint)
    if (newest := _newest_identity(workdir)) is not None:
        where, identity = newest
        _check_same("tokenizer", where, identity.tokenizer, tokenizer.fingerprint)
        return
    if init_from is not None:
        check_vocabulary(init_from, tokenizer)
    check_frozen_vocabulary(frozen_from, tokenizer)


def check_data(workdir: WorkDir, fingerprint: str, what: str = "prepared training text") -> None:
    """Refuse to resume with training text that is not what the run began with.

    Args:
        workdir: Of the run.
        fingerprint: Of what it is to be trained on now.
        what: What that is, for the message.

    Raises:
        UserError: It is other text.
    """
    if (newest := _newest_identity(workdir)) is not None:
        where, identity = newest
        _check_same(what, where, identity.data, fingerprint)


def _newest_identity(workdir: WorkDir) -> tuple[Path, RunIdentity] | None:
    """Return what the newest readable checkpoint belongs to; a damaged one counts as absent."""
    for step in reversed(saved_steps(workdir.checkpoints)):
        with suppress(UserError):
            return workdir.checkpoints / str(step), read_identity(workdir.checkpoints, step)
    return None


def _check_same(what: str, where: Path, saved: str | None, now: str) -> None:
    if saved is not None and saved != now:
        raise UserError(
            f"the {what} is not the one this run began with ({where} has {saved[:12]}, this is {now[:12]}): "
            "the corpus, the vocabulary file or the installed packages changed; choose another --workdir, or "
            "restore them"
        )
