"""What differs between two configurations, and whether a run may be resumed with it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from electra_jax.config.dialect import show
from electra_jax.config.keys import NAME, entry_keys, keys
from electra_jax.config.schema import Config
from electra_jax.config.tasks import TaskConfig

_ABSENT = object()
_TASKS = "finetune.tasks"


@dataclass(frozen=True)
class Difference:
    """One key with two values; ``free`` says that it may change when a run is resumed."""

    key: str
    old: Any
    new: Any
    free: bool


def differences(old: Config, new: Config, *, free: Collection[str] = ()) -> list[Difference]:
    """The keys in which two configurations differ, in the order of the schema; tasks to fine-tune on key by key.

    Args:
        old: one configuration.
        new: the other.
        free: keys that may change here, besides those that always may.
    """
    known = {key.name for key in keys()}
    before, after = _flatten(old.model_dump(), known), _flatten(new.model_dump(), known)
    # Pre-training may be tuned on its way. Fine-tuning is compared over seeds, which must all have had the same recipe.
    bound = ("optimizer.",) if old.finetuning or new.finetuning else ()
    found: list[Difference] = []
    for key in keys():
        if key.name == _TASKS:
            found += [
                Difference(name, was, now, name in free) for name, was, now in _task_differences(old, new)
            ]
        elif (was := before.get(key.name, _ABSENT)) != (now := after.get(key.name, _ABSENT)):
            may = key.free_on_resume and not key.name.startswith(bound)
            found.append(Difference(key.name, was, now, may or key.name in free))
    return found


def _task_differences(old: Config, new: Config) -> Iterator[tuple[str, Any, Any]]:
    """(key, old value, new value); a task that only one of them has is one difference, shown as far as it was set."""
    before, after = old.finetune.tasks, new.finetune.tasks
    for name in dict.fromkeys((*before, *after)):
        key = f"{_TASKS}.{name}"
        if name not in before or name not in after:
            was, now = (_as_set(tasks[name]) if name in tasks else _ABSENT for tasks in (before, after))
            yield key, was, now
            continue
        for entry in entry_keys():
            field = entry.name.removeprefix(f"{_TASKS}.{NAME}.")
            was, now = (getattr(task, field, _ABSENT) for task in (before[name], after[name]))
            if was != now:
                yield f"{key}.{field}", was, now


def _as_set(task: TaskConfig) -> dict[str, Any]:
    """A task as far as it was set, its kind first."""
    return {"kind": task.kind} | task.model_dump(exclude_defaults=True)


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
