"""StableAdamW: AdamW whose updates are clipped tensor by tensor, so that gradients need not be.

Wortsman et al. 2023 (2304.13013, section 3.5 and algorithm 2); as ModernBERT trains (AnswerDotAI/ModernBERT,
optimizer.py).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from electra_jax.optim.stacked import is_stacked
from electra_jax.partitioning.axes import KeyPath, path_name


class StableAdamState(NamedTuple):
    """Moments, float32, shaped as the parameters, and the number of updates.

    Attributes:
        count: int32 scalar.
        mu: average of the gradients, of which each has counted since the first: it needs no correction.
        nu: that of their squares.
    """

    count: Array  # type: ignore[assignment]
    mu: optax.Updates
    nu: optax.Updates


def scale_by_stable_adam(
    beta1: float, beta2: float, epsilon: float, weight_decay: float, decayed: Any
) -> optax.GradientTransformation:
    """Scale gradients to (m / (√v + ε) + weight_decay · θ) / max(1, r), with r = √mean(g² / max(v, ε²)).

    m and v are averages with debiased betas, β(1 - β^(t-1)) / (1 - β^t) at update t, which is Adam's correction. r is
    taken over each tensor, of stacked parameters over each layer. The decay is divided with the rest, as r divides the
    learning rate.

    Args:
        beta1: decay of m.
        beta2: decay of v.
        epsilon: added to the root.
        weight_decay: factor of θ.
        decayed: pytree of bools, which parameters have it.
    """

    def init(params: optax.Params) -> StableAdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return StableAdamState(jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.zeros_like, params))

    def update(updates: optax.Updates, state: StableAdamState, params: Any = None) -> Any:
        count = optax.safe_increment(state.count)
        first, second = _debiased(beta1, count), _debiased(beta2, count)
        mu = jax.tree.map(lambda m, g: first * m + (1.0 - first) * g, state.mu, updates)
        nu = jax.tree.map(lambda v, g: second * v + (1.0 - second) * jnp.square(g), state.nu, updates)

        def scale(path: KeyPath, g: Array, m: Array, v: Array, theta: Array, decays: bool) -> Array:
            ratio = jnp.square(g) / jnp.maximum(v, epsilon**2)
            axes = tuple(range(1 if is_stacked(path_name(path)) else 0, g.ndim))
            r = jnp.sqrt(ratio.mean(axis=axes, keepdims=True))
            step = m / (jnp.sqrt(v) + epsilon)
            return (step + weight_decay * theta if decays else step) / jnp.maximum(r, 1.0)

        scaled = jax.tree_util.tree_map_with_path(scale, updates, mu, nu, params, decayed)
        return scaled, StableAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def _debiased(beta: float, count: Array) -> Array:
    power = jnp.float32(beta) ** count.astype(jnp.float32)
    return (power - beta) / (power - 1.0)
