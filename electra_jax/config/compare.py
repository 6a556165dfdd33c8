"""What differs between two configurations, and whether a run may be resumed with it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from electra_jax.config.dialect import show
from electra_jax.config.keys import keys
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
    known = {key.name for key in keys()}
    before, after = _flatten(old.model_dump(), known), _flatten(new.model_dump(), known)
    return [
        Difference(key.name, was, now, key.free_on_resume)
        for key in keys()
        if (was := before.get(key.name, _ABSENT)) != (now := after.get(key.name, _ABSENT))
    ]


def format_differences(changes: Sequence[Difference]) -> str:
    """``key: old -> new``, separated by commas."""
    return ", ".join(f"{change.key}: {_show(change.old)} -> {_show(change.new)}" for change in changes)


def _show(value: Any) -> str:
    return "(absent)" if value is _ABSENT else value if isinstance(value, str) else show(value)


def _flatten(values: Mapping[str, Any], known: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key; a mapping that is the value of a ``known`` key is left whole."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and f"{prefix}{key}" not in known:
            flat |= _flatten(value, known, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
