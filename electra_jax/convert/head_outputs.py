"""What the outputs of a fine-tuned head mean, out of a config.json of Hugging Face and into it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.tasks.settings import TaskSettings
from electra_jax.tasks.tag_detection import DetectedTags, detect_tags, scheme_from_labels

# Keys of our own in config.json, which `transformers` keeps and ignores: thresholds of SQuAD 2.0 and of multi-label.
THRESHOLD = "null_score_diff_threshold"
LABEL_THRESHOLD = "multi_label_threshold"


def text_settings(settings: Mapping[str, Any], where: str) -> TaskSettings:
    """Return what a head says of a text by this config.json: a class, any number of classes, or a number.

    Raises:
        UserError: classes that config.json does not name, or a meaning that does not fit them.
    """
    labels = _labels(settings, where)
    problem = _problem_type(settings, labels, where)
    if problem == "regression":
        return TaskSettings(kind="regression")
    several = problem == "multi_label_classification"
    return TaskSettings(
        kind="classification",
        labels=labels,
        classes=labels,
        multi_label=several,
        threshold=settings.get(LABEL_THRESHOLD) if several else None,
    )


def tag_settings(settings: Mapping[str, Any], where: str) -> tuple[TaskSettings, tuple[str, ...]]:
    """Return what a head says of each word by this config.json, and notes on it. Tags of spans keep their scheme.

    Raises:
        UserError: classes that config.json does not name.
    """
    labels = _labels(settings, where)
    found = _tag_format(labels)
    notes: tuple[str, ...] = ()
    if found.scheme != "plain" and found.odd:
        odd = ", ".join(repr(label) for label in labels if label in found.odd)
        notes = (f"{where}: the labels {odd} spell no span as the others do: they count as no entity",)
    made = TaskSettings(
        kind="tagging",
        labels=labels,
        classes=labels,
        scheme=found.scheme,
        spelling=found.spelling.name,
        learned="labels",
    )
    return made, notes


def question_settings(settings: Mapping[str, Any]) -> TaskSettings:
    """Return what a head says of a question and its context by this config.json."""
    return TaskSettings(kind="question_answering", no_answer_threshold=settings.get(THRESHOLD))


def outputs_json(settings: TaskSettings) -> dict[str, Any]:
    """Return the entries of config.json that say what the outputs of a head mean."""
    described: dict[str, Any] = {}
    classes = settings.classes
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


def check_outputs(settings: Mapping[str, Any], tensors: Mapping[str, np.ndarray], where: str) -> None:
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
