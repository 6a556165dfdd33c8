"""Parameter trees as flat dictionaries, one entry per tensor of a checkpoint, and back.

Flat names spell out the layers (see `names`), and flat tables have no rows that only round the vocabulary up.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from electra_jax.config.schema import Config
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.errors import UserError
from electra_jax.model.network_config import text_decoder_config
from electra_jax.model.sizes import round_up
from electra_jax.model.text_decoder import TextDecoder
from electra_jax.model.text_encoder import TextEncoder, init_params
from electra_jax.objectives import build_network
from electra_jax.partitioning.axes import parameter_axes, path_name

Shape = tuple[int, ...]
_LAYER = re.compile(r"(.+)/layers/(\d+)/(.+)", re.DOTALL)


def flatten(params: Any, vocab_size: int) -> dict[str, np.ndarray]:
    """Return a tree of arrays (layers stacked) as flat names and arrays, with the rows of the vocabulary that are used.

    The rows left out are never read; a freshly initialised network has zeros there.
    """
    flat: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name, array = path_name(path), np.asarray(leaf)
        axes = parameter_axes(name, array.ndim)
        if axes[:1] == ("vocab",):
            flat[name] = array[:vocab_size]
        elif axes[:1] == ("layers",):
            before, after = name.rsplit("/layers/", 1)
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
        if found := _LAYER.fullmatch(name):  # a task may be called layers, too
            before, number, leaf = found.groups()
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
    scope = name.rpartition("/layers/")[0]
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
    return _flat_shapes(_parameter_shapes(build_network(config, vocab_size)), vocab_size)


def expected_decoder_shapes(config: Config, task: str, vocab_size: int) -> dict[str, Shape]:
    """Return flat names and shapes of the decoder of a task, as if it shared nothing with the encoder.

    Args:
        config: with the section of the task.
        task: of kind seq2seq.
        vocab_size: entries of the vocabulary.
    """
    section = config.finetune.tasks[task]
    assert isinstance(section, Seq2SeqConfig)
    shapes = _decoder_shapes(TextDecoder(text_decoder_config(config, section.decoder, vocab_size)))
    # The axes are those of the encoder's embeddings.
    own = _flat_shapes([(n, s) for n, s in shapes if n.startswith("embeddings/")], vocab_size)
    rest = _flat_shapes([(f"heads/{task}/{n}", s) for n, s in shapes if n not in own], vocab_size)
    return {**{f"heads/{task}/{name}": shape for name, shape in own.items()}, **rest}


def _flat_shapes(whole: Iterable[tuple[str, Shape]], vocab_size: int) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for name, shape in whole:
        axes = parameter_axes(name, len(shape))
        if axes[:1] == ("vocab",):
            shapes[name] = (vocab_size, *shape[1:])
        elif axes[:1] == ("layers",):
            before, after = name.rsplit("/layers/", 1)
            shapes |= {f"{before}/layers/{n}/{after}": shape[1:] for n in range(shape[0])}
        else:
            shapes[name] = shape
    return shapes


@lru_cache(maxsize=32)
def _parameter_shapes(network: TextEncoder) -> tuple[tuple[str, Shape], ...]:
    """Trace a network, which takes half a second: folders of several models of one size do it once."""
    return _named_shapes(jax.eval_shape(lambda: init_params(network, jax.random.key(0))))


@lru_cache(maxsize=32)
def _decoder_shapes(network: TextDecoder) -> tuple[tuple[str, Shape], ...]:
    def call(decoder: TextDecoder) -> Any:
        ids = jnp.zeros((1, 1), jnp.int32)
        source = decoder.source(jnp.zeros((1, 1, network.config.source_size)), ids, ids)
        return decoder.losses(source, ids, ids, jnp.ones((1, 1)))

    return _named_shapes(jax.eval_shape(nn.init(call, network), jax.random.key(0))["params"])


def _named_shapes(abstract: Any) -> tuple[tuple[str, Shape], ...]:
    leaves = jax.tree_util.tree_leaves_with_path(abstract)
    return tuple((path_name(path), tuple(leaf.shape)) for path, leaf in leaves)
