"""Heads of fine-tuned models: `ElectraForSequenceClassification`, `…TokenClassification` and the others.

Those of modern blocks, ModernBERT's, have other names and a pooling: `modernbert_heads`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from electra_jax.config.schema import Config
from electra_jax.convert.head_outputs import (
    check_outputs,
    outputs_json,
    question_settings,
    tag_settings,
    text_settings,
)
from electra_jax.convert.huggingface_config import declared_class
from electra_jax.convert.modernbert_config import HEAD_ARCHITECTURES as MODERN_ARCHITECTURES
from electra_jax.convert.modernbert_heads import (
    modern_head,
    modern_head_json,
    modern_rows,
    modern_shapes,
    modern_task_section,
)
from electra_jax.convert.names import Row
from electra_jax.errors import UserError
from electra_jax.model.block import BlockKind
from electra_jax.tasks.settings import TaskSettings, can_be_exported

Kind = Literal["classification", "regression", "tagging", "question_answering", "multiple_choice"]

ARCHITECTURES: dict[str, str] = {
    "classification": "ElectraForSequenceClassification",
    "regression": "ElectraForSequenceClassification",
    "tagging": "ElectraForTokenClassification",
    "question_answering": "ElectraForQuestionAnswering",
    "multiple_choice": "ElectraForMultipleChoice",
}
# The modules of a head, our names and Hugging Face's.
_SEQUENCE = (("dense", "classifier.dense"), ("prediction", "classifier.out_proj"))
_MODULES: dict[str, tuple[tuple[str, str], ...]] = {
    "classification": _SEQUENCE,
    "regression": _SEQUENCE,
    "tagging": (("prediction", "classifier"),),
    "question_answering": (("prediction", "qa_outputs"),),
    "multiple_choice": (("dense", "sequence_summary.summary"), ("prediction", "classifier")),
}


@dataclass(frozen=True)
class Head:
    """The head of one task.

    Attributes:
        task: our name of it, below ``heads/``.
        settings: the meaning of its outputs.
        notes: on how they were read.
        block: of its encoder, whose heads it is one of.
    """

    task: str
    settings: TaskSettings
    notes: tuple[str, ...] = ()
    block: BlockKind = "bert"

    @property
    def architecture(self) -> str:
        """The class of Hugging Face that has such heads."""
        return (MODERN_ARCHITECTURES if self.block == "modern" else ARCHITECTURES)[self.settings.kind]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Its names, ours and Hugging Face's."""
        if self.block == "modern":
            return modern_rows(self.task)
        scope = f"heads/{self.task}"
        return tuple(
            row
            for ours, theirs in _MODULES[self.settings.kind]
            for row in (
                Row(f"{scope}/{ours}/kernel", f"{theirs}.weight", transposed=True),
                Row(f"{scope}/{ours}/bias", f"{theirs}.bias"),
            )
        )

    def shapes(self, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of its parameters by our names."""
        outputs = 2 if self.settings.kind == "question_answering" else max(1, len(self.settings.classes))
        if self.block == "modern":
            return modern_shapes(self.task, outputs, hidden_size)
        shapes: dict[str, tuple[int, ...]] = {}
        for ours, _ in _MODULES[self.settings.kind]:
            width = outputs if ours == "prediction" else hidden_size
            shapes |= {
                f"heads/{self.task}/{ours}/kernel": (hidden_size, width),
                f"heads/{self.task}/{ours}/bias": (width,),
            }
        return shapes


def detect_head(settings: Mapping[str, Any], tensors: Mapping[str, np.ndarray], where: str) -> Head | None:
    """Return the head of a folder with this config.json and tensors of these names; None if it is not fine-tuned.

    The task is named after its kind. Tags that spell spans keep their scheme.

    Args:
        settings: the content of config.json.
        tensors: of the network.
        where: the folder, for messages.

    Raises:
        UserError: classes that config.json does not name.
    """
    if settings.get("block") == "modern":
        found = modern_head(declared_class(settings), settings, tensors, where)
        return None if found is None else Head(found[0].kind, *found, block="modern")
    names = set(tensors)
    if any(name.startswith("discriminator_predictions.") for name in names):
        return None
    if "sequence_summary.summary.weight" in names:
        _check_summary(settings, where)
        return Head("multiple_choice", TaskSettings(kind="multiple_choice"))
    check_outputs(settings, tensors, where)
    if "qa_outputs.weight" in names:
        return Head("question_answering", question_settings(settings))
    if "classifier.weight" in names:
        tags, notes = tag_settings(settings, where)
        return Head("tagging", tags, notes)
    if "classifier.out_proj.weight" not in names:
        return None
    text = text_settings(settings, where)
    return Head(text.kind, text)


# How `ElectraForMultipleChoice` makes one vector of a text, unless config.json says otherwise.
_SUMMARY = {"summary_type": "first", "summary_use_proj": True, "summary_activation": "gelu"}
_SUMMARY_DROPOUT = "summary_last_dropout"


def _check_summary(settings: Mapping[str, Any], where: str) -> None:
    """Refuse a summary of another kind than ours, which would be computed as ours.

    Raises:
        UserError: it is of another kind.
    """
    for key, value in _SUMMARY.items():
        if settings.get(key, value) != value:
            raise UserError(
                f"{where}: {key} is {settings[key]!r}, but a head of multiple choice here has {value!r}: fine-tune the "
                "encoder here instead"
            )
    rate = settings.get(_SUMMARY_DROPOUT)
    if rate is not None and (type(rate) not in (int, float) or not 0 <= rate < 1):
        raise UserError(f"{where}: {_SUMMARY_DROPOUT} is {rate!r}, but must be a rate from 0 up to below 1")


def task_sections(head: Head, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections ``objective`` and ``finetune`` of the configuration of a folder with this config.json."""
    task: dict[str, Any] = {"kind": head.settings.kind}
    if head.settings.kind == "classification":
        task["labels"] = list(head.settings.labels)
        task["multi_label"] = head.settings.multi_label
    dropout = settings.get("classifier_dropout")
    usual = settings["hidden_dropout_prob"]
    if head.block == "modern":
        task |= modern_task_section(head.settings.kind, settings)
        usual = 0.0
    elif head.settings.kind == "multiple_choice":
        dropout = settings.get(_SUMMARY_DROPOUT, 0.1)
    return {
        "objective": {"kind": "finetune"},
        "finetune": {
            "tasks": {head.task: task},
            "head_style": "huggingface",
            "head_dropout": usual if dropout is None else dropout,
        },
    }


def check_exportable(config: Config, head: Head) -> None:
    """Refuse a head whose outputs no class of Hugging Face computes, such as the original's for questions.

    Raises:
        UserError: there is no such class.
    """
    if head.settings.kind == "ranking":
        raise UserError(
            f"{head.task} ranks candidates, for which Hugging Face's transformers has no class: use it here, with "
            "predict or electra_jax.load; the vectors of a bi-encoder go out with --to sentence_transformers"
        )
    if head.block == "modern":
        if config.finetune.head_style == "huggingface":
            return
        raise UserError(
            f"the head of {head.task} is the original's, and Hugging Face's ModernBERT has a layer with a LayerNorm "
            "before the last one: train with finetune.head_style=huggingface to export it"
        )
    pooling = getattr(config.finetune.tasks[head.task], "pooling", None)
    if pooling == "mean":
        raise UserError(
            f"{head.task} reads the mean over the tokens, and Hugging Face's classes for ELECTRA the state of [CLS]: "
            f"train with finetune.tasks.{head.task}.pooling=first to export it"
        )
    if not can_be_exported(config.finetune.head_style, head.settings, config.model.hidden_size):
        raise UserError(
            f"the head of {head.task} has the original's shape, which no class of Hugging Face computes: train with "
            "finetune.head_style=huggingface to export it"
        )


def with_hidden_layer(head: Head, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the original's linear head with Hugging Face's hidden layer and the same logits, where theirs has one.

    gelu(x) - gelu(-x) is x: a hidden layer of x and -x, whose difference is the prediction, is linear. The rest of the
    hidden layer is 0.
    """
    scope = f"heads/{head.task}"
    kinds = ("classification", "regression", "multiple_choice")
    if head.block == "modern" or head.settings.kind not in kinds or f"{scope}/dense/kernel" in parameters:
        return dict(parameters)
    kernel, bias = parameters[f"{scope}/prediction/kernel"], parameters[f"{scope}/prediction/bias"]
    width, outputs = kernel.shape
    both, taken = np.eye(outputs, width, dtype=kernel.dtype), np.eye(width, outputs, dtype=kernel.dtype)
    both, taken = both - np.roll(both, outputs, axis=1), taken - np.roll(taken, outputs, axis=0)
    return {
        **parameters,
        f"{scope}/dense/kernel": kernel @ both,
        f"{scope}/dense/bias": bias @ both,
        f"{scope}/prediction/kernel": taken,
        f"{scope}/prediction/bias": np.zeros_like(bias),
    }


def on_label_scale(head: Head, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a regression head that predicts the number itself, as others expect.

    Ours predicts its place between the least and the greatest training label.
    """
    low, high = head.settings.low, head.settings.high
    if head.settings.kind != "regression" or (low, high) == (0.0, 1.0):
        return dict(parameters)
    span = np.float32((high - low) or 1.0)
    kernel, bias = (f"heads/{head.task}/prediction/{leaf}" for leaf in ("kernel", "bias"))
    return {
        **parameters,
        kernel: parameters[kernel] * span,
        bias: parameters[bias] * span + np.float32(low),
    }


def head_config_json(config: Config, head: Head) -> dict[str, Any]:
    """Return the entries of config.json that describe the head."""
    head_dropout = config.finetune.head_dropout
    described: dict[str, Any] = {"classifier_dropout": head_dropout, "finetuning_task": head.task}
    if head.block == "modern":
        described |= modern_head_json(config, head.task, head.settings.kind)
    elif head.settings.kind == "multiple_choice":
        described |= {**_SUMMARY, _SUMMARY_DROPOUT: head_dropout}
    return described | outputs_json(head.settings)


def heads_from_settings(tasks: Mapping[str, TaskSettings], block: BlockKind) -> list[Head]:
    """Return the heads of a model of ours."""
    return [Head(name, settings, block=block) for name, settings in tasks.items()]
