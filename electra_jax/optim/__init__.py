"""ELECTRA's Adam and its schedules as optax transformations."""

from electra_jax.optim.groups import group_schedules
from electra_jax.optim.optimizer import build_optimizer
from electra_jax.optim.schedules import learning_rate_schedule

__all__ = ["build_optimizer", "group_schedules", "learning_rate_schedule"]
