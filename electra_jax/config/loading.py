"""Reading a `Config` from a YAML file, the files it inherits and ``key.path=value`` overrides, and writing it."""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from electra_jax.config.explain import explain
from electra_jax.config.inheritance import compatible_values
from electra_jax.config.keys import keys, section_names
from electra_jax.config.legacy import is_complete, upgrade, without_keys
from electra_jax.config.presets import find_config, is_preset
from electra_jax.config.schema import Config
from electra_jax.config.yaml_format import dump, parse, parse_value
from electra_jax.errors import UserError
from electra_jax.files.regular_files import read_regular

MAX_BASES = 100
MAX_BYTES = 4 << 20  # of a configuration: every key there is takes 10 kB


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file, what it inherits by ``base:``, and ``key.path=value`` overrides.

    What a preset, or the config.yaml of a run, says for its own kind of run is left out where files written by hand or
    overrides choose another kind (`compatible_values`).

    Args:
        path: a file, or the name of a preset (`presets.find_config`).
        overrides: settings that win over those of the file.

    Raises:
        UserError: a missing or unreadable file, an unknown key, a wrong type or range, a key that this kind of run
            does not read.
    """
    chain = _read_with_base(find_config(path), ())
    where = " over ".join(str(file) for file, _ in chain)
    given: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    for file, values in reversed(chain):
        if not chosen and (is_complete(values) or is_preset(file)):
            given = _merge(given, upgrade(values))
        else:  # over what a file that it names by ``base`` chose
            chosen = _merge(chosen, upgrade(values) if is_complete(values) else values)
    for override in overrides:
        chosen = _merge(chosen, _parse_override(override))
    return _check(
        _merge(compatible_values(given, chosen), chosen), f"{where} with overrides" if overrides else where
    )


def with_overrides(values: Mapping[str, Any], overrides: Sequence[str], where: str) -> Config:
    """Check plain values, with ``key.path=value`` overrides over them, and return the configuration.

    Raises:
        UserError: an override of another form, an unknown key, a wrong type or range.
    """
    values = upgrade(values)
    for override in overrides:
        values = _merge(values, _parse_override(override))
    return _check(values, f"{where} with overrides" if overrides else where)


def validate(values: Mapping[str, Any], where: str) -> Config:
    """Check plain values that a program wrote, of this version or an earlier one, and return the configuration.

    Raises:
        UserError: naming every wrong key, and for an unknown one the nearest right one.
    """
    return _check(upgrade(values), where)


def _check(values: Mapping[str, Any], where: str) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error)}") from None
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: {error.object!r:.200} is not UTF-8 text") from None


def dump_config(config: Config) -> str:
    """Return the resolved configuration as YAML: every key that its kind of run reads.

    `load_config` of the text gives an equal configuration.
    """
    values = config.model_dump()
    kept = without_keys(values, [key.name for key in keys() if config.kind_of_run not in key.runs])
    return dump({name: value for name, value in kept.items() if value != {} or values[name] == {}})


def _read_with_base(path: Path, inheritors: tuple[Path, ...]) -> list[tuple[Path, dict[str, Any]]]:
    """Read a file and its bases; return each with its values, the one that wins first."""
    if os.path.realpath(path) in map(os.path.realpath, inheritors):
        chain = " -> ".join(str(p) for p in (*inheritors, path))
        raise UserError(f"base: files inherit from each other in a circle: {chain}")
    if len(inheritors) == MAX_BASES:
        raise UserError(
            f"base: {path} is the {MAX_BASES + 1}st of files that inherit from each other: join some"
        )
    values = _read_yaml(path, inheritors[-1] if inheritors else None)
    base = values.pop("base", None)
    if base is None:
        return [(path, values)]
    if not isinstance(base, str):
        raise UserError(f"{path}: base must be the path of one YAML file, or a preset's name, not {base!r}")
    return [(path, values), *_read_with_base(find_config(base, path.parent), (*inheritors, path))]


def _read_yaml(path: Path, inheritor: Path | None) -> dict[str, Any]:
    role = f"the base of {inheritor}," if inheritor else "configuration file"
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{role} {path} does not exist{_presets_near(path)}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{role} {path} is not UTF-8 text (byte {error.start})") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UserError(f"{role} {path} cannot be read: {getattr(error, 'strerror', error)}") from None
    values = parse(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(
            f"{path}: expected sections such as 'train:' at the top level, found a {type(values).__name__}"
        )
    # A section whose every line is commented out is read as null.
    return {key: {} if value is None and key in section_names() else value for key, value in values.items()}


def _presets_near(path: Path) -> str:
    if not path.parent.is_dir():
        return f": there is no folder {path.parent}"
    presets = sorted(p.name for p in path.parent.glob("*.yaml"))
    near = difflib.get_close_matches(path.name, presets, n=3, cutoff=0.5) or presets[:8]
    return f"; in {path.parent} there are: {', '.join(near)}" if near else ""


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _parse_override(override: Any) -> dict[str, Any]:
    if not isinstance(override, str):
        raise UserError(f"override {override!r:.80} must be text, such as 'train.steps=1000'")
    try:
        override.encode()
    except UnicodeEncodeError:
        raise UserError(f"override {override!r} is not UTF-8 text") from None
    key, equals, text = override.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not equals or not all(names):
        raise UserError(f"override {override!r} must have the form key.path=value, such as train.steps=1000")
    value = parse_value(text)
    for name in reversed(names):
        value = {name: value}
    return value
