"""Muon for the matrices of the layers, Adam for everything else.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/), scaled as in Liu et al. 2025 (2502.16982, section 2.2):
an update is as large as Adam's would be, so that learning rate and weight decay are the same for all parameters.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from electra_jax.optim.stacked import is_stacked
from electra_jax.partitioning.axes import KeyPath, path_name

UPDATE_RMS = 0.2  # of AdamW's updates, as Liu et al. found it

# Of one layer's kernel in a stacked one, [layers, in, out].
_STACKED = MuonDimensionNumbers(reduction_axis=1, output_axis=2)


def muon_labels(params: Any) -> Any:
    """Return which optimizer each parameter has: a pytree of ``muon`` and ``adam``, shaped as ``params``.

    Muon is for matrices that map hidden states to hidden states, layer by layer: stacked kernels. Embeddings, what
    projects them, heads, biases and LayerNorm have Adam, as Jordan et al. have it.
    """

    def label(path: KeyPath, leaf: Any) -> str:
        name = path_name(path)
        return "muon" if is_stacked(name) and name.endswith("/kernel") and len(leaf.shape) == 3 else "adam"

    return jax.tree_util.tree_map_with_path(label, params)


def scale_by_muon_and_adam(
    params: Any, beta1: float, beta2: float, epsilon: float
) -> optax.GradientTransformation:
    """Orthogonalize the momentum of the layers' matrices; scale everything else as Adam does.

    Args:
        params: the parameters or their abstract shapes.
        beta1: decay of the momentum (Nesterov's, corrected for its start), and of Adam's first moment.
        beta2: decay of Adam's second moment.
        epsilon: added to the root of that.
    """
    muon = optax.chain(
        scale_by_muon(beta=beta1, weight_dimension_numbers=_all_stacked),
        optax.stateless(lambda updates, _: jax.tree.map(_to_adams_size, updates)),
    )
    adam = optax.scale_by_adam(beta1, beta2, epsilon)
    return optax.partition({"muon": muon, "adam": adam}, muon_labels(params))


def _all_stacked(updates: Any) -> Any:
    return jax.tree.map(lambda _: _STACKED, updates)


def _to_adams_size(update: Array) -> Array:
    """Scale orthogonal matrices ``[layers, in, out]``, whose root mean square is 1/√max(in, out), to `UPDATE_RMS`."""
    return update * (UPDATE_RMS * jnp.sqrt(max(update.shape[1:])))
