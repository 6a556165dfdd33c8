"""Parameter trees as flat dictionaries, one entry per tensor of a checkpoint, and back.

Flat names spell out the layers (see `names`), and flat tables have no rows that only round the vocabulary up.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.model.sizes import round_up
from electra_jax.model.text_encoder import TextEncoder, init_params
from electra_jax.objectives import build_network
from electra_jax.partitioning.axes import parameter_axes, path_name

Shape = tuple[int, ...]


def flatten(params: Any, vocab_size: int) -> dict[str, np.ndarray]:
    """Return a tree of arrays (layers stacked) as flat names and arrays, with the rows of the vocabulary that are used.

    The rows left out are never read; a freshly initialised network has zeros there.
    """
    flat: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name, array = path_name(path), np.asarray(leaf)
        axes = parameter_axes(name, array.ndim)
        if axes[0] == "vocab":
            flat[name] = array[:vocab_size]
        elif axes[0] == "layers":
            before, after = name.split("/layers/")
            flat |= {f"{before}/layers/{n}/{after}": layer for n, layer in enumerate(array)}
        else:
            flat[name] = array
    return flat


def unflatten(flat: Mapping[str, np.ndarray], vocab_multiple: int) -> Any:
    """Return the tree of flat parameters, the inverse of `flatten`; rows that round the vocabulary up are zeros.

    Raises:
        UserError: a parameter that some layers have and others lack.
    """
    layers: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    whole: dict[str, np.ndarray] = {}
    for name, array in flat.items():
        before, found, after = name.partition("/layers/")
        if found:
            number, _, leaf = after.partition("/")
            layers[f"{before}/layers/{leaf}"][int(number)] = array
        elif parameter_axes(name, array.ndim)[0] == "vocab":
            rows = round_up(array.shape[0], vocab_multiple) - array.shape[0]
            whole[name] = np.pad(array, [(0, rows)] + [(0, 0)] * (array.ndim - 1))
        else:
            whole[name] = array
    whole |= {name: _stacked(name, layers) for name in layers}
    return _nested(whole)


def _stacked(name: str, layers: Mapping[str, Mapping[int, np.ndarray]]) -> np.ndarray:
    """Return all layers of a parameter, on a new leading axis."""
    scope = name.partition("/layers/")[0]
    depth = 1 + max(max(stack) for other, stack in layers.items() if other.startswith(f"{scope}/layers/"))
    if absent := [n for n in range(depth) if n not in layers[name]]:
        raise UserError(
            f"{name} is missing in layer {absent[0]} of {depth}: only what all layers lack can be left out"
        )
    return np.stack([layers[name][n] for n in range(depth)])


def _nested(whole: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, array in whole.items():
        *parents, leaf = name.split("/")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = array
    return tree


def expected_shapes(config: Config, vocab_size: int) -> dict[str, Shape]:
    """Return flat names and shapes of all parameters that ``config`` trains."""
    shapes: dict[str, Shape] = {}
    for name, shape in _parameter_shapes(build_network(config, vocab_size)):
        axes = parameter_axes(name, len(shape))
        if axes[0] == "vocab":
            shapes[name] = (vocab_size, *shape[1:])
        elif axes[0] == "layers":
            before, after = name.split("/layers/")
            shapes |= {f"{before}/layers/{n}/{after}": shape[1:] for n in range(shape[0])}
        else:
            shapes[name] = shape
    return shapes


@lru_cache(maxsize=32)
def _parameter_shapes(network: TextEncoder) -> tuple[tuple[str, Shape], ...]:
    """Trace a network, which takes half a second: folders of several models of one size do it once."""
    abstract = jax.eval_shape(lambda: init_params(network, jax.random.key(0)))
    leaves = jax.tree_util.tree_leaves_with_path(abstract)
    return tuple((path_name(path), tuple(leaf.shape)) for path, leaf in leaves)
