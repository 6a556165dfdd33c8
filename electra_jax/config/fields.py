"""What the sections of the configuration are made of: keys, paths, sizes."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from electra_jax.files.local_paths import path_problem, without_file_scheme

T = TypeVar("T")

# Kinds of run, by objective.kind.
PRETRAINING = ("electra", "masked_lm", "electric", "causal_lm")
WITH_GENERATOR = ("electra", "electric")
FINETUNING = ("finetune",)
WRITERS = ("electra", "causal_lm", "finetune")  # electra by refining, finetune with tasks of kind seq2seq

_SAME = object()


def field(
    default: Any,
    doc: str | None,
    *,
    free: bool = False,
    affects_score: bool = False,
    kinds: tuple[str, ...] = (),
    in_finetuning: Any = _SAME,
    **constraints: Any,
) -> Any:
    """Declare one key of a section.

    Args:
        default: its value where it is not set.
        doc: what it means.
        free: whether it may change when a run is resumed.
        affects_score: whether it decides what a task's predictions are worth, and so which parameters are best.
        kinds: the kinds of run that read it; empty: those that read its section.
        in_finetuning: its default in fine-tuning, where that is another.
        **constraints: its range.
    """
    extra: dict[str, Any] = {"free_on_resume": free, "affects_score": affects_score, "kinds": kinds}
    if in_finetuning is not _SAME:
        extra["in_finetuning"] = in_finetuning
    return Field(default, description=doc, json_schema_extra=extra, **constraints)


def section(default: Any, kinds: tuple[str, ...]) -> Any:
    """Declare a section that only some kinds of run read."""
    extra: dict[str, Any] = {"kinds": kinds}
    return Field(default, json_schema_extra=extra)


def key_metadata(of: FieldInfo) -> dict[str, Any]:
    """Return what `field` and `section` noted beside a key, such as ``free_on_resume`` and ``kinds``."""
    return of.json_schema_extra if isinstance(of.json_schema_extra, dict) else {}


def require(value: T | None, key: str) -> T:
    """Return a value that is null as long as the examples of a fine-tuning are not known.

    Raises:
        ValueError: it is null; the message names ``key``.
    """
    if value is None:
        raise ValueError(f"{key} follows from the examples, and is not known yet")
    return value


def checked_path(text: str) -> str:
    """Return a path without ``file://``.

    Raises:
        ValueError: it cannot be one.
    """
    text = without_file_scheme(text)
    if problem := path_problem(text):
        raise ValueError(f"{text or repr(text)} {problem}")
    return text


def _source(text: str) -> str:
    """Check the path in the name of a text source, if it has one; ``text:file:///a`` becomes ``text:/a``."""
    kind, _, rest = text.partition(":")
    if kind == "text" and rest:
        return f"text:{checked_path(rest)}"
    return text if kind in ("embedded", "tfds", "text") or "/" not in text else checked_path(text)


def _path_or_tfds(text: str) -> str:
    return text if text.startswith("tfds:") else checked_path(text)


LocalPath = Annotated[str, AfterValidator(checked_path)]
SourceName = Annotated[str, AfterValidator(_source)]
PathOrTfds = Annotated[str, AfterValidator(_path_or_tfds)]


# Far above any network, and far below what a computation of shapes cannot hold.
MAX_SIZE = 1 << 24
MAX_LAYERS = 256


class Section(BaseModel):
    """Base of every section: immutable, strict about types, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
