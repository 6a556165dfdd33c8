"""From configuration and examples to a task."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax.numpy as jnp

from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.tasks.classification import ClassificationTask
from electra_jax.tasks.multi_label import MultiLabelTask
from electra_jax.tasks.protocol import Example, Task, TextExample, WordsExample
from electra_jax.tasks.question_answering import QuestionAnsweringTask
from electra_jax.tasks.settings import TaskSettings
from electra_jax.tasks.sources import BENCHMARKS, kind_of, labels_of, warnings_of
from electra_jax.tasks.tag_schemes import Scheme, spelling_named
from electra_jax.tasks.tagging import TaggingTask, tag_format
from electra_jax.tokenizers import Tokenizer

Splits = Mapping[str, Sequence[Example]]


def settings_of(name: str, config: Config, splits: Splits) -> tuple[TaskSettings, list[str]]:
    """What a task must remember of its examples, and warnings about them.

    Raises:
        UserError: labels that cannot be used.
    """
    task = config.finetune.tasks[name]
    kind = kind_of(name, task)
    labels: tuple[str, ...] = ()
    notes: list[str] = []
    values: dict[str, Any] = {}
    if kind in ("classification", "tagging"):
        labels = labels_of(task, BENCHMARKS.get(name), splits["train"])
        if kind == "tagging":
            tagged = [example for example in splits["train"] if isinstance(example, WordsExample)]
            found, notes = tag_format(name, tagged, task.scheme)
            values = {"scheme": found.scheme, "spelling": found.spelling.name}
    elif kind == "regression":
        numbers = [
            float(e.label)
            for e in splits["train"]
            if isinstance(e, TextExample) and not isinstance(e.label, tuple | None)
        ]
        values = {"low": min(numbers), "high": max(numbers)}
    settings = TaskSettings(
        kind=kind,
        labels=labels,
        multi_label=task.multi_label,
        threshold=None if task.threshold == "tune" else task.threshold,
        **values,
    )
    return settings, [*notes, *warnings_of(splits)]


def build_task(name: str, settings: TaskSettings, config: Config, tokenizer: Tokenizer) -> Task:
    """The task ``finetune.tasks.<name>``.

    Raises:
        UserError: options that do not fit.
    """
    task, recipe = config.finetune.tasks[name], config.finetune
    shared: dict[str, Any] = {
        "name": name,
        "tokenizer": tokenizer,
        "max_length": config.data.sequence_length,
        "head_style": recipe.head_style,
        "head_dropout": recipe.head_dropout,
        "dtype": jnp.dtype(config.compute.dtype),
        "initializer_range": config.model.initializer_range,
    }
    if task.positive is not None and settings.kind != "classification":
        raise UserError(
            f"finetune.tasks.{name}.positive is for classification, not {settings.kind}: leave it out"
        )
    if settings.kind == "question_answering":
        return QuestionAnsweringTask(
            config=task,
            no_answer_threshold=settings.no_answer_threshold,
            reference_quirks=recipe.reference_quirks,
            **shared,
        )
    benchmark = BENCHMARKS.get(name)
    if settings.kind == "tagging":
        return TaggingTask(
            file_labels=settings.labels,
            scheme=cast(Scheme, settings.scheme),
            spelling=spelling_named(settings.spelling),
            learned=settings.learned,
            chosen_metric=task.metric,
            **shared,
        )
    swap = (benchmark is not None and benchmark.swap_pairs) if task.swap_pairs is None else task.swap_pairs
    if settings.multi_label:
        return MultiLabelTask(
            labels=settings.labels,
            chosen_metric=task.metric,
            threshold=settings.threshold,
            tunes_threshold=task.threshold == "tune",
            swap_pairs=swap,
            **shared,
        )
    known = benchmark.metrics if benchmark is not None and benchmark.kind == settings.kind else ()
    if not known:
        known = ("spearman", "pearson") if settings.kind == "regression" else ("accuracy", "f1")
    metrics = known if task.metric is None else (task.metric, *(m for m in known if m != task.metric))
    return ClassificationTask(
        kind=settings.kind,
        labels=settings.labels,
        metrics=metrics,
        low=settings.low,
        high=settings.high,
        swap_pairs=swap,
        positive=task.positive,
        **shared,
    )
