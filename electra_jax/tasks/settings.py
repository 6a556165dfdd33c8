"""What a trained model must remember of a task's examples; kept beside its parameters in tasks.json."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter

from electra_jax.config.task import TaskConfig, TaskKind
from electra_jax.errors import UserError
from electra_jax.files.file_names import is_file_name
from electra_jax.files.json_files import write_json
from electra_jax.model.block import BlockKind
from electra_jax.tasks.tag_schemes import Scheme, spelling_by_name
from electra_jax.training.records import read_record

FILE = "tasks.json"


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What was learned from the examples of a task; tasks.json has these fields.

    The types are those that `read_settings` demands of a file.

    Attributes:
        kind: of the task.
        labels: those of the training examples, in the order of their numbers.
        classes: the meaning of the head's outputs; for tags of entities they differ from ``labels``.
        low: the least label of a regression's training examples; 0 otherwise.
        high: the greatest.
        scheme: which letters the tags in the files have ("BIO", "plain", …); "" for other kinds.
        spelling: how letter and type make a tag there, by its name.
        learned: the scheme of the head's classes, where tags spell spans; "labels" where the classes are ``labels``.
        no_answer_threshold: questions with a score above it have no answer, as tuned on the dev examples; None until
            then.
        multi_label: whether a text may have any number of the classes.
        threshold: with ``multi_label``, classes with at least this probability are predicted; None is 0.5, or not yet
            tuned.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: TaskKind
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    scheme: Scheme | Literal[""] = ""
    spelling: str = "O B-TYPE"
    learned: Scheme | Literal["labels"] = "BIOES"
    no_answer_threshold: float | None = None
    multi_label: bool = False
    threshold: float | None = None


_SHAPE = TypeAdapter(dict[str, TaskSettings])


def can_be_exported(
    head_style: str, settings: TaskSettings, hidden_size: int, block: BlockKind = "bert"
) -> bool:
    """Return whether a class of Hugging Face computes the outputs of a head.

    It has none for ranking. Otherwise it does if the head has the shape of Hugging Face's; if it is linear for tags, as
    both styles are; if it is a decoder; or if it is linear for classes, options or a number and the encoder is wide
    enough to write it with a hidden layer (`convert.huggingface_heads.with_hidden_layer`). Behind modern blocks it does
    in the first case alone, and then never for a decoder.
    """
    if settings.kind == "ranking":
        return False
    if block == "modern":
        return head_style == "huggingface" and settings.kind != "seq2seq"
    if head_style == "huggingface" or settings.kind in ("tagging", "seq2seq"):
        return True
    outputs = max(1, len(settings.classes))
    return settings.kind in ("classification", "regression", "multiple_choice") and 2 * outputs <= hidden_size


def write_settings(directory: Path, settings: Mapping[str, TaskSettings]) -> None:
    """Write ``tasks.json``, whole or not at all."""
    values = {name: asdict(value) for name, value in settings.items()}
    write_json(directory / FILE, values)


def read_settings(directory: Path) -> dict[str, TaskSettings]:
    """Read ``tasks.json``.

    Raises:
        UserError: it is missing, or not what was written: a name that cannot be a task's, an unknown kind or scheme, a
            class twice, an impossible range.
    """
    file = directory / FILE
    settings = read_record(file, _SHAPE)
    if settings is None:
        raise UserError(f"{directory} holds no fine-tuned model: it has no {FILE}")
    for name, task in settings.items():
        if not is_file_name(name):
            raise UserError(
                f"{file} names a task {name!r:.80}, which cannot be part of a path: restore it from a copy"
            )
        if problem := _problem(task):
            raise UserError(
                f"{file} is not what was written there ({name}: {problem}): restore it from a copy"
            )
    return settings


def check_heads(
    directory: Path,
    settings: Mapping[str, TaskSettings],
    heads: Mapping[str, Any],
    trained: Mapping[str, TaskConfig],
) -> None:
    """Refuse settings that do not belong to the heads beside them; a head without settings would silently go unused.

    Args:
        directory: where both are, for the message.
        settings: by task.
        heads: parameters by task.
        trained: the sections of the configuration it was trained with, by task.

    Raises:
        UserError: another task, another number of classes, or another kind than was trained.
    """
    if settings.keys() != heads.keys():
        there, with_heads = (", ".join(names) or "none" for names in (settings, heads))
        raise UserError(
            f"{directory / FILE} names the tasks {there}, but the heads that were trained are {with_heads}: give the "
            "tasks their names back"
        )
    for name, task in trained.items():
        if name in settings and (problem := _differs(settings[name], task)):
            raise UserError(f"{directory / FILE} says {problem} of {name}: restore it from a copy")
    for name, head in heads.items():
        count = head["prediction"]["bias"].shape[-1] if "prediction" in head else None
        if settings[name].classes and count not in (None, len(settings[name].classes)):
            raise UserError(
                f"{directory / FILE} gives {name} {len(settings[name].classes)} classes, but its head has {count} "
                "outputs: restore it from a copy"
            )


def _differs(settings: TaskSettings, trained: TaskConfig) -> str | None:
    if settings.kind != trained.kind:
        return f"kind {settings.kind} instead of {trained.kind}"
    several = getattr(trained, "multi_label", False)
    if settings.multi_label != several:
        return f"multi_label {str(settings.multi_label).lower()} instead of {str(several).lower()}"
    return None


def _problem(task: TaskSettings) -> str | None:
    try:
        spelling_by_name(task.spelling)
    except ValueError as error:
        return str(error)
    if task.learned == "plain":
        return "learned is plain, which is no scheme of spans"
    for what, names in (("labels", task.labels), ("classes", task.classes)):
        if len(set(names)) != len(names):
            return f"{what} names one twice"
    if not (math.isfinite(task.low) and math.isfinite(task.high)) or task.low > task.high:
        return f"low and high are {task.low} and {task.high}, which is no range"
    if task.multi_label and task.kind != "classification":
        return f"multi_label is for classification, not {task.kind}"
    if task.threshold is not None and not 0 < task.threshold < 1:
        return f"threshold is {task.threshold}, but must be between 0 and 1"
    return None
