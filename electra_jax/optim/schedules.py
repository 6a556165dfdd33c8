"""Learning-rate schedules: a decay times a linear warm-up.

A product, as in google-research/electra, model/optimization.py.
"""

import jax.numpy as jnp
import optax
from jax import Array

from electra_jax.config.optimization import OptimizerConfig


def learning_rate_schedule(config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """Return the learning rate of each update as a function of its number, ``step``, counted from 0.

    linear: peak · (1 - step/T); cosine: peak · (1 + cos(π step/T))/2; constant: peak;
    warmup_stable_decay: peak, and in the last ``decay_fraction`` of T, the share x of it done, peak · (f + (1 - f) ·
    (1 - x)), where f = ``decay_to``, or with ``decay_shape`` sqrt (1 - √x) in place of (1 - x) (Hägele et al. 2024,
    section 3.1; ModernBERT's OneMinusSqrt);
    inverse_sqrt: peak · √(W/step) from W = ``warmup_steps`` on, whatever T is (Vaswani et al. 2017, section 5.3; as in
    fairseq's ``inverse_sqrt`` the peak is given, and does not follow from the width).
    Each is multiplied by min(1, step / warmup_steps), so with warm-up the first update has rate 0.

    Args:
        config: the section ``optimizer``; its ``learning_rate`` is the peak.
        total_steps: T, the updates of the whole run.

    Raises:
        ValueError: inverse_sqrt without a warm-up.
    """
    warmup_steps = config.total_warmup
    if config.schedule == "inverse_sqrt" and warmup_steps < 1:
        raise ValueError("inverse_sqrt needs a warm-up")
    decay_steps = config.decay_fraction * total_steps

    def schedule(step: Array | int) -> Array:
        now = jnp.asarray(step, jnp.float32)
        done = jnp.clip(now / total_steps, 0.0, 1.0)
        if config.schedule == "linear":
            decay = 1.0 - done
        elif config.schedule == "cosine":
            decay = jnp.square(jnp.cos(0.5 * jnp.pi * done))  # (1 + cos πx)/2, without its cancellation
        elif config.schedule == "constant":
            decay = jnp.ones_like(done)
        elif config.schedule == "inverse_sqrt":
            decay = jnp.sqrt(warmup_steps / jnp.maximum(now, warmup_steps))
        else:
            decay = jnp.clip((total_steps - now) / decay_steps, 0.0, 1.0)
            if config.decay_shape == "sqrt":
                decay = 1.0 - jnp.sqrt(1.0 - decay)
            if config.decay_to:
                decay = config.decay_to + (1.0 - config.decay_to) * decay
        warmup = jnp.minimum(1.0, now / warmup_steps) if warmup_steps else 1.0
        return config.learning_rate * decay * warmup

    return schedule
