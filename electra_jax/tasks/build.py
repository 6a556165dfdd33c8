"""From configuration and examples to a task: one table with a row for each kind of task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import jax.numpy as jnp

from electra_jax.config.blocks import head_style, task_pooling
from electra_jax.config.ranking_task import RankingConfig
from electra_jax.config.schema import Config
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.config.task import TaskConfig, TaskKind
from electra_jax.config.tasks import (
    ClassificationConfig,
    MultipleChoiceConfig,
    QuestionAnsweringConfig,
    RegressionConfig,
    TaggingConfig,
    TextsConfig,
)
from electra_jax.errors import UserError
from electra_jax.generation.settings import check_vocabulary
from electra_jax.model.network_config import output_initializer_range, text_decoder_config
from electra_jax.model.text_decoder import TextDecoder
from electra_jax.tasks.classification import ClassificationTask
from electra_jax.tasks.multi_label import MultiLabelTask
from electra_jax.tasks.multiple_choice import MultipleChoiceTask
from electra_jax.tasks.protocol import Example, Task, TextExample, WordsExample
from electra_jax.tasks.question_answering import QuestionAnsweringTask
from electra_jax.tasks.ranking import RankingTask
from electra_jax.tasks.seq2seq import Seq2SeqTask
from electra_jax.tasks.settings import TaskSettings
from electra_jax.tasks.sources import BENCHMARKS, collect_labels, example_warnings
from electra_jax.tasks.tag_schemes import Scheme, spelling_by_name
from electra_jax.tasks.tagging import TaggingTask, tag_format
from electra_jax.tasks.text_metrics import check_selecting, check_text_metrics
from electra_jax.tokenizers import Tokenizer

Splits = Mapping[str, Sequence[Example]]
LearnedSettings = tuple[dict[str, Any], list[str]]  # fields of `TaskSettings`, and warnings


@dataclass(frozen=True)
class Kind:
    """How tasks of one kind are made.

    Attributes:
        learn: (name, section, examples) → the fields of `TaskSettings` that follow from the examples, and warnings.
        build: (section, settings, configuration, arguments that all tasks take) → the task.
    """

    learn: Callable[[str, Any, Splits], LearnedSettings]
    build: Callable[[Any, TaskSettings, Config, dict[str, Any]], Task]


def learn_settings(name: str, config: TaskConfig, splits: Splits) -> tuple[TaskSettings, list[str]]:
    """Return what a task must remember of its examples, and warnings about them.

    Args:
        name: of the task.
        config: its section of the configuration.
        splits: its examples, by split.

    Raises:
        UserError: labels that cannot be used.
    """
    values, notes = KINDS[config.kind].learn(name, config, splits)
    return TaskSettings(kind=config.kind, **values), [*notes, *example_warnings(splits)]


def build_task(name: str, settings: TaskSettings, config: Config, tokenizer: Tokenizer) -> Task:
    """Build the task ``finetune.tasks.<name>``.

    Args:
        name: of the task.
        settings: what was learned from its examples.
        config: the whole configuration.
        tokenizer: encodes its texts.

    Raises:
        UserError: options that do not fit.
    """
    task = config.finetune.tasks[name]
    if task.kind != settings.kind:
        raise UserError(
            f"finetune.tasks.{name}.kind is {task.kind}, but the model was trained for {settings.kind}: set it back"
        )
    shared: dict[str, Any] = {
        "name": name,
        "tokenizer": tokenizer,
        "max_length": config.data.sequence_length,
    }
    return KINDS[task.kind].build(task, settings, config, shared)


def _head_settings(config: Config) -> dict[str, Any]:
    """Return the arguments of the tasks whose heads say something of what is read."""
    finetune, model = config.finetune, config.model
    return {
        "head_style": head_style(finetune, model),
        "head_dropout": finetune.head_dropout,
        "dtype": jnp.dtype(config.compute.dtype),
        "initializer_range": output_initializer_range(model, model.num_layers),
        "layer_norm_epsilon": model.layer_norm_epsilon,
    }


def _pooled_head_settings(config: Config, task: TaskConfig) -> dict[str, Any]:
    """Return the same for those that say it of a whole text."""
    return {**_head_settings(config), "pooling": task_pooling(task, config.model)}


def _learn_classes(name: str, task: ClassificationConfig, splits: Splits) -> LearnedSettings:
    threshold = None if task.threshold == "tune" else task.threshold
    labels = collect_labels(task.labels, BENCHMARKS.get(name), splits["train"])
    return {"labels": labels, "multi_label": task.multi_label, "threshold": threshold}, []


def _build_classification(
    task: ClassificationConfig, settings: TaskSettings, config: Config, shared: dict[str, Any]
) -> Task:
    if settings.multi_label:
        return MultiLabelTask(
            labels=settings.labels,
            chosen_metric=task.metric,
            threshold=settings.threshold,
            tune_threshold=task.threshold == "tune",
            swap_pairs=_swap_pairs(task, shared["name"]),
            **shared,
            **_pooled_head_settings(config, task),
        )
    return ClassificationTask(
        kind="classification",
        labels=settings.labels,
        metrics=_metrics(task, shared["name"], ("accuracy", "f1")),
        swap_pairs=_swap_pairs(task, shared["name"]),
        positive=task.positive,
        **shared,
        **_pooled_head_settings(config, task),
    )


def _learn_range(name: str, task: RegressionConfig, splits: Splits) -> LearnedSettings:
    del name, task
    numbers = [
        float(e.label)
        for e in splits["train"]
        if isinstance(e, TextExample) and not isinstance(e.label, tuple | None)
    ]
    return {"low": min(numbers), "high": max(numbers)}, []


def _build_regression(
    task: RegressionConfig, settings: TaskSettings, config: Config, shared: dict[str, Any]
) -> Task:
    return ClassificationTask(
        kind="regression",
        labels=(),
        metrics=_metrics(task, shared["name"], ("spearman", "pearson")),
        low=settings.low,
        high=settings.high,
        swap_pairs=_swap_pairs(task, shared["name"]),
        **shared,
        **_pooled_head_settings(config, task),
    )


def _learn_tags(name: str, task: TaggingConfig, splits: Splits) -> LearnedSettings:
    tagged = [example for example in splits["train"] if isinstance(example, WordsExample)]
    found, notes = tag_format(name, tagged, task.scheme)
    labels = collect_labels(task.labels, BENCHMARKS.get(name), splits["train"])
    return {"labels": labels, "scheme": found.scheme, "spelling": found.spelling.name}, notes


def _build_tagging(
    task: TaggingConfig, settings: TaskSettings, config: Config, shared: dict[str, Any]
) -> Task:
    return TaggingTask(
        file_labels=settings.labels,
        scheme=cast(Scheme, settings.scheme),
        spelling=spelling_by_name(settings.spelling),
        learned_scheme=settings.learned,
        chosen_metric=task.metric,
        **shared,
        **_head_settings(config),
    )


def _learn_nothing(name: str, task: TaskConfig, splits: Splits) -> LearnedSettings:
    del name, task, splits
    return {}, []


def _build_questions(
    task: QuestionAnsweringConfig, settings: TaskSettings, config: Config, shared: dict[str, Any]
) -> Task:
    return QuestionAnsweringTask(
        config=task,
        no_answer_threshold=settings.no_answer_threshold,
        reference_quirks=config.finetune.reference_quirks,
        **shared,
        **_head_settings(config),
    )


def _build_choice(
    task: MultipleChoiceConfig, settings: TaskSettings, config: Config, shared: dict[str, Any]
) -> Task:
    del settings
    return MultipleChoiceTask(chosen_metric=task.metric, **shared, **_pooled_head_settings(config, task))


def _build_ranking(
    task: RankingConfig, settings: TaskSettings, config: Config, shared: dict[str, Any]
) -> Task:
    del settings
    if task.positives_from == "dropout" and not (
        config.model.hidden_dropout or config.model.attention_dropout
    ):
        raise UserError(
            f"finetune.tasks.{shared['name']}.positives_from is dropout, but there is none, so the two readings of a "
            "text are the same: set model.hidden_dropout and model.attention_dropout to 0.1"
        )
    return RankingTask(
        config=task, hidden_size=config.model.hidden_size, **shared, **_pooled_head_settings(config, task)
    )


def _learn_seq2seq(name: str, task: Seq2SeqConfig, splits: Splits) -> LearnedSettings:
    """Learn nothing; but a metric that cannot be computed is refused before it is trained, and only then."""
    del splits
    metrics = _text_metrics(task)
    check_text_metrics(name, metrics)
    check_selecting(name, metrics[0])
    return {}, []


def _build_seq2seq(
    task: Seq2SeqConfig, settings: TaskSettings, config: Config, shared: dict[str, Any]
) -> Task:
    del settings
    tokenizer: Tokenizer = shared["tokenizer"]
    check_vocabulary(config.generation, tokenizer)
    return Seq2SeqTask(
        config=task,
        max_target_length=task.max_target_tokens or config.model.max_positions,
        generation=config.generation,
        max_positions=config.model.max_positions,
        metrics=_text_metrics(task),
        network=lambda: TextDecoder(text_decoder_config(config, task.decoder, tokenizer.vocab_size)),
        **shared,
    )


def _text_metrics(task: Seq2SeqConfig) -> tuple[str, ...]:
    """Return the metrics of texts, the one that selects first."""
    rouge = task.metric is not None and task.metric.startswith("rouge")
    usual = ("rouge1", "rouge2", "rougeL") if rouge else ("bleu", "chrf")
    named = tuple(task.metrics) if task.metrics is not None else usual
    first = task.metric or (named or usual)[0]
    return tuple(dict.fromkeys((first, *named)))


def _swap_pairs(task: TextsConfig, name: str) -> bool:
    benchmark = BENCHMARKS.get(name)
    return (benchmark is not None and benchmark.swap_pairs) if task.swap_pairs is None else task.swap_pairs


def _metrics(task: TextsConfig, name: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    """Return the metric that is set first, then those of the benchmark of this name, or the usual ones."""
    benchmark = BENCHMARKS.get(name)
    known = benchmark.metrics if benchmark is not None and benchmark.kind == task.kind else usual
    return known if task.metric is None else (task.metric, *(m for m in known if m != task.metric))


KINDS: Mapping[TaskKind, Kind] = MappingProxyType(
    {
        "classification": Kind(_learn_classes, _build_classification),
        "regression": Kind(_learn_range, _build_regression),
        "tagging": Kind(_learn_tags, _build_tagging),
        "question_answering": Kind(_learn_nothing, _build_questions),
        "multiple_choice": Kind(_learn_nothing, _build_choice),
        "ranking": Kind(_learn_nothing, _build_ranking),
        "seq2seq": Kind(_learn_seq2seq, _build_seq2seq),
    }
)
