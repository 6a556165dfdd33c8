"""Model FLOPs of a training step."""

from typing import Any

from electra_jax.objectives import PretrainingObjective


def train_step_flops(objective: PretrainingObjective[Any, Any], batch_size: int, length: int) -> float:
    """Count the model FLOPs of one update over the whole batch: forward, and the backward pass as twice that."""
    return 3.0 * batch_size * objective.flops_per_row(length)
