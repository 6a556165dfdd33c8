"""ELECTRA's own Adam: no bias correction, epsilon added outside the root.

As in google-research/electra, model/optimization.py.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class ElectraAdamState(NamedTuple):
    """Moments, float32, shaped as the parameters."""

    mu: optax.Updates
    nu: optax.Updates


def scale_by_electra_adam(beta1: float, beta2: float, epsilon: float) -> optax.GradientTransformation:
    """Scale gradients to m / (√v + ε), with m and v started at 0 and never corrected for it.

    Args:
        beta1: decay of m, the average of gradients.
        beta2: decay of v, the average of their squares.
        epsilon: added to the root, not under it.
    """

    def init(params: optax.Params) -> ElectraAdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return ElectraAdamState(mu=zeros, nu=jax.tree.map(jnp.zeros_like, params))

    def update(updates: optax.Updates, state: ElectraAdamState, params: Any = None) -> Any:
        del params
        mu = jax.tree.map(lambda m, g: beta1 * m + (1.0 - beta1) * g, state.mu, updates)
        nu = jax.tree.map(lambda v, g: beta2 * v + (1.0 - beta2) * jnp.square(g), state.nu, updates)
        scaled = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + epsilon), mu, nu)
        return scaled, ElectraAdamState(mu, nu)

    return optax.GradientTransformation(init, update)
