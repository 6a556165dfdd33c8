"""Pre-training objectives: what is random in a batch, the loss, the metrics, and what else follows from them."""

from electra_jax.objectives.kinds import build_network, build_objective
from electra_jax.objectives.protocol import Objective, PretrainingObjective

__all__ = ["Objective", "PretrainingObjective", "build_network", "build_objective"]
