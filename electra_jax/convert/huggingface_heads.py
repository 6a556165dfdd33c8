"""Heads of fine-tuned models: `ElectraForSequenceClassification`, `…TokenClassification` and the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from electra_jax.config.schema import Config
from electra_jax.convert.names import Row
from electra_jax.errors import UserError
from electra_jax.tasks.settings import TaskSettings, can_be_exported
from electra_jax.tasks.tag_detection import DetectedTags, detect_tags, scheme_from_labels

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
# Keys of our own in config.json, which `transformers` keeps and ignores: thresholds of SQuAD 2.0 and of multi-label.
THRESHOLD = "null_score_diff_threshold"
LABEL_THRESHOLD = "multi_label_threshold"


@dataclass(frozen=True)
class Head:
    """The head of one task.

    Attributes:
        task: our name of it, below ``heads/``.
        settings: the meaning of its outputs.
        notes: on how they were read.
    """

    task: str
    settings: TaskSettings
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """Its names, ours and Hugging Face's."""
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
    names = set(tensors)
    if any(name.startswith("discriminator_predictions.") for name in names):
        return None
    if "sequence_summary.summary.weight" in names:
        _check_summary(settings, where)
        return Head("multiple_choice", TaskSettings(kind="multiple_choice"))
    _check_outputs(settings, tensors, where)
    if "qa_outputs.weight" in names:
        threshold = settings.get(THRESHOLD)
        return Head(
            "question_answering", TaskSettings(kind="question_answering", no_answer_threshold=threshold)
        )
    if "classifier.weight" in names:
        labels = _labels(settings, where)
        found = _tag_format(labels)
        values: dict[str, Any] = {
            "scheme": found.scheme,
            "spelling": found.spelling.name,
            "learned": "labels",
        }
        notes: tuple[str, ...] = ()
        if found.scheme != "plain" and found.odd:
            odd = ", ".join(repr(label) for label in labels if label in found.odd)
            notes = (f"{where}: the labels {odd} spell no span as the others do: they count as no entity",)
        return Head("tagging", TaskSettings(kind="tagging", labels=labels, classes=labels, **values), notes)
    if "classifier.out_proj.weight" not in names:
        return None
    labels = _labels(settings, where)
    problem = _problem_type(settings, labels, where)
    if problem == "regression":
        return Head("regression", TaskSettings(kind="regression"))
    several = problem == "multi_label_classification"
    return Head(
        "classification",
        TaskSettings(
            kind="classification",
            labels=labels,
            classes=labels,
            multi_label=several,
            threshold=settings.get(LABEL_THRESHOLD) if several else None,
        ),
    )


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


def _problem_type(settings: Mapping[str, Any], labels: Sequence[str], where: str) -> str:
    """Return what the outputs of a classification or regression head mean.

    Where config.json does not say, a single output is a number.

    Raises:
        UserError: a meaning that does not exist, or that does not fit the number of outputs: another one would be
            assumed silently.
    """
    known = ("regression", "single_label_classification", "multi_label_classification")
    problem = settings.get("problem_type")
    if problem is None:
        return known[0] if len(labels) == 1 else known[1]
    if problem not in known:
        raise UserError(
            f"{where}: problem_type is {problem!r}, but must be null or one of: {', '.join(known)}"
        )
    if problem == "regression" and len(labels) > 1:
        raise UserError(
            f"{where}: problem_type is regression with {len(labels)} outputs, but a regression here has one number: "
            "keep one output, or set problem_type if these are classes"
        )
    if problem == "single_label_classification" and len(labels) == 1:
        raise UserError(
            f"{where}: problem_type is single_label_classification with one label, which is always the answer: set it "
            "to regression or multi_label_classification, whichever the output means"
        )
    return str(problem)


