"""Values that change while a run goes on: functions of the share of its steps that is done, and of nothing else."""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array

from electra_jax.config.value_schedule import ValueSchedule


@runtime_checkable
class ScheduledObjective(Protocol):
    """An objective some of whose values may change. Where nobody asks `at`, they are those of the end of the run.

    So evaluations of one run can be compared with each other.
    """

    def at(self, done: Array) -> Any:
        """Return the objective as it is where a share ``done`` of the run's steps is done, a float32 scalar."""


def scheduled_value(
    start: float, schedule: ValueSchedule, done: Array | np.ndarray | float, xp: Any = jnp
) -> Any:
    """Return the value where a share ``done`` of the run's steps is done; ``start`` itself where it does not change.

    Args:
        start: the value at the beginning.
        schedule: where it goes, and how.
        done: from 0 to 1, a float, a float32 scalar, or an array of shares.
        xp: what computes, ``jax.numpy`` or ``numpy``.
    """
    if schedule.to is None:
        return start
    way = xp.maximum(xp.asarray(done, xp.float32) - schedule.begin, 0.0) / schedule.over
    left = xp.exp(-way) if schedule.shape == "exponential" else xp.maximum(1.0 - way, 0.0)
    return schedule.to + (start - schedule.to) * left


def highest_value(start: float, schedule: ValueSchedule) -> float:
    """Return the highest value there will be."""
    return start if schedule.to is None else max(start, schedule.to)
