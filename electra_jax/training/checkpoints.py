"""Checkpoints as one unit of state and description, written asynchronously by Orbax.

``checkpoints/<step>/`` holds three items: ``params``, which can be read alone; ``progress``, the rest of the state;
``run``, what it belongs to. Orbax writes under another name and renames, so a numbered directory is whole unless
something damaged it later.
"""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from electra_jax.config.training import TrainConfig
from electra_jax.distributed.agreement import broadcast_from_host_0, gather_from_hosts, is_host_0
from electra_jax.errors import UserError, listed
from electra_jax.files.json_files import read_object
from electra_jax.files.local_paths import local_path
from electra_jax.partitioning.axes import path_name
from electra_jax.training.literal_path import check_literal, literal
from electra_jax.training.seed_selection import RESULTS, select_run, started_seeds
from electra_jax.training.state import TrainState


@dataclass(frozen=True)
class RunIdentity:
    """What a checkpoint belongs to, saved beside the state.

    Attributes:
        tokenizer: Fingerprint of the tokenizer; None for converted weights that came without a vocabulary.
        data: Fingerprint of the prepared training tokens, which with the seed decides the data order; None for
            converted weights, which any text may follow.
        config: The resolved configuration, as plain values.
    """

    tokenizer: str | None
    data: str | None
    config: Mapping[str, Any]


class CheckpointWriter:
    """Writes the checkpoints of a run, and removes old ones as the section ``train`` says."""

    def __init__(self, directory: Path, train: TrainConfig, identity: RunIdentity):
        """Create ``directory`` where it is missing."""
        self._directory = directory
        self._identity = identity
        self._manager = ocp.CheckpointManager(
            literal(directory),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=train.keep_checkpoints,
                keep_period=train.keep_every,
                create=True,
                cleanup_tmp_directories=True,  # of a process that was killed while it wrote
            ),
        )

    def save(self, step: int, state: TrainState) -> None:
        """Start to write ``state``; its buffers may change as soon as this returns.

        Raises:
            OSError: The one before could not be written; earlier checkpoints are intact.
        """
        if step in self._manager.all_steps():
            return
        with _full_disk_as_os_error(self._directory):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(state.params),
                    progress=ocp.args.StandardSave(_progress_items(state)),
                    run=ocp.args.JsonSave(asdict(self._identity)),
                ),
            )

    def wait(self) -> None:
        """Wait until what was saved is on disk.

        Raises:
            OSError: It could not be written; earlier checkpoints are intact.
        """
        with _full_disk_as_os_error(self._directory):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait until what was saved is on disk, and let go of the directory.

        Raises:
            OSError: What was saved last could not be written; earlier checkpoints are intact.
        """
        with _full_disk_as_os_error(self._directory):
            self._manager.close()


def write_params(
    directory: Path, step: int, params: Any, identity: RunIdentity, *, keep: int | None = None
) -> None:
    """Write a checkpoint of parameters alone, from which a run can start but not resume, and wait for it.

    Args:
        directory: Where checkpoints lie.
        step: Its number.
        params: The parameters.
        identity: What they belong to.
        keep: How many of the newest checkpoints there remain; None keeps all.

    Raises:
        OSError: It could not be written.
    """
    with (
        _full_disk_as_os_error(directory),
        ocp.CheckpointManager(
            literal(directory),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, create=True, cleanup_tmp_directories=keep is not None
            ),
        ) as manager,
    ):
        manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(params), run=ocp.args.JsonSave(asdict(identity))
            ),
        )


def remove_steps(directory: Path, unwanted: Callable[[int], bool]) -> None:
    """Remove checkpoints by their step; each is gone at once, or there."""
    for step in filter(unwanted, saved_steps(directory)):
        aside = directory.parent / f".removed-{step}"
        shutil.rmtree(aside, ignore_errors=True)
        (directory / str(step)).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _full_disk_as_os_error(directory: Path) -> Iterator[None]:
    """Turn tensorstore's ValueError for a full disk into the OSError that it is."""
    try:
        yield
    except ValueError as error:
        for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if os.strerror(code) in str(error):
                raise OSError(code, os.strerror(code), str(directory)) from error
        raise