def _check_outputs(settings: Mapping[str, Any], tensors: Mapping[str, np.ndarray], where: str) -> None:
    """Refuse more labels than the head has outputs, before any is named.

    Raises:
        UserError: more labels than outputs; or config.json has something of the wrong type for a head.
    """
    named = settings.get("id2label")
    count = len(named) if isinstance(named, dict) else settings.get("num_labels", 2)
    for name in ("classifier.weight", "classifier.out_proj.weight"):
        outputs = max((1, *tensors[name].shape[:1])) if name in tensors else None
        if outputs is not None and (type(count) is not int or not 0 <= count <= outputs):
            raise UserError(
                f"{where} names {count!r} labels, and {name} has {outputs} outputs: put num_labels and id2label right"
            )
    threshold = settings.get(THRESHOLD, 0.0)
    if threshold is not None and (type(threshold) not in (int, float) or not -1e30 < threshold < 1e30):
        raise UserError(f"{where}: {THRESHOLD} is {threshold!r}, but must be a number or null")
    share = settings.get(LABEL_THRESHOLD)
    if share is not None and (type(share) is not float or not 0 < share < 1):
        raise UserError(f"{where}: {LABEL_THRESHOLD} is {share!r}, but must be between 0 and 1, or null")


def _labels(settings: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Return id2label in the order of its numbers.

    Without id2label there are ``num_labels`` numbered labels, two by default, as in `transformers`.
    """
    named = settings.get("id2label")
    if named is None:
        return tuple(f"LABEL_{number}" for number in range(settings.get("num_labels", 2)))
    problem = UserError(f"{where}: id2label does not name the classes 0, 1, … one by one: put that right")
    if not isinstance(named, dict) or not all(isinstance(label, str) for label in named.values()):
        raise problem
    if set(named) != {str(number) for number in range(len(named))} or len(set(named.values())) != len(named):
        raise problem
    return tuple(named[str(number)] for number in range(len(named)))


def _tag_format(labels: Sequence[str]) -> DetectedTags:
    """Return how a model's labels spell spans; "plain" if most are not spans.

    Labels that are not spans (``X``, ``[PAD]``) are not counted. A list may lack tags: a model trained on IOB1 often
    has no ``B-`` of some type.
    """
    found = detect_tags([labels])
    if found.scheme == "plain" and not found.mostly_spans:
        return DetectedTags("plain")
    return replace(
        found, scheme=scheme_from_labels([x for x in labels if x not in found.odd], found.spelling)
    )


def task_sections(head: Head, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections ``objective`` and ``finetune`` of the configuration of a folder with this config.json."""
    task: dict[str, Any] = {"kind": head.settings.kind}
    if head.settings.kind == "classification":
        task["labels"] = list(head.settings.labels)
        task["multi_label"] = head.settings.multi_label
    dropout = settings.get("classifier_dropout")
    if head.settings.kind == "multiple_choice":
        dropout = settings.get(_SUMMARY_DROPOUT, 0.1)
    return {
        "objective": {"kind": "finetune"},
        "finetune": {
            "tasks": {head.task: task},
            "head_style": "huggingface",
            "head_dropout": settings["hidden_dropout_prob"] if dropout is None else dropout,
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
    if head.settings.kind not in kinds or f"{scope}/dense/kernel" in parameters:
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


def head_config_json(head_dropout: float, head: Head) -> dict[str, Any]:
    """Return the entries of config.json that describe the head."""
    settings = head.settings
    described: dict[str, Any] = {
        "classifier_dropout": head_dropout,
        "finetuning_task": head.task,
    }
    classes = settings.classes
    if settings.kind == "multiple_choice":
        described |= {**_SUMMARY, _SUMMARY_DROPOUT: head_dropout}
    if settings.kind == "regression":
        described["problem_type"], classes = "regression", ("LABEL_0",)
    elif settings.kind == "classification":
        several = settings.multi_label
        described["problem_type"] = f"{'multi' if several else 'single'}_label_classification"
        if settings.threshold is not None:
            described[LABEL_THRESHOLD] = settings.threshold
    if classes:
        described["id2label"] = {str(number): label for number, label in enumerate(classes)}
        described["label2id"] = {label: number for number, label in enumerate(classes)}
    if settings.no_answer_threshold is not None:
        described[THRESHOLD] = settings.no_answer_threshold
    return described


def heads_from_settings(tasks: Mapping[str, TaskSettings]) -> list[Head]:
    """Return the heads of a model of ours."""
    return [Head(name, settings) for name, settings in tasks.items()]
