"""Configurations as earlier versions wrote them, with every key that there was, brought to today's schema.

A run of an earlier version wrote down all keys, also those that it never read. A key that was not read decided
nothing, so it is left out: the run goes on as what it was.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.config.fields import FINETUNING
from electra_jax.config.finetuning import FinetuneConfig
from electra_jax.config.keys import entries_of, keys, kind_of
from electra_jax.config.schema import kind_of_run
from electra_jax.config.tasks import BENCHMARK_KINDS

# What every version wrote; whoever writes a file by hand does not give all of these.
_SECTIONS = frozenset({"seed", "init_from", "data", "tokenizer", "model", "objective", "optimizer", "train"})
_OPTIMIZER = frozenset(
    {
        "kind",
        "learning_rate",
        "schedule",
        "warmup_steps",
        "weight_decay",
        "beta1",
        "beta2",
        "epsilon",
        "clip_norm",
    }
)
# In fine-tuning these were always worked out from the examples, whatever was set.
_DERIVED = ("train.steps", "train.eval_every", "train.keep_checkpoints", "optimizer.warmup_steps")


def is_complete(values: Mapping[str, Any]) -> bool:
    """Return whether a program wrote these values, with every key, and not a person by hand."""
    optimizer = values.get("optimizer")
    return values.keys() >= _SECTIONS and isinstance(optimizer, Mapping) and optimizer.keys() >= _OPTIMIZER


def upgrade(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return values of an earlier version without the keys that their run never read; other values as they are."""
    kind = kind_of_run(values)
    unread = [key.name for key in keys() if kind not in key.runs and not key.in_objective]
    if not is_complete(values) or not _has_unread_section(values, unread):
        return values
    kept = without_keys(values, unread)
    finetune = kept.get("finetune")
    if kind not in FINETUNING or not isinstance(finetune, Mapping):
        return kept
    tasks = finetune.get("tasks")
    if isinstance(tasks, Mapping):
        own = {name: _keys_of_its_kind(name, task) for name, task in tasks.items()}
        kept = {**kept, "finetune": {**finetune, "tasks": own}}
    if kept["train"].get("steps") is not None and finetune.get("epochs") is not None:
        kept = without_keys(kept, _DERIVED)
    return kept


def _has_unread_section(values: Mapping[str, Any], unread: Sequence[str]) -> bool:
    """Return whether a whole section is there that this kind of run never reads, as earlier versions wrote it.

    A section with one or two keys, as a user might have set by mistake, does not count.
    """
    read = {key.name.partition(".")[0] for key in keys() if key.name not in unread}
    sections = {name.partition(".")[0] for name in unread} - read
    return any(isinstance(given := values.get(name), Mapping) and len(given) > 2 for name in sections)


def without_keys(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return plain values without some dotted keys, and without sections inside sections that they leave empty."""
    kept = dict(values)
    inside: dict[str, list[str]] = {}
    for name in names:
        section, dot, key = name.partition(".")
        if not dot:
            kept.pop(section, None)
        elif isinstance(kept.get(section), Mapping):
            inside.setdefault(section, []).append(key)
    for section, some in inside.items():
        kept[section] = without_keys(kept[section], some)
        for key in {name.partition(".")[0] for name in some if "." in name}:
            if kept[section].get(key) == {}:
                del kept[section][key]
    return kept


def _keys_of_its_kind(name: str, task: Any) -> Any:
    """Return a task without the keys of other kinds, which it had before each kind got a section of its own."""
    if not isinstance(task, Mapping):
        return task
    kind = task.get("kind") or BENCHMARK_KINDS.get(name)
    every = entries_of(FinetuneConfig.model_fields["tasks"].annotation)
    own = next((section.model_fields for section in every if kind_of(section) == kind), None)
    if own is None:
        return task
    others = {key for section in every for key in section.model_fields} - set(own)
    return {key: value for key, value in task.items() if key not in others}
