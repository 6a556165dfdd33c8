"""Parameters of Flax (`flax_model.msgpack`) as a state dict of PyTorch, by the names `transformers` had for both."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from flax.serialization import msgpack_restore

from electra_jax.convert.files.msgpack_items import has_more_items
from electra_jax.errors import UserError
from electra_jax.files.regular_files import open_regular

# A tree of a thousand arrays has about ten thousand.
MAX_ITEMS = 1_000_000
_WEIGHT = {"kernel", "embedding", "scale"}
# The key of the optimizer's state, which has trees with the same names as the parameters.
_OPTIMIZER = "opt_state"


def read_flax_weights(path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the arrays of a tree by their paths, joined with dots, and the paths of what is not an array.

    The last part is PyTorch's: ``kernel`` is ``weight``, transposed. An optimizer's state is skipped.

    Raises:
        UserError: the file is damaged or not Flax's.
    """
    arrays: dict[str, np.ndarray] = {}
    others: list[str] = []
    try:
        with open_regular(path) as file:
            content = file.read()
        if has_more_items(content, MAX_ITEMS):
            raise UserError(
                f"{path} holds more than {MAX_ITEMS:,} values beside its arrays: it is no model's"
            )
        tree = msgpack_restore(content)
        for parts, leaf in _leaves(tree, ()):
            if isinstance(leaf, np.ndarray):
                last = "weight" if parts[-1] in _WEIGHT else parts[-1]
                name = ".".join((*parts[:-1], last))
                if name in arrays:
                    raise UserError(f"{path} has two arrays called {name}: save the parameters of one model")
                arrays[name] = leaf.T if parts[-1] == "kernel" else leaf
            else:
                others.append(".".join(parts))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except UserError:
        raise
    except Exception:  # the library's errors on damaged files have no common class
        raise UserError(
            f"{path} is no whole file of Flax's parameters (msgpack): download it again"
        ) from None
    if not arrays:
        raise UserError(f"{path} holds no arrays: save the parameters of the model with flax.serialization")
    return arrays, tuple(others)


def _leaves(value: Any, parts: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(value, dict) or parts[-1:] == (_OPTIMIZER,):
        yield parts, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, (*parts, str(key)))
