"""Checkpoints as one unit of state and description, written asynchronously by Orbax."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from electra_jax.config.schema import TrainConfig
from electra_jax.errors import UserError
from electra_jax.training.state import TrainState


@dataclass(frozen=True)
class RunIdentity:
    """What a checkpoint belongs to, saved beside the state.

    tokenizer: fingerprint of the tokenizer.
    data: fingerprint of the prepared training tokens, which with the seed decides the data order.
    config: the resolved configuration, as plain values.
    """

    tokenizer: str
    data: str
    config: dict[str, Any]


class Checkpoints:
    """The checkpoints of one work directory, under ``checkpoints/<step>/``."""

    def __init__(self, directory: Path, train: TrainConfig | None = None):
        """Opens the directory; with ``train`` it may be written to, and old steps are removed as it says."""
        self.directory = directory.absolute()
        writable = train is not None
        options = ocp.CheckpointManagerOptions(
            max_to_keep=train.keep_checkpoints if train else None,
            keep_period=train.keep_every if train else None,
            create=writable,
            read_only=not writable,
            enable_async_checkpointing=writable,
        )
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=options,
            item_handlers={
                "params": ocp.StandardCheckpointHandler(),
                "progress": ocp.StandardCheckpointHandler(),
                "run": ocp.JsonCheckpointHandler(),
            },
        )

    def steps(self) -> list[int]:
        """Steps with a whole checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: TrainState, identity: RunIdentity) -> None:
        """Starts to write ``state`` as ``step``; the copy off the device is done when this returns."""
        if step in self._manager.all_steps():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(state.params),
                progress=ocp.args.StandardSave(_progress(state)),
                run=ocp.args.JsonSave(asdict(identity)),
            ),
        )

    def wait(self) -> None:
        """Waits until what was saved is on disk; raises what went wrong."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and lets go of the directory."""
        self._manager.close()

    def identity(self, step: int) -> RunIdentity:
        """What the checkpoint of ``step`` belongs to.

        Raises:
            UserError: it cannot be read.
        """
        path = self.directory / str(step) / "run" / "metadata"
        try:
            return RunIdentity(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"checkpoint {path.parent.parent} cannot be read: {_first_line(error)}"
            ) from error

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state of ``step``, laid out as ``abstract`` (shapes with shardings) says, on any mesh.

        Raises:
            UserError: it cannot be read, or holds a state of other shapes.
        """
        restored = self._restore(step, params=abstract.params, progress=_progress(abstract))
        return TrainState(params=restored["params"], **restored["progress"])

    def restore_params(self, step: int, abstract: Any) -> Any:
        """The parameters of ``step`` alone, laid out as ``abstract`` says.

        Raises:
            UserError: they cannot be read, or have other names or shapes.
        """
        return self._restore(step, params=abstract)["params"]

    def _restore(self, step: int, **items: Any) -> Any:
        args = ocp.args.Composite(**{name: ocp.args.StandardRestore(item) for name, item in items.items()})
        try:
            return self._manager.restore(step, args=args)
        except Exception as error:  # Orbax and tensorstore raise many kinds for a damaged file
            raise UserError(
                f"checkpoint {self.directory / str(step)} cannot be restored: {_first_line(error)}"
            ) from error

    def restore_newest(self, abstract: TrainState) -> tuple[int, TrainState, list[str]] | None:
        """The newest checkpoint that can be read, its state, and a line about every one that could not.

        Damaged ones are moved to ``damaged_checkpoints/`` so that the step can be written again.

        Returns:
            (step, state, notes), or None where there is no checkpoint at all.

        Raises:
            UserError: there are checkpoints, and none can be read.
        """
        notes: list[str] = []
        failed: list[int] = []
        for step in reversed(self.steps()):
            try:
                self.identity(step)
                state = self.restore(step, abstract)
            except UserError as error:
                failed.append(step)
                notes.append(f"{error}; falling back to the one before")
                continue
            self._set_aside(failed)
            return step, state, notes
        if failed:
            raise UserError(
                f"none of the checkpoints in {self.directory} can be read ({notes[0]}): "
                "restore the directory from a copy, or start a new work directory"
            )
        return None

    def _set_aside(self, steps: list[int]) -> None:
        if jax.process_index() == 0:
            for step in steps:
                aside = self.directory.parent / "damaged_checkpoints" / str(step)
                aside.parent.mkdir(exist_ok=True)
                shutil.rmtree(aside, ignore_errors=True)
                (self.directory / str(step)).rename(aside)
        if steps:
            self._manager.reload()


def _progress(state: TrainState) -> dict[str, Any]:
    """All of the state but its parameters, which are an item of their own so that they can be read alone."""
    return {"step": state.step, "opt_state": state.opt_state, "window": state.window}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
