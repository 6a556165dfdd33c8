"""ELECTRA pre-training, fine-tuning and use in JAX/Flax."""

from typing import Any

from electra_jax.stopping import watch_command

watch_command()  # before anything that takes time to import

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """``load`` is found when it is asked for: commands that need no jax do not import it."""
    if name == "load":
        from electra_jax.inference.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
