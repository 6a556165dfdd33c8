"""Detecting the format of a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from electra_jax.convert.huggingface_folder import is_huggingface_folder
from electra_jax.convert.huggingface_format import network_folders
from electra_jax.convert.native_format import is_native
from electra_jax.convert.tensorflow_format import find_prefix
from electra_jax.convert.weight_files import has_weights, is_weight_file
from electra_jax.errors import UserError

Format = Literal["electra_jax", "huggingface", "tensorflow"]


@dataclass(frozen=True)
class DetectedFormat:
    """A detected checkpoint: its format, and the paths to read (two folders for a discriminator and a generator)."""

    format: Format
    paths: tuple[Path, ...]


def detect_format(path: Path) -> DetectedFormat:
    """Detect the format of the checkpoint at ``path``.

    Raises:
        UserError: nothing that can be read.
    """
    if is_native(path):
        return DetectedFormat("electra_jax", (path,))
    pair = network_folders(path)
    whole = is_huggingface_folder(path)
    if pair and whole:
        raise UserError(
            f"{path} holds a model, and the folders {' and '.join(pair)} hold others: give the one that is meant, or "
            "its file"
        )
    if whole and has_weights(path) and (original := sorted(path.glob("*.index"))):
        raise UserError(
            f"{path} holds weights of Hugging Face and {original[0].stem} of TensorFlow: give the file, or the prefix, "
            "that is meant"
        )
    if pair:
        return DetectedFormat("huggingface", tuple(pair.values()))
    if whole:
        return DetectedFormat("huggingface", (path,))
    if (prefix := find_prefix(path)) is not None:
        return DetectedFormat("tensorflow", (prefix,))
    if is_weight_file(path):
        return DetectedFormat("huggingface", (path,))
    if path.is_file():
        raise UserError(
            f"{path} is a file: give the folder it is in, a file of tensors (.safetensors, .bin, .pt, .pth, .ckpt), or "
            "the prefix of a TensorFlow checkpoint"
        )
    if not path.exists():
        raise UserError(
            f"{path} does not exist (nothing is downloaded), and no TensorFlow checkpoint has that prefix"
        )
    raise UserError(
        f"{path} holds no checkpoint: neither checkpoints/ of a run, nor config.json with weights (Hugging Face), nor "
        "a .index file (TensorFlow)"
    )


def is_checkpoint(path: Path) -> bool:
    """Return whether ``path`` is a checkpoint that a conversion could have written."""
    try:
        detect_format(path)
    except UserError:
        return False
    return True
