"""Stopping a run whose numbers have gone bad, with what is needed to mend it."""

from typing import Any

import jax
import numpy as np

from electra_jax.errors import UserError
from electra_jax.training.logs import Console


def read_report(step: int, report: Any, console: Console) -> dict[str, float]:
    """Waits for the scalars of a step and counts it as done.

    Raises:
        UserError: its loss or gradient is not finite. A state is saved only after its step was read here, so
            every checkpoint is from before.
    """
    values = {name: float(value) for name, value in jax.device_get(report).items()}
    if not (np.isfinite(values["loss"]) and np.isfinite(values["grad_norm"])):
        console.close()
        networks = {"masked_lm_loss": "generator", "disc_loss": "discriminator"}
        bad = [network for name, network in networks.items() if not np.isfinite(values.get(name, 0.0))]
        culprit = f"the loss of the {' and the '.join(bad)}" if bad else "the gradient"
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise UserError(
            f"{culprit} is not finite at step {step} ({numbers}); the last checkpoint is from before and is kept. "
            "A lower optimizer.learning_rate, more optimizer.warmup_steps or compute.dtype=float32 may help"
        )
    console.step(values["loss"])
    return values
