"""Typed configuration: schema, YAML presets, ``key.path=value`` overrides."""

from electra_jax.config.loading import dump_config, load_config
from electra_jax.config.schema import Config

__all__ = ["Config", "dump_config", "load_config"]
