"""YAML presets with single inheritance, dotted overrides, and errors that name the right key."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from electra_jax.config.schema import Config
from electra_jax.errors import UserError


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-4 is a number and a key given twice is an error."""


# YAML 1.1, which PyYAML reads, wants a dot and a sign in 1.0e-4; everyone writes 1e-4.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} is given twice", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a configuration file, what it inherits by ``base:``, and ``key.path=value`` overrides.

    Raises:
        UserError: a missing or unreadable file, an unknown key, a wrong type or range.
    """
    values = _read_with_base(path, ())
    for override in overrides:
        _apply_override(values, override)
    return validate(values, str(path))


def validate(values: Mapping[str, Any], where: str) -> Config:
    """Checks plain values against the schema.

    Raises:
        UserError: naming every wrong key, and for an unknown one the nearest right one.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: {'; '.join(_explain(e) for e in error.errors())}") from None


def dump_config(config: Config) -> str:
    """The fully resolved configuration as YAML; `load_config` of it gives an equal one."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True)


def _read_with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        chain = " -> ".join(str(p) for p in (*seen, path.resolve()))
        raise UserError(f"base: files inherit from each other in a circle: {chain}")
    values = _read_yaml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise UserError(f"{path}: base must be the path of one YAML file, not {base!r}")
    return _merge(_read_with_base(path.parent / base, (*seen, path.resolve())), values)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(
            path.name, [p.name for p in path.parent.glob("*.yaml")], n=3, cutoff=0.3
        )
        hint = f"; in {path.parent} there are: {', '.join(near)}" if near else ""
        raise UserError(f"configuration file {path} does not exist{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"configuration file {path} cannot be read: {error}") from None
    try:
        values = yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not valid YAML: {getattr(error, 'problem', error)}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(
            f"{path}: expected sections such as 'train:' at the top level, found {type(values).__name__}"
        )
    return values


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"override {override!r} must have the form key.path=value, such as train.steps=1000")
    try:
        value = yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError:
        value = text  # such as a glob that begins with an asterisk
    *sections, name = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"override {override!r}: {section} has no keys below it")
    values[name] = value


def fields(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every dotted key of the schema that holds a value, with its field; keys of a union come once."""
    seen: set[str] = set()
    for name, field in model.model_fields.items():
        sections = [t for t in _union_members(field.annotation) if _is_section(t)]
        if not sections:
            yield f"{prefix}{name}", field
        for section in sections:
            for key, inner in fields(section, f"{prefix}{name}."):
                if key not in seen:
                    seen.add(key)
                    yield key, inner


def _union_members(annotation: Any) -> tuple[Any, ...]:
    is_union = get_origin(annotation) is Union or type(annotation).__name__ == "UnionType"
    return get_args(annotation) if is_union else (annotation,)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _explain(error: Any) -> str:
    # The tag of a discriminated union is part of pydantic's location but not of the key.
    parts = [str(part) for part in error["loc"] if part not in ("electra", "masked_lm")]
    key = ".".join(parts)
    if error["type"] == "extra_forbidden":
        return f"unknown key {key}{_suggestion(key)}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{key}: {message}" if key else message
    if error["type"] == "union_tag_invalid":
        return f"{key}.kind is {error['ctx']['tag']!r}; it must be one of {error['ctx']['expected_tags']}"
    return f"{key} is {error['input']!r}; {message[0].lower()}{message[1:]}"


def _suggestion(key: str) -> str:
    known = [name for name, _ in fields()]
    if key in known:
        return ", which is a key of another objective.kind than the one chosen"
    leaf = key.rsplit(".", 1)[-1]
    same_leaf = [name for name in known if name.rsplit(".", 1)[-1] == leaf]
    near = same_leaf or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if not near:
        leaves = {name.rsplit(".", 1)[-1]: name for name in known}
        near = [leaves[match] for match in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.6)]
    return f"; did you mean {' or '.join(near[:2])}?" if near else "; see python -m electra_jax.config"
