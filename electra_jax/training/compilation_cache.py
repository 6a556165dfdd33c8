"""Compiled programs on disk, so that a second start compiles nothing again."""

from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from electra_jax.config.schema import Config


def cache_folder(config: Config, platform: str) -> Path | None:
    """Where programs for devices of ``platform`` are kept; None: nowhere.

    "auto" keeps none on CPU: code compiled there is for one model of processor, and a cache in a home directory
    is often shared by machines that differ.
    """
    asked = config.compute.compilation_cache
    if asked is None or (asked == "auto" and platform == "cpu"):
        return None
    return Path(config.data.cache_dir if asked == "auto" else asked).expanduser() / (
        "compiled" if asked == "auto" else ""
    )


def use_compilation_cache(config: Config, platform: str) -> None:
    """Turns the cache on, for the rest of this process, where `cache_folder` says one.

    Of several processes the first writes. What is read is what was written, so results do not change.
    """
    folder = cache_folder(config, platform)
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
        compilation_cache.reset_cache()  # what was compiled before this had no cache, and jax asks only once
