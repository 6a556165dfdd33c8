"""The optimizer of a configuration, as an optax chain."""

from typing import Any

import jax
import optax

from electra_jax.config.finetuning import FinetuneConfig
from electra_jax.config.optimization import OptimizerConfig
from electra_jax.optim.adam import scale_by_electra_adam
from electra_jax.optim.decay_mask import weight_decay_mask
from electra_jax.optim.groups import (
    clip_by_group_norms,
    group_schedules,
    network_group,
    parameter_group,
    scale_by_group_rates,
)
from electra_jax.optim.layer_decay import scale_by_layer
from electra_jax.optim.muon import scale_by_muon_and_adam
from electra_jax.optim.schedules import learning_rate_schedule
from electra_jax.optim.stable_adam import scale_by_stable_adam
from electra_jax.partitioning.axes import path_name


def build_optimizer(
    config: OptimizerConfig,
    params: Any,
    *,
    total_steps: int,
    finetune: FinetuneConfig | None = None,
    frozen_generator: bool = False,
) -> optax.GradientTransformation:
    """Return the optimizer of a run.

    It clips by global norm → Adam or another → + decay · θ → · rate of the layer (fine-tuning) → · (-learning rate).
    Norms and rates may be those of a group of parameters. Where a rate is 0, Adam's moments follow the gradients still.

    Args:
        config: the section ``optimizer``.
        params: the parameters or their abstract shapes; names decide what is decayed.
        total_steps: updates of the whole run.
        finetune: the section ``finetune`` in fine-tuning, where rates may differ by layer and by group; else None.
        frozen_generator: whether the generator's own parameters are left as they are, and have no state; their
            gradient must be 0.

    Raises:
        ValueError: a parameter that no rule covers.
    """
    trained = jax.tree_util.tree_map_with_path(
        lambda path, _: not (frozen_generator and network_group(path_name(path)) == "generator"), params
    )
    if frozen_generator:
        params = jax.tree.map(lambda learns, leaf: leaf if learns else optax.MaskedNode(), trained, params)
    groups = group_schedules(config, finetune, total_steps)
    rate = (
        scale_by_group_rates(groups, parameter_group if finetune else network_group)
        if groups
        else optax.scale_by_learning_rate(learning_rate_schedule(config, total_steps))
    )
    steps = [*_direction(config, params), rate]
    if finetune is not None and config.layer_decay != 1.0:
        quirk = finetune.reference_quirks
        steps.insert(-1, scale_by_layer(config.layer_decay, reference_quirk=quirk))
    if config.generator_apart:
        own = config.generator.clip_norm
        limits = {"discriminator": config.clip_norm, "generator": config.clip_norm if own is None else own}
        # Without a limit the state is that of a run without a rate of the generator's own, which may be set on resume.
        if any(limit is not None for limit in limits.values()):
            steps.insert(0, clip_by_group_norms(limits, network_group))
    elif config.clip_norm is not None:
        steps.insert(0, optax.clip_by_global_norm(config.clip_norm))
    return optax.masked(optax.chain(*steps), trained) if frozen_generator else optax.chain(*steps)


def _direction(config: OptimizerConfig, params: Any) -> list[optax.GradientTransformation]:
    """Return what turns gradients into a direction, weight decay included; the rate is still to come."""
    settings, decayed = (config.beta1, config.beta2, config.epsilon), weight_decay_mask(params)
    if config.kind == "stable_adamw":
        return [scale_by_stable_adam(*settings, config.weight_decay, decayed)]
    if config.kind == "muon":
        scaled = scale_by_muon_and_adam(params, *settings)
    else:
        adam = scale_by_electra_adam if config.kind == "electra_adam" else optax.scale_by_adam
        scaled = adam(*settings)
    return [scaled, optax.add_decayed_weights(config.weight_decay, mask=decayed)]
