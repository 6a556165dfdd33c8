"""ELECTRA's Adam and its schedules as optax transformations."""

from electra_jax.optim.optimizer import build_optimizer
from electra_jax.optim.schedules import learning_rate_schedule

__all__ = ["build_optimizer", "learning_rate_schedule"]
