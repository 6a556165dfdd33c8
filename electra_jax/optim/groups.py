"""Groups of parameters with learning rates, and clips, of their own.

In fine-tuning what was pre-trained, and the heads: Liu & Lapata 2019 (section 3.3) fine-tune a pre-trained encoder
slowly, with a long warm-up, and the new decoder fast. In pre-training the generator, and the rest: Dong et al. 2023
(ICML, "Understand and Modularize Generator Optimization in ELECTRA-style Pretraining"), as DeBERTaV3 does too. One norm
over both is that of discriminator_weight times the discriminator's, and Adam undoes a weight in any case.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from electra_jax.config.finetuning import FinetuneConfig
from electra_jax.config.optimization import OptimizerConfig, ParameterGroups
from electra_jax.optim.schedules import learning_rate_schedule
from electra_jax.partitioning.axes import KeyPath, path_name

Schedules = Mapping[str, optax.Schedule]
GroupOf = Callable[[str], str]  # from a parameter's path to its group


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


def network_group(name: str) -> str:
    """Return the group of a parameter in pre-training: ``generator``, or ``discriminator``, which is all that is kept.

    Embeddings that both networks share are the discriminator's: its loss weighs most in their gradient, and the encoder
    that is kept reads them. So the generator's are the parameters that are dropped after pre-training.
    """
    return "generator" if re.match("generator_|cloze_head/", name) else "discriminator"


def group_schedules(config: OptimizerConfig, finetune: FinetuneConfig | None, total_steps: int) -> Schedules:
    """Return the learning rate of each group as a function of the step.

    In fine-tuning it is `learning_rate_schedule` with the group's warm-up, times its ``rate``; that of ``encoder`` is 0
    in the first ``freeze_encoder_steps`` updates. In pre-training it is that with the network's own peak.

    Args:
        config: the section ``optimizer``.
        finetune: the section ``finetune`` in fine-tuning; else None.
        total_steps: updates of the whole run.

    Returns:
        By group; empty where all parameters have the run's own learning rate.
    """
    if finetune is None:
        return _network_schedules(config, total_steps)
    if config.groups == ParameterGroups() and not finetune.freeze_encoder_steps:
        return {}
    frozen = {"encoder": finetune.freeze_encoder_steps, "heads": 0}
    schedules = {}
    for name, settings in (("encoder", config.groups.encoder), ("heads", config.groups.heads)):
        warmup = config.warmup_steps if settings.warmup_steps is None else settings.warmup_steps
        own = {"learning_rate": config.learning_rate * settings.rate, "warmup_steps": warmup}
        schedule = learning_rate_schedule(config.model_copy(update=own), total_steps)
        schedules[name] = _zero_until(frozen[name], schedule)
    return schedules


def _network_schedules(config: OptimizerConfig, total_steps: int) -> Schedules:
    if not config.generator_apart:
        return {}
    peak = config.generator.learning_rate
    own = {} if peak is None else {"learning_rate": peak}
    return {
        "generator": learning_rate_schedule(config.model_copy(update=own), total_steps),
        "discriminator": learning_rate_schedule(config, total_steps),
    }


def _zero_until(first: int, schedule: optax.Schedule) -> optax.Schedule:
    def delayed(step: Array | int) -> Array:
        return jnp.where(jnp.asarray(step) < first, 0.0, schedule(step))

    return delayed if first else schedule


def scale_by_group_rates(schedules: Schedules, group_of: GroupOf) -> optax.GradientTransformation:
    """Multiply updates by the negative learning rate of their group; its state is that of one schedule for all."""

    def init(params: optax.Params) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(updates: optax.Updates, state: optax.ScaleByScheduleState, params: Any = None) -> Any:
        del params
        rates = {name: schedule(state.count) for name, schedule in schedules.items()}

        def scale(path: KeyPath, leaf: Array) -> Array:
            return -rates[group_of(path_name(path))] * leaf

        scaled = jax.tree_util.tree_map_with_path(scale, updates)
        return scaled, optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)


def clip_by_group_norms(
    limits: Mapping[str, float | None], group_of: GroupOf
) -> optax.GradientTransformation:
    """Clip the gradients of each group by the norm of that group alone; None leaves them as they are."""

    def update(updates: optax.Updates, state: optax.EmptyState, params: Any = None) -> Any:
        del params
        groups: dict[str, list[Array]] = {name: [] for name in limits}
        for path, leaf in jax.tree_util.tree_leaves_with_path(updates):
            groups[group_of(path_name(path))].append(leaf)
        norms = {name: optax.tree.norm(leaves) for name, leaves in groups.items()}

        def clip(path: KeyPath, leaf: Array) -> Array:
            name = group_of(path_name(path))
            limit = limits[name]
            return leaf if limit is None else jnp.where(norms[name] < limit, leaf, leaf / norms[name] * limit)

        return jax.tree_util.tree_map_with_path(clip, updates), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)
