"""Pre-training objectives: what is drawn for a batch, the loss, and its metrics."""

from electra_jax.objectives.build import build_objective
from electra_jax.objectives.protocol import PretrainingObjective

__all__ = ["PretrainingObjective", "build_objective"]
