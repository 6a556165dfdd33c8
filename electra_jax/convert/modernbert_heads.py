"""Heads of fine-tuned ModernBERTs, which are those of ``model.block=modern`` with ``finetune.head_style=huggingface``.

All have the same tensors, and so has the discriminator's: the class that config.json names tells them apart, and of
`ModernBertForTokenClassification` the number of labels, of which a discriminator has one and a tagger several.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from electra_jax.config.blocks import task_pooling
from electra_jax.config.schema import Config
from electra_jax.convert.head_outputs import check_outputs, question_settings, tag_settings, text_settings
from electra_jax.convert.modernbert_config import HEAD_ARCHITECTURES, is_fine_tuned
from electra_jax.convert.names import Row, modern_head_rows
from electra_jax.errors import UserError
from electra_jax.model.pooling import Pooling
from electra_jax.tasks.settings import TaskSettings

# Which kinds read one state for a whole text, and what it is called there.
_POOLED = ("classification", "regression", "multiple_choice")
_POOLING = "classifier_pooling"
_POOLINGS: Mapping[Any, Pooling] = {"cls": "first", "mean": "mean"}


def modern_head(
    named: str | None, settings: Mapping[str, Any], tensors: Mapping[str, np.ndarray], where: str
) -> tuple[TaskSettings, tuple[str, ...]] | None:
    """Return what the outputs of a folder's head mean, and notes on it; None if it is not fine-tuned.

    Args:
        named: the class that config.json names.
        settings: its content.
        tensors: of the network.
        where: the folder, for messages.

    Raises:
        UserError: classes that config.json does not name, or a pooling that there is not here.
    """
    if not is_fine_tuned(named, tensors):
        return None
    if settings.get(_POOLING, "cls") not in _POOLINGS:
        raise UserError(
            f"{where}: {_POOLING} is {settings[_POOLING]!r}, but must be one of: {', '.join(_POOLINGS)}"
        )
    if named == HEAD_ARCHITECTURES["multiple_choice"]:
        return TaskSettings(kind="multiple_choice"), ()
    check_outputs(settings, tensors, where)
    if named == HEAD_ARCHITECTURES["question_answering"]:
        return question_settings(settings), ()
    if named == HEAD_ARCHITECTURES["tagging"]:
        return tag_settings(settings, where)
    return text_settings(settings, where), ()


def modern_rows(task: str) -> tuple[Row, ...]:
    """Return the names of a head, ours and theirs."""
    return tuple(modern_head_rows(f"heads/{task}"))


def modern_shapes(task: str, outputs: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of its parameters by our names."""
    shapes: dict[str, tuple[int, ...]] = {
        "dense/kernel": (hidden_size, hidden_size),
        "layer_norm/scale": (hidden_size,),
        "prediction/kernel": (hidden_size, outputs),
        "prediction/bias": (outputs,),
    }
    return {f"heads/{task}/{name}": shape for name, shape in shapes.items()}


def modern_task_section(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the section of a task has besides what it has for ELECTRA: what stands for a text."""
    return {"pooling": _POOLINGS[settings.get(_POOLING, "cls")]} if kind in _POOLED else {}


def modern_head_json(config: Config, task: str, kind: str) -> dict[str, Any]:
    """Return the same as an entry of config.json."""
    if kind not in _POOLED:
        return {}
    pooling = task_pooling(config.finetune.tasks[task], config.model)
    return {_POOLING: next(theirs for theirs, ours in _POOLINGS.items() if ours == pooling)}
