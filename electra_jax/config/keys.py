"""The dotted keys of the schema."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from electra_jax.config.fields import FINETUNING, PRETRAINING, key_metadata
from electra_jax.config.schema import Config

Sections = tuple[type[BaseModel], ...]


@dataclass(frozen=True)
class Key:
    """One key that holds a value.

    Attributes:
        name: its dotted path.
        field: its type, default and range.
        doc: what it means.
        kinds: the kinds of its section that have it, where a section has several (``objective``, a task); else empty.
        all_kinds: those that there are of that section.
        runs: the kinds of run that read it, by ``objective.kind``.
    """

    name: str
    field: FieldInfo
    doc: str
    kinds: tuple[str, ...] = ()
    all_kinds: tuple[str, ...] = ()
    runs: tuple[str, ...] = (*PRETRAINING, *FINETUNING)

    @property
    def free_on_resume(self) -> bool:
        """Whether it may change when a run is resumed."""
        return bool(key_metadata(self.field).get("free_on_resume"))

    @property
    def affects_score(self) -> bool:
        """Whether it decides what a task's predictions are worth."""
        return bool(key_metadata(self.field).get("affects_score"))

    @property
    def in_objective(self) -> bool:
        """Whether the kind of its section is the kind of run."""
        return self.name.startswith("objective.")


def sections_of(annotation: Any) -> Sections:
    """Return the section that a field holds, or all of which it may hold one; none if it may hold a value."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    is_union = get_origin(annotation) in (Union, types.UnionType)
    members = get_args(annotation) if is_union else (annotation,)
    found = tuple(m for m in members if isinstance(m, type) and issubclass(m, BaseModel))
    return found if len(found) == len([m for m in members if m is not types.NoneType]) else ()


def entries_of(annotation: Any) -> Sections:
    """Return the sections that a mapping holds under names the user chooses; none if it is no such mapping."""
    return sections_of(get_args(annotation)[1]) if get_origin(annotation) is dict else ()


def kind_of(section: type[BaseModel]) -> str:
    """Return the value of ``kind`` for this member of a union of sections."""
    return section.model_fields["kind"].default


def keys(section: type[BaseModel] = Config, prefix: str = "", runs: tuple[str, ...] = ()) -> Iterator[Key]:
    """Yield every dotted key, in the order of the schema.

    Args:
        section: where to begin.
        prefix: of the keys' names.
        runs: kinds of run that read this section; empty: all.
    """
    for name, field in section.model_fields.items():
        path = f"{prefix}{name}"
        read_by = key_metadata(field).get("kinds") or runs or Key.runs
        if members := sections_of(field.annotation):
            yield from _keys_of(members, f"{path}.", read_by)
        else:
            yield Key(path, field, field.description or "", runs=read_by)


def _keys_of(members: Sections, prefix: str, runs: tuple[str, ...]) -> Iterator[Key]:
    """Yield the keys of a section, or of a union of sections: each key once, with the kinds that have it."""
    if len(members) == 1:
        yield from keys(members[0], prefix, runs)
        return
    owners: dict[str, dict[str, Key]] = {}
    for member in members:
        for key in keys(member, prefix, runs):
            owners.setdefault(key.name, {})[kind_of(member)] = key
    every = tuple(kind_of(member) for member in members)
    yield from (_merge_kinds(name, by_kind, every) for name, by_kind in owners.items())


def _merge_kinds(name: str, by_kind: dict[str, Key], every: tuple[str, ...]) -> Key:
    docs = list(dict.fromkeys(key.doc for key in by_kind.values()))
    kinds_of: dict[str, list[str]] = {}
    for kind, key in by_kind.items():
        kinds_of.setdefault(key.doc.rstrip("."), []).append(kind)
    doc_by_kind = "; ".join(f"{', '.join(some)}: {doc}" for doc, some in kinds_of.items()) + "."
    first, kinds = next(iter(by_kind.values())), tuple(by_kind)
    runs = kinds if first.in_objective else first.runs
    return Key(name, first.field, docs[0] if len(docs) == 1 else doc_by_kind, kinds, every, runs)


NAME = "NAME"  # stands for a name that the user chooses


def entry_keys() -> Iterator[Key]:
    """Yield the keys of entries that users name, such as ``finetune.tasks.NAME.train``."""
    for key in keys():
        if members := entries_of(key.field.annotation):
            yield from _keys_of(members, f"{key.name}.{NAME}.", key.runs)


def section_names() -> list[str]:
    """Return the names of the top-level sections."""
    return [name for name, field in Config.model_fields.items() if sections_of(field.annotation)]