MAX_STEPS = 2**31 - 1  # steps are int32


def is_step(name: str) -> bool:
    """Return whether a directory of this name is a checkpoint's: its step as it is written, 17 and not 017 or ¹⁷."""
    return re.fullmatch("0|[1-9][0-9]{0,9}", name) is not None and int(name) <= MAX_STEPS


def saved_steps(directory: Path) -> list[int]:
    """Return the steps with a checkpoint in ``directory``, oldest first."""
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if is_step(path.name) and path.is_dir())


def find_checkpoint(path: Path, step: int | None = None) -> tuple[int, Path]:
    """Find the step and the ``checkpoints`` directory that a path means.

    Args:
        path: A work directory, or ``…/checkpoints/STEP``. Of a fine-tuning with several seeds the best one is taken;
            see `select_run`.
        step: Which step; None is the newest.

    Returns:
        The step, and the ``checkpoints`` directory it is in.

    Raises:
        UserError: There is no checkpoint there, or not that step.
    """
    path = local_path(path).absolute()
    check_literal(path)
    if step is None and is_step(path.name) and path.parent.name == "checkpoints":
        step, directory = int(path.name), path.parent
    else:
        directory = select_run(path)[1] / "checkpoints"
    steps = saved_steps(directory)
    if not steps and (seeds := started_seeds(path)):
        raise UserError(
            f"{path} is a fine-tuning without {RESULTS}, so not all of its seeds are finished and none is the best: "
            f"give one of them ({listed(seeds)}), or finish it"
        )
    if not steps:
        raise UserError(f"there is no checkpoint in {directory}: give the work directory of a run")
    if step is None:
        return steps[-1], directory
    if step not in steps:
        raise UserError(
            f"there is no checkpoint of step {step} in {directory}; there are: {', '.join(map(str, steps))}"
        )
    return step, directory


def read_identity(directory: Path, step: int) -> RunIdentity:
    """Read what the checkpoint of ``step`` belongs to.

    Raises:
        UserError: It cannot be read.
    """
    checkpoint = directory / str(step)
    try:
        identity = RunIdentity(**read_object(checkpoint / "run" / "metadata"))
    except (UserError, TypeError) as error:
        raise UserError(f"checkpoint {checkpoint} cannot be read: {_first_line(error)}") from None
    if not isinstance(identity.config, Mapping):
        raise UserError(f"checkpoint {checkpoint} cannot be read: its run/metadata holds no configuration")
    return identity


def saved_shapes(directory: Path, step: int) -> dict[str, tuple[int, ...]]:
    """Read names and shapes of the parameters in the checkpoint of ``step``.

    Raises:
        UserError: They cannot be read.
    """
    leaves = jax.tree_util.tree_leaves_with_path(_saved_tree(directory / str(step) / "params"))
    return {path_name(path): tuple(leaf.shape) for path, leaf in leaves}


def has_progress(directory: Path, step: int) -> bool:
    """Return whether the checkpoint of ``step`` can be resumed; converted weights have no state of an optimizer."""
    return (directory / str(step) / "progress").is_dir()


def read_params(directory: Path, step: int) -> Any:
    """Read the parameters of ``step`` as NumPy arrays, whatever mesh wrote them.

    Raises:
        UserError: They cannot be read.
    """
    path = directory / str(step) / "params"
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), _saved_tree(path))
    with _refuse_unreadable(path), _tree_reader() as reader:
        return reader.restore(literal(path), args=ocp.args.PyTreeRestore(restore_args=as_numpy))


