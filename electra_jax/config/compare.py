"""What differs between two configurations, and whether a run may be resumed with it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from electra_jax.config.keys import NAME, entry_keys, keys
from electra_jax.config.schema import Config
from electra_jax.config.task import TaskConfig
from electra_jax.config.tasks import Tasks
from electra_jax.config.yaml_format import show

_ABSENT = object()
_TASKS = "finetune.tasks"
_WHOLE = 1 << 20


@dataclass(frozen=True)
class Difference:
    """One key with two values; ``free`` says that it may change when a run is resumed."""

    key: str
    old: Any
    new: Any
    free: bool


def differences(old: Config, new: Config, *, free: Collection[str] = ()) -> list[Difference]:
    """Return the keys in which two configurations differ, in the order of the schema.

    The tasks of a fine-tuning are compared key by key.

    Args:
        old: one configuration.
        new: the other.
        free: keys that may change here, besides those that always may.
    """
    known = {key.name for key in keys()}
    before, after = _flatten(old.model_dump(), known), _flatten(new.model_dump(), known)
    bound = _bound(old, new)
    found: list[Difference] = []
    for key in keys():
        if key.name == _TASKS:
            found += list(_task_differences(old.finetune.tasks, new.finetune.tasks, free, bound))
        elif (was := before.get(key.name, _ABSENT)) != (now := after.get(key.name, _ABSENT)):
            may = (key.free_on_resume and key.name not in bound) or key.name in free
            found.append(Difference(key.name, was, now, may))
    return found


def _bound(old: Config, new: Config) -> frozenset[str]:
    """Return the keys that are free on resume in general, but not between these two configurations.

    Pre-training may be tuned on its way, but where batches grow its length decides which rows were read. Fine-tuning is
    compared over seeds, which must all have had the same recipe; where the best parameters are kept, what finds them is
    part of it, and where a mean is, of which it is.
    """
    if not (old.finetuning or new.finetuning):
        grows = any(config.train.batch_size_schedule.to is not None for config in (old, new))
        return frozenset({"train.steps"} if grows else ())
    recipe = set(recipe_keys())
    selects = (old.finetune.select, new.finetune.select)
    if "average" in selects:
        recipe |= {"train.eval_every"}
    if "best" in selects:
        recipe |= {"train.eval_every", *(key.name for key in entry_keys() if key.affects_score)}
        recipe |= {key.name for key in keys() if key.name.startswith("generation.")}
    return frozenset(recipe)


def recipe_keys() -> frozenset[str]:
    """Return the keys that all seeds of a fine-tuning have in common, though pre-training may change some of them."""
    return frozenset({"train.steps", *(key.name for key in keys() if key.name.startswith("optimizer."))})


def _task_differences(
    before: Tasks, after: Tasks, free: Collection[str], bound: Collection[str]
) -> Iterator[Difference]:
    """Yield the differences between the tasks of two fine-tunings, key by key.

    A task that only one of them has is one difference, shown with the keys that were set.
    """
    for name in dict.fromkeys((*before, *after)):
        key = f"{_TASKS}.{name}"
        if name not in before or name not in after:
            was, now = (_as_set(tasks[name]) if name in tasks else _ABSENT for tasks in (before, after))
            yield Difference(key, was, now, key in free)
            continue
        for entry in entry_keys():
            field = entry.name.removeprefix(f"{_TASKS}.{NAME}.")
            was, now = (_value_of(task, field) for task in (before[name], after[name]))
            if was != now:
                dotted = f"{key}.{field}"
                may = (entry.free_on_resume and entry.name not in bound) or dotted in free
                yield Difference(dotted, was, now, may and _ABSENT not in (was, now))


def _value_of(task: TaskConfig, field: str) -> Any:
    """Return the value of a key of a task, which may be in a section of the task."""
    found: Any = task
    for name in field.split("."):
        found = getattr(found, name, _ABSENT)
    return found


def _as_set(task: TaskConfig) -> dict[str, Any]:
    """Return the keys of a task that were set, its kind first."""
    return {"kind": task.kind} | task.model_dump(exclude_defaults=True)


def format_differences(changes: Sequence[Difference]) -> str:
    """Return differences as ``key: old -> new``, separated by commas."""
    return ", ".join(f"{change.key}: {' -> '.join(_shown(change.old, change.new))}" for change in changes)


def _shown(old: Any, new: Any) -> tuple[str, str]:
    """Return both values as text, cut where they are long.

    Where the cut would leave out the difference, they are shown from a little before it.
    """
    first, second = _show(old), _show(new)
    if first != second:
        return first, second
    first, second = _show(old, _WHOLE), _show(new, _WHOLE)
    common = next((at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), len(first))
    start = max(0, common - 20)
    return f"…{first[start : start + 60]}", f"…{second[start : start + 60]}"


def _show(value: Any, longest: int = 80) -> str:
    if isinstance(value, BaseModel):  # a section that is a value, such as two files of parallel lines
        value = value.model_dump(exclude_none=True)
    return "(absent)" if value is _ABSENT else value if isinstance(value, str) else show(value, longest)


def _flatten(values: Mapping[str, Any], known: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Return values by dotted key; a mapping that is the value of a ``known`` key is left whole."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and f"{prefix}{key}" not in known:
            flat |= _flatten(value, known, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
