"""What the sections of the configuration are made of: a key, a path, a size."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from electra_jax.files.local_paths import path_problem, without_file_scheme


def field(default: Any, doc: str | None, *, free: bool = False, **constraints: Any) -> Any:
    """One key: its default, its meaning, and whether it may change when a run is resumed."""
    return Field(default, description=doc, json_schema_extra={"free_on_resume": free}, **constraints)


def _path(text: str) -> str:
    text = without_file_scheme(text)
    if problem := path_problem(text):
        raise ValueError(f"{text or repr(text)} {problem}")
    return text


def _source(text: str) -> str:
    """A text source whose path, if it has one, is one; ``text:file:///a`` is ``text:/a``."""
    kind, _, rest = text.partition(":")
    if kind == "text" and rest:
        return f"text:{_path(rest)}"
    return text if kind in ("embedded", "tfds", "text") or "/" not in text else _path(text)


def _path_or_tfds(text: str) -> str:
    return text if text.startswith("tfds:") else _path(text)


LocalPath = Annotated[str, AfterValidator(_path)]
SourceName = Annotated[str, AfterValidator(_source)]
PathOrTfds = Annotated[str, AfterValidator(_path_or_tfds)]


# Far above any network, and far below what a computation of shapes cannot hold.
MOST_SIZE = 1 << 24
MOST_LAYERS = 256


class Section(BaseModel):
    """Base of every section: immutable, strict about types, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
