"""The parameters of a seed's best evaluation, in ``best/checkpoints/STEP`` of its directory."""

from pathlib import Path
from typing import Any

from electra_jax.distributed.agreement import broadcast_from_host_0, is_host_0
from electra_jax.errors import UserError
from electra_jax.files.json_files import write_json
from electra_jax.tasks.results import BEST, Best, read_best
from electra_jax.training.checkpoints import RunIdentity, remove_steps, restore_params, write_params
from electra_jax.training.seed_selection import BEST_PARAMETERS, nan_as_worst


def keep_best(run: Path, step: int, value: float, params: Any, identity: RunIdentity) -> None:
    """Write the parameters after ``step`` if they are the best so far, and remove those that were.

    A run that goes on from before its best evaluation comes by the same ones again, and leaves what is there.

    Args:
        run: the seed's directory.
        step: of the evaluation.
        value: what decides; NaN is worse than any number.
        params: the parameters.
        identity: what they belong to.

    Raises:
        OSError: they could not be written.
    """
    best = run / BEST_PARAMETERS

    def read() -> Best | None:
        kept = _read_kept(best)
        if kept is None:  # none newer than what is written may be there
            remove_steps(best / "checkpoints", lambda other: other >= step)
        return kept

    kept = broadcast_from_host_0(f"step {step} of {best}", read)
    if kept is not None and (kept["step"] >= step or nan_as_worst(kept["value"]) >= nan_as_worst(value)):
        return
    write_params(best / "checkpoints", step, params, identity)
    if is_host_0():
        write_json(best / BEST, {"step": step, "value": value})
        remove_steps(best / "checkpoints", lambda other: other != step)


def best_parameters(run: Path, abstract: Any) -> Any:
    """Return the best parameters of a seed.

    Args:
        run: the seed's directory.
        abstract: shapes and shardings of the parameters.

    Raises:
        UserError: which they are is not known any more, or they cannot be read.
    """
    best = run / BEST_PARAMETERS
    kept = broadcast_from_host_0(f"best step of {best}", lambda: _read_kept(best))
    if kept is None:
        raise UserError(
            f"{best / BEST} is gone, so which parameters were the best is not known: restore it from a copy, or "
            f"delete {run} to train this seed anew"
        )
    return restore_params(best / "checkpoints", kept["step"], abstract)


def _read_kept(best: Path) -> Best | None:
    """Return which parameters are the best, and remove others: a process that is killed leaves some unrecorded."""
    if (kept := read_best(best)) is not None:
        step = kept["step"]
        remove_steps(best / "checkpoints", lambda other: other != step)
    return kept
