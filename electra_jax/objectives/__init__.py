"""Pre-training objectives: what is drawn for a batch, the loss, its metrics, and all that follows from them."""

from electra_jax.objectives.kinds import build_network, build_objective
from electra_jax.objectives.protocol import Objective, PretrainingObjective

__all__ = ["Objective", "PretrainingObjective", "build_network", "build_objective"]
