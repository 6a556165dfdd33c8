"""Typed configuration: schema, YAML presets, ``key.path=value`` overrides."""