def restore_params(directory: Path, step: int, abstract: Any) -> Any:
    """Restore the parameters of ``step`` onto devices, on any mesh.

    Args:
        directory: The ``checkpoints`` directory.
        step: Which checkpoint.
        abstract: Shapes with shardings of the parameters wanted. What the checkpoint has besides is not read.

    Raises:
        UserError: They cannot be read, or some of them are missing or have other shapes; it lists those.
    """
    path = directory / str(step) / "params"
    saved = saved_shapes(directory, step)
    wanted = {path_name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(abstract)}
    wrong = [
        f"{name} {_format_shape(saved[name])}, not {_format_shape(shape)}"
        for name, shape in wanted.items()
        if name in saved and saved[name] != shape
    ]
    if missing := sorted(set(wanted) - set(saved)):
        raise UserError(f"checkpoint {path} lacks {listed(missing)}")
    if wrong:
        raise UserError(f"checkpoint {path} has parameters of other shapes: {listed(wrong)}")
    layout = jax.tree.map(
        lambda leaf: ocp.ArrayRestoreArgs(sharding=leaf.sharding, global_shape=leaf.shape, dtype=leaf.dtype),
        abstract,
    )
    with _refuse_unreadable(path), _tree_reader() as reader:
        return reader.restore(
            literal(path),
            args=ocp.args.PyTreeRestore(item=abstract, restore_args=layout, partial_restore=True),
        )


def restore_state(directory: Path, step: int, abstract: TrainState) -> TrainState:
    """Restore the whole state of ``step`` onto devices, laid out as ``abstract`` says, on any mesh.

    Raises:
        UserError: It cannot be read, or has other names or shapes.
    """
    progress = _restore_item(directory / str(step) / "progress", _progress_items(abstract))
    return TrainState(
        step=progress["step"],
        params=restore_params(directory, step, abstract.params),
        opt_state=progress["opt_state"],
        metric_sums=progress["window"],
    )


def restore_newest(directory: Path, abstract: TrainState) -> tuple[int, TrainState, list[str]] | None:
    """Restore the newest checkpoint that can be read.

    Newer ones that cannot be read are moved to ``damaged_checkpoints/`` beside ``directory``, so that their steps can
    be written again.

    Returns:
        The step, its state, and a line about every newer checkpoint that could not be read; None where there is no
        checkpoint at all.

    Raises:
        UserError: There are checkpoints, and none can be read.
    """
    notes: list[str] = []
    damaged: list[Path] = []
    steps = broadcast_from_host_0(f"steps in {directory}", lambda: saved_steps(directory))
    for step in reversed(steps):
        problem = state = None
        try:
            read_identity(directory, step)
            state = restore_state(directory, step, abstract)
        except UserError as error:
            problem = str(error)
        # A checkpoint that one host cannot read is used by none
        problems = gather_from_hosts(f"reading step {step} in {directory}", problem)
        if state is None or any(problems):
            damaged.append(directory / str(step))
            notes.append(f"{next(filter(None, problems))}; falling back to the one before")
            continue
        _move_damaged(damaged)
        return step, state, notes
    if damaged:
        raise UserError(
            f"none of the checkpoints in {directory} can be read ({notes[0].rpartition(';')[0]}): restore them from "
            "a copy, or start a new work directory"
        )
    return None


def _move_damaged(checkpoints: list[Path]) -> None:
    if not is_host_0():
        return
    for checkpoint in checkpoints:
        aside = checkpoint.parent.parent / "damaged_checkpoints" / checkpoint.name
        aside.parent.mkdir(exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        checkpoint.rename(aside)


def _progress_items(state: TrainState) -> dict[str, Any]:
    # "window" is what checkpoints have always called the metric sums
    return {"step": state.step, "opt_state": state.opt_state, "window": state.metric_sums}


def _restore_item(path: Path, abstract: Any) -> Any:
    with (
        _refuse_unreadable(path),
        ocp.StandardCheckpointer(multiprocessing_options=_this_host_only()) as checkpointer,
    ):
        return checkpointer.restore(literal(path), abstract)


def _tree_reader() -> ocp.Checkpointer:
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(), multiprocessing_options=_this_host_only())


def _this_host_only() -> ocp.options.MultiprocessingOptions:
    """Return options under which a host reads without waiting for the others.

    A host that meets a damaged file would leave the others waiting.
    """
    host = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=host, active_processes={host}, barrier_sync_key_prefix=f"host{host}"
    )


def _saved_tree(path: Path) -> Any:
    with _refuse_unreadable(path), closing(ocp.StandardCheckpointHandler()) as handler:
        metadata: Any = handler.metadata(literal(path))
        return metadata.tree


@contextmanager
def _refuse_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Orbax and tensorstore raise many kinds for a damaged file
        raise UserError(f"checkpoint {path} cannot be restored: {_first_line(error)}") from error


def _format_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
