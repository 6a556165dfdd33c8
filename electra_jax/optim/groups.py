"""Learning rates of their own for what was pre-trained and for the heads, in fine-tuning.

Liu & Lapata 2019 (section 3.3) fine-tune a pre-trained encoder slowly, with a long warm-up, and the new decoder fast.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from electra_jax.config.schema import FinetuneConfig, OptimizerConfig, ParameterGroups
from electra_jax.optim.schedules import learning_rate_schedule
from electra_jax.partitioning.axes import KeyPath, path_name

Schedules = Mapping[str, optax.Schedule]


def parameter_group(name: str) -> str:
    """Return the group of a parameter by its path: ``encoder``, embeddings included, or ``heads``.

    Raises:
        ValueError: a parameter of no group.
    """
    if name.startswith("heads/"):
        return "heads"
    if re.match("(embeddings|encoder)/", name):
        return "encoder"
    raise ValueError(f"no group of optimizer.groups covers {name}")


def group_schedules(config: OptimizerConfig, finetune: FinetuneConfig | None, total_steps: int) -> Schedules:
    """Return the learning rate of each group as a function of the step.

    It is `learning_rate_schedule` with the group's warm-up, times its ``rate``; that of ``encoder`` is 0 in the first
    ``freeze_encoder_steps`` updates.

    Args:
        config: the section ``optimizer``.
        finetune: the section ``finetune`` in fine-tuning; else None.
        total_steps: updates of the whole run.

    Returns:
        By group; empty where all parameters have the run's own learning rate.
    """
    if finetune is None or (config.groups == ParameterGroups() and not finetune.freeze_encoder_steps):
        return {}
    frozen = {"encoder": finetune.freeze_encoder_steps, "heads": 0}
    schedules = {}
    for name, settings in (("encoder", config.groups.encoder), ("heads", config.groups.heads)):
        warmup = config.warmup_steps if settings.warmup_steps is None else settings.warmup_steps
        own = {"learning_rate": config.learning_rate * settings.rate, "warmup_steps": warmup}
        schedule = learning_rate_schedule(config.model_copy(update=own), total_steps)
        schedules[name] = _zero_until(frozen[name], schedule)
    return schedules


def _zero_until(first: int, schedule: optax.Schedule) -> optax.Schedule:
    def delayed(step: Array | int) -> Array:
        return jnp.where(jnp.asarray(step) < first, 0.0, schedule(step))

    return delayed if first else schedule


def scale_by_group_rates(schedules: Schedules) -> optax.GradientTransformation:
    """Multiply updates by the negative learning rate of their group; its state is that of one schedule for all."""

    def init(params: optax.Params) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(updates: optax.Updates, state: optax.ScaleByScheduleState, params: Any = None) -> Any:
        del params
        rates = {name: schedule(state.count) for name, schedule in schedules.items()}

        def scale(path: KeyPath, leaf: Array) -> Array:
            return -rates[parameter_group(path_name(path))] * leaf

        scaled = jax.tree_util.tree_map_with_path(scale, updates)
        return scaled, optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)
