"""ELECTRA pre-training, fine-tuning and use in JAX/Flax.

``load`` a model and ask it; ``train`` one. Everything else is in the modules.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from electra_jax.errors import UserError

if TYPE_CHECKING:
    from electra_jax import train
    from electra_jax.inference.model import Model
    from electra_jax.inference.reranking import Reranker

from electra_jax.stopping import watch_command

watch_command()  # before anything that takes time to import

__version__ = "0.1.0"
__all__ = ["Model", "Reranker", "UserError", "load", "train"]


def load(path: str | Path, *, notes: list[str] | None = None) -> "Model":
    """Load a trained model: a work directory (fine-tuned, pre-trained or converted) or a foreign checkpoint.

    Of a fine-tuning with several seeds the one with the best dev metric is taken.

    >>> import electra_jax
    >>> model = electra_jax.load("runs/mine")
    >>> model
    <Model fine-tuned on mine (classification), names (tagging), squad (question_answering), ...: 1 layers of 8, ...>

    Args:
        path: A work directory, one of its checkpoints, or what Hugging Face or TensorFlow saved.
        notes: If given, what was assumed of a foreign checkpoint, or is done differently here, is added to it; else
            there are warnings.

    Raises:
        UserError: There is nothing that can be read, or a checkpoint without a vocabulary.
    """
    from electra_jax.inference.load import load

    return load(path, notes=notes)


def __getattr__(name: str) -> Any:
    """Import what needs jax only when it is asked for: some commands do without."""
    match name:
        case "Model":
            return importlib.import_module("electra_jax.inference.model").Model
        case "Reranker":
            return importlib.import_module("electra_jax.inference.reranking").Reranker
        case "train":  # a module that can be called: python -m electra_jax.train is the same as a command
            return importlib.import_module("electra_jax.train")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
