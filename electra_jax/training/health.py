"""Stopping a run whose loss or gradient is no longer finite, with advice on how to go on."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from electra_jax.errors import UserError
from electra_jax.objectives.protocol import Subnetwork
from electra_jax.training.logs import Console, NullConsole


def read_report(
    step: int, report: Any, console: Console | NullConsole, subnetworks: Sequence[Subnetwork]
) -> dict[str, float]:
    """Wait for the scalars of a step, refuse what is not finite, and count the step as done.

    Args:
        step: Its number.
        report: Its scalars.
        console: Where it is counted.
        subnetworks: The networks that a message may name.

    Returns:
        The scalars as floats, by name.

    Raises:
        UserError: Its loss or gradient is not finite. A state is saved only after its step was read here, so every
            checkpoint is from before.
    """
    values = {name: float(value) for name, value in jax.device_get(report).items()}
    if not (np.isfinite(values["loss"]) and np.isfinite(values["grad_norm"])):
        console.close()
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise UserError(
            f"{_what_is_not_finite(values, subnetworks)} is not finite at step {step} ({numbers}); the last "
            "checkpoint is from before and is kept. A lower optimizer.learning_rate, more optimizer.warmup_steps "
            "or compute.dtype=float32 may help"
        )
    console.step(values["loss"])
    return values


def _what_is_not_finite(values: dict[str, float], subnetworks: Sequence[Subnetwork]) -> str:
    """Name the network whose loss is not finite, or else whose gradient is not."""
    for kind, names in (
        ("loss", {part.name: part.loss for part in subnetworks}),
        ("gradient", {part.name: f"{part.name}_grad_norm" for part in subnetworks}),
    ):
        bad = [network for network, name in names.items() if not np.isfinite(values.get(name, 0.0))]
        if bad:
            return f"the {kind} of the {' and the '.join(bad)}"
    return "the gradient" if np.isfinite(values["loss"]) else "the loss"
