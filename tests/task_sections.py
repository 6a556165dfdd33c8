"""Sections of tasks for tests, as a configuration would have them."""

from electra_jax.config.finetuning import FinetuneConfig
from electra_jax.config.tasks import BENCHMARK_KINDS


def task_section(name="mine", **values):
    """``finetune.tasks.NAME``; a classification where neither the keys nor the name say the kind."""
    values = {"kind": BENCHMARK_KINDS.get(name, "classification"), **values}
    return FinetuneConfig.model_validate({"tasks": {name: values}}).tasks[name]
