"""What of a task's examples a trained model must remember, kept beside its parameters."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from electra_jax.errors import UserError
from electra_jax.file_names import is_file_name
from electra_jax.json_files import read_object

FILE = "tasks.json"


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What was learned from the examples of a task, kept beside the parameters.

    Attributes:
        kind: of the task.
        labels: of the training examples, in the order of their numbers.
        classes: what the head's outputs mean; those of tags that spell entities are other than ``labels``.
        low: least value of a regression's training labels; 0 otherwise.
        high: the greatest.
        scheme: how tags are spelled in the files ("BIO", "plain", …); "" otherwise.
        learned: the scheme of the head's classes, where tags spell spans.
        no_answer_threshold: above it a question has no answer, as found on the dev examples; None until then.
    """

    kind: str
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    scheme: str = ""
    learned: str = "BIOES"
    no_answer_threshold: float | None = None


def write_settings(directory: Path, settings: Mapping[str, TaskSettings]) -> None:
    """Writes ``tasks.json``."""
    values = {name: asdict(value) for name, value in settings.items()}
    (directory / FILE).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_settings(directory: Path) -> dict[str, TaskSettings]:
    """Reads ``tasks.json``.

    Raises:
        UserError: it is missing, or not what was written.
    """
    if not os.path.lexists(directory / FILE):
        raise UserError(f"{directory} holds no fine-tuned model: it has no {FILE}")
    values = read_object(directory / FILE)
    if odd := [name for name in values if not is_file_name(name)]:
        raise UserError(
            f"{directory / FILE} names a task {odd[0]!r:.80}, which cannot be part of a path: restore it from a copy"
        )
    try:
        return {
            name: TaskSettings(
                **{**value, "labels": tuple(value["labels"]), "classes": tuple(value["classes"])}
            )
            for name, value in values.items()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{directory / FILE} cannot be read: {error}") from None
