"""Layer-wise decay of the learning rate in fine-tuning (google-research/electra, model/optimization.py)."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from electra_jax.partitioning.axes import KeyPath, path_name


def layer_rates(params: Any, decay: float, *, reference_quirk: bool) -> Any:
    """Return what each parameter's learning rate is multiplied by.

    It is 1 for heads, ``decay`` for the top layer and the LayerNorm after it, its square for the next one below, and so
    on. The embeddings, and their projection, are one below the lowest layer. Stacked layers get one factor each,
    ``[layers, 1, …]``; everything else a scalar.

    Args:
        params: arrays or shapes, with ``embeddings``, ``encoder`` and ``heads``.
        decay: the factor.
        reference_quirk: as the original computes it, d^(n+2-depth) with the heads at n + 2 and the top layer at n, so
            that all of the encoder is decayed once more than the paper says.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    depth = next(leaf.shape[0] for path, leaf in leaves if path_name(path).startswith("encoder/layers/"))
    extra = 1 if reference_quirk else 0

    def rate(path: KeyPath, leaf: Any) -> Array:
        name = path_name(path)
        if name.startswith("heads/"):
            return jnp.float32(1.0)
        if name.startswith("encoder/final_layer_norm/"):
            return jnp.float32(decay) ** (1 + extra)
        if name.startswith("encoder/layers/"):
            powers = jnp.arange(depth, 0, -1) + extra
            return jnp.float32(decay) ** powers.reshape(-1, *[1] * (len(leaf.shape) - 1))
        if re.match(r"embeddings/|encoder/embeddings_project/", name):
            return jnp.float32(decay) ** (depth + 1 + extra)
        raise ValueError(f"no layer-wise rate covers {name}")

    return jax.tree_util.tree_map_with_path(rate, params)


def scale_by_layer(decay: float, *, reference_quirk: bool) -> optax.GradientTransformation:
    """Multiply updates by `layer_rates`; after weight decay, so that it is scaled too."""

    def update(updates: optax.Updates, state: optax.EmptyState, params: Any = None) -> Any:
        del params
        rates = layer_rates(updates, decay, reference_quirk=reference_quirk)
        return jax.tree.map(jnp.multiply, updates, rates), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)
