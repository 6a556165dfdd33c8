"""Weights of Keras (`tf_model.h5`) as a state dict of PyTorch, by the names `transformers` had for both.

The file has a group for each layer of the model, and in it the variables by their whole names:
``electra/tf_electra_for_pre_training/electra/encoder/layer_._0/output/dense/kernel:0``.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.convert.files.differences import first_difference
from electra_jax.errors import UserError

_LAST = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}


def read_keras_weights(path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the variables by PyTorch's names, kernels transposed, and the names of what is not numeric.

    Raises:
        UserError: h5py is not installed; the file is damaged, not HDF5, or refers to data outside of it.
    """
    try:
        import h5py
    except ImportError:
        raise UserError(
            f"{path} is HDF5, which needs h5py to be read: pip install h5py, or 'electra_jax[h5]'"
        ) from None
    found: list[tuple[str, Any]] = []
    try:
        with h5py.File(path, "r") as file:
            # Links, to other files or places, are not followed.
            file.visititems(
                lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None
            )
            return _read(path, found)
    except UserError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no whole HDF5 file ({error}): download it again") from None


def _read(path: Path, found: list[tuple[str, Any]]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    arrays: dict[str, np.ndarray] = {}
    others = []
    total = sum(data.id.get_storage_size() for _, data in found)
    if total > path.stat().st_size:  # variables that overlap
        raise UserError(f"{path} has variables that hold more together than the file: save the model anew")
    for path_in_file, data in found:
        if data.dtype.kind not in "fiub" or data.shape is None:
            others.append(path_in_file.replace("/", "."))
            continue
        # Keras writes plain bytes; other layouts could stand for any amount of memory, or bytes of other files.
        if data.external or data.is_virtual or data.id.get_storage_size() < data.size * data.dtype.itemsize:
            raise UserError(f"{path} does not hold {path_in_file} as Keras writes it: save the model anew")
        name, transposed = _pytorch_name(path_in_file)
        array = data[()].T if transposed else np.asarray(data[()])
        if name not in arrays:
            arrays[name] = array
        elif difference := first_difference(
            arrays[name], array
        ):  # shared variables are in each layer's group
            raise UserError(f"{path} holds {name} twice, differing {difference}: save the model anew")
    if not arrays:
        raise UserError(f"{path} holds no weights of Keras: save the model with save_pretrained")
    return arrays, tuple(others)


def _pytorch_name(path_in_file: str) -> tuple[str, bool]:
    """Return the PyTorch name of the variable at a path in the file, and whether PyTorch stores it transposed."""
    name = re.sub(r":\d+$", "", path_in_file.partition("/")[2] or path_in_file)
    name = re.sub(r"/[^/]*___([^/]*)/", r"/\1/", name).replace("_._", "/")
    *parts, last = name.split("/")
    return ".".join((*parts, _LAST.get(last, last))), last == "kernel"
