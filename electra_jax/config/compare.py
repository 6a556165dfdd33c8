"""What differs between two configurations, and whether a run may be resumed with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from electra_jax.config.loading import fields
from electra_jax.config.schema import Config

_ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """One key with two values; ``free`` says that it may change when a run is resumed."""

    key: str
    old: Any
    new: Any
    free: bool


def differences(old: Config, new: Config) -> list[Difference]:
    """The keys in which two configurations differ, in the order of the schema."""
    before, after = _flatten(old.model_dump()), _flatten(new.model_dump())
    free = {
        key
        for key, field in fields()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("free_on_resume")
    }
    keys = list(dict.fromkeys([*before, *after]))
    return [
        Difference(key, before.get(key, _ABSENT), after.get(key, _ABSENT), key in free)
        for key in keys
        if before.get(key, _ABSENT) != after.get(key, _ABSENT)
    ]


def format_differences(changes: Sequence[Difference]) -> str:
    """``key: old -> new``, separated by commas."""
    return ", ".join(f"{change.key}: {_show(change.old)} -> {_show(change.new)}" for change in changes)


def _show(value: Any) -> str:
    return "(absent)" if value is _ABSENT else "null" if value is None else str(value)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
