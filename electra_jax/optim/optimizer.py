"""The optimizer of a configuration, as an optax chain."""

from typing import Any

import optax

from electra_jax.config.schema import Config
from electra_jax.optim.adam import scale_by_electra_adam
from electra_jax.optim.decay_mask import weight_decay_mask
from electra_jax.optim.layer_decay import scale_by_layer
from electra_jax.optim.schedules import learning_rate_schedule


def build_optimizer(config: Config, params: Any) -> optax.GradientTransformation:
    """Clip by global norm → Adam → + decay · θ → · rate of the layer (fine-tuning) → · (-learning rate).

    Args:
        config: sections ``optimizer``, ``train`` and ``finetune``.
        params: the parameters or their abstract shapes; names decide what is decayed.

    Raises:
        ValueError: a parameter that no decay rule covers.
    """
    settings = config.optimizer
    adam = scale_by_electra_adam if settings.kind == "electra_adam" else optax.scale_by_adam
    steps = [
        adam(settings.beta1, settings.beta2, settings.epsilon),
        optax.add_decayed_weights(settings.weight_decay, mask=weight_decay_mask(params)),
        optax.scale_by_learning_rate(learning_rate_schedule(settings, config.train.total_steps)),
    ]
    if config.finetuning and settings.layer_decay != 1.0:
        quirk = config.finetune.reference_quirks
        steps.insert(-1, scale_by_layer(settings.layer_decay, twice_at_the_top=quirk))
    if settings.clip_norm is not None:
        steps.insert(0, optax.clip_by_global_norm(settings.clip_norm))
    return optax.chain(*steps)
