"""The mean of the parameters at the last evaluations of a seed, as fairseq's average_checkpoints.py takes it.

While the seed trains, the parameters of each evaluation lie in ``recent/checkpoints/STEP`` of its directory, as many as
are averaged; then their mean lies in ``average/checkpoints/STEP``, and they are removed.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.distributed.agreement import broadcast_from_host_0, is_host_0, print_on_host_0
from electra_jax.errors import UserError
from electra_jax.training.checkpoints import RunIdentity, restore_params, saved_steps, write_params
from electra_jax.training.seed_selection import AVERAGE, RECENT


def keep_recent(run: Path, step: int, params: Any, identity: RunIdentity, count: int) -> None:
    """Write the parameters after ``step`` to ``recent``, and remove all but the newest ``count``.

    A run that goes on from before its newest evaluation comes by the same ones again, and leaves what is there.

    Raises:
        OSError: they could not be written.
    """
    recent = run / RECENT / "checkpoints"
    saved = broadcast_from_host_0(f"step {step} of {recent}", lambda: saved_steps(recent))
    if not saved or step > saved[-1]:
        write_params(recent, step, params, identity, keep=count)


def average_of_recent(run: Path, step: int, count: int, identity: RunIdentity, abstract: Any) -> Any:
    """Return the mean of the parameters in ``recent``, in float32, and write it to ``average``.

    Args:
        run: the seed's directory.
        step: its last.
        count: how many evaluations are averaged; of fewer, all.
        identity: what the parameters belong to.
        abstract: shapes and shardings of the parameters.

    Raises:
        UserError: neither their mean nor the parameters of the last evaluation are there, or they cannot be read.
        OSError: the mean could not be written.
    """
    average, recent = run / AVERAGE / "checkpoints", run / RECENT / "checkpoints"
    done, steps = broadcast_from_host_0(
        f"recent parameters of {run}", lambda: (step in saved_steps(average), saved_steps(recent)[-count:])
    )
    if done:
        params = restore_params(average, step, abstract)
    elif step not in steps:
        raise UserError(
            f"{recent / str(step)} is gone, so the parameters of the last evaluations cannot be averaged: restore it "
            f"from a copy, or delete {run} to train this seed anew"
        )
    else:
        params = _mean(recent, steps, abstract)
        write_params(average, step, params, identity)
        fewer = "" if len(steps) == count else f"finetune.average_last is {count}, but "
        print_on_host_0(f"{run.name}: {fewer}{_evaluations(steps)}")
    if is_host_0():
        shutil.rmtree(run / RECENT, ignore_errors=True)
    return params


def _evaluations(steps: Sequence[int]) -> str:
    at = ", ".join(map(str, steps))
    if len(steps) == 1:
        return f"there was one evaluation, so its parameters are kept (step {at})"
    return f"the mean of the parameters at {len(steps)} evaluations is kept (steps {at})"


def _mean(directory: Path, steps: Sequence[int], abstract: Any) -> Any:
    """Return the mean of the parameters of some checkpoints; two of them are in memory at once."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    add = jax.jit(lambda a, b: jax.tree.map(jnp.add, a, b), out_shardings=shardings, donate_argnums=0)
    # The count is an argument, since the compiler would turn a division by a constant into a product
    divide = jax.jit(
        lambda sums, number: jax.tree.map(lambda leaf: leaf / number, sums),
        out_shardings=shardings,
        donate_argnums=0,
    )
    total = restore_params(directory, steps[0], abstract)
    for step in steps[1:]:
        total = add(total, restore_params(directory, step, abstract))
    return divide(total, float(len(steps)))
