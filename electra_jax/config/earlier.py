"""Configurations as earlier versions wrote them, with every key that there was, in the terms of today.

A run of an earlier version wrote down all keys, those that it never read among them. What was not read decided
nothing, so it is left out: the run goes on as what it was.
"""

from collections.abc import Mapping
from typing import Any

from electra_jax.config.keys import entries_of, kind_of
from electra_jax.config.schema import FinetuneConfig
from electra_jax.config.tasks import BENCHMARK_KINDS

# What every version wrote; whoever writes a file by hand does not give all of these.
_SECTIONS = frozenset(
    {"seed", "init_from", "data", "tokenizer", "model", "generator", "objective", "optimizer", "train"}
)
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


def is_whole(values: Mapping[str, Any]) -> bool:
    """Whether a program wrote these values, with every key, and no one by hand."""
    optimizer = values.get("optimizer")
    return values.keys() >= _SECTIONS and isinstance(optimizer, Mapping) and optimizer.keys() >= _OPTIMIZER


def brought_up(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Whole values without what their run never read; others as they are."""
    finetune = values.get("finetune")
    if not is_whole(values) or not isinstance(finetune, Mapping):
        return values
    tasks = finetune.get("tasks")
    if isinstance(tasks, Mapping):
        finetune = {**finetune, "tasks": {name: _of_its_kind(name, task) for name, task in tasks.items()}}
    return {**values, "finetune": finetune}


def _of_its_kind(name: str, task: Any) -> Any:
    """A task without the keys of other kinds, which it had until each kind got a section of its own."""
    if not isinstance(task, Mapping):
        return task
    kind = task.get("kind") or BENCHMARK_KINDS.get(name)
    every = entries_of(FinetuneConfig.model_fields["tasks"].annotation)
    own = next((section.model_fields for section in every if kind_of(section) == kind), None)
    if own is None:
        return task
    others = {key for section in every for key in section.model_fields} - set(own)
    return {key: value for key, value in task.items() if key not in others}
