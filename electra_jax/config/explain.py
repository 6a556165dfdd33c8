"""What is wrong with a configuration, in words: the dotted key, the value given, what is expected."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from electra_jax.config.keys import (
    NAME,
    Key,
    Sections,
    entries_of,
    entry_keys,
    keys,
    kind_of,
    section_names,
    sections_of,
)
from electra_jax.config.schema import Config
from electra_jax.config.yaml_format import show


def explain(error: ValidationError) -> str:
    """Return all that a validation error says, in words, separated by semicolons."""
    return "; ".join(sentence for detail in error.errors() for sentence in _explain(detail))


def _explain(error: Any) -> Iterator[str]:
    key, kind = _dotted(error["loc"])
    value, message = error["input"], error["msg"]
    if error["type"] == "extra_forbidden":
        yield from (_unknown(name, kind) for name in _leaves(key, value))
    elif error["type"] == "value_error":
        message = message.removeprefix("Value error, ")
        yield f"{key}: {message}" if key else message
    elif error["type"] == "union_tag_invalid":
        yield f"{key}.kind is {show(value['kind'])}, but must be one of {error['ctx']['expected_tags']}"
    elif error["type"] in ("model_type", "model_attributes_type"):
        example = next(name for name in _known(f"{key}.") if name.startswith(f"{key}."))
        yield f"{key} is {show(value)}, but is a section, which holds keys such as {example}"
    elif error["type"] == "invalid_key":
        yield f"unknown key {key}: keys are names"
    elif error["type"] == "string_too_short":
        yield f"{key} is {show(value)}, but must have at least {error['ctx']['min_length']} characters"
    else:
        expected = (
            "true or false" if error["type"] == "bool_type" else message.removeprefix("Input should be ")
        )
        yield f"{key} is {show(value)}, but must be {expected}"


def _dotted(location: tuple[str | int, ...]) -> tuple[str, str | None]:
    """Return the dotted key at pydantic's ``location``, and the kind of section that was chosen.

    In a location, the kind comes after the section it chooses.
    """
    parts: list[str] = []
    kind: str | None = None
    sections: Sections = (Config,)
    entries: Sections = ()  # of a mapping, whose next part is a name
    for part in location:
        chosen = tuple(s for s in sections if kind_of(s) == part) if len(sections) > 1 else ()
        if chosen:
            sections, kind = chosen, str(part)
            continue
        parts.append(str(part))
        if entries:
            sections, entries = entries, ()
            continue
        fields = [s.model_fields[str(part)] for s in sections if part in s.model_fields]
        sections = sections_of(fields[0].annotation) if fields else ()
        entries = entries_of(fields[0].annotation) if fields else ()
    return ".".join(parts), kind


def _leaves(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key


def _known(name: str) -> dict[str, Key]:
    """Return the keys that ``name`` may be meant to be.

    For a key of an entry of a mapping, such as a task's, they are the keys of entries, with this entry's name.
    """
    for mapping in {key.name.partition(f".{NAME}.")[0] for key in entry_keys()}:
        if name.startswith(f"{mapping}."):
            chosen = name.removeprefix(f"{mapping}.").partition(".")[0]
            return {
                key.name.replace(NAME, chosen): key
                for key in entry_keys()
                if key.name.startswith(f"{mapping}.{NAME}.")
            }
    return {key.name: key for key in keys()}


def _unknown(name: str, kind: str | None) -> str:
    known = _known(name)
    if name in known and kind is None:
        section, _, leaf = name.partition(".")
        return (
            f"unknown key {name}: dots are for overrides; in a file write {leaf} inside the section {section}"
        )
    section, _, leaf = name.rpartition(".")
    own = {key: value for key, value in known.items() if not value.kinds or kind in (None, *value.kinds)}
    if name in known:
        near = _closest(leaf, _siblings(section, own), 0.75)
        meant = f"; did you mean {near[0]}?" if near else ""
        return f"unknown key {name}: it belongs to {_chosen_by(section, known[name])}, not to {kind}{meant}"
    near = _elsewhere(leaf, own)
    near = (
        near
        or _closest(leaf, _siblings(section, own), 0.75)
        or _closest(leaf, _siblings(section, known), 0.75)
    )
    near = near or (_nearest(name, own) if name.count(".") < 2 else _closest(leaf, own, 0.6))
    others = set(known) - set(own)
    named = (
        f"{key}, which belongs to {_chosen_by(section, known[key])}" if key in others else key for key in near
    )
    return f"unknown key {name}; " + (
        f"did you mean {' or '.join(named)}?" if near else "python -m electra_jax.config lists them all"
    )


# What other trainers call the same.
_OTHER_NAMES = {
    "lr": "optimizer.learning_rate",
    "max_steps": "train.steps",
    "num_train_epochs": "finetune.epochs",
    "path": "data.source",
    "precision": "compute.dtype",
    "save_every": "train.checkpoint_every",
    "save_steps": "train.checkpoint_every",
}


def _elsewhere(leaf: str, known: Mapping[str, Key]) -> list[str]:
    """Return the key of another section that has this last part, or what other trainers call so, or none."""
    if _OTHER_NAMES.get(leaf) in known:
        return [_OTHER_NAMES[leaf]]
    same = [key for key in known if key.rpartition(".")[2] == leaf]
    outermost = min((key.count(".") for key in same), default=0)
    same = [key for key in same if key.count(".") == outermost]
    return same if len(same) == 1 else []


def _siblings(section: str, known: Mapping[str, Key]) -> list[str]:
    return [key for key in known if key.rpartition(".")[0] == section]


def _closest(leaf: str, known: Iterable[str], cutoff: float) -> list[str]:
    """Return the key whose last part is spelled most like ``leaf``, or none."""
    leaves = {key.rpartition(".")[2]: key for key in known}
    return [leaves[near] for near in difflib.get_close_matches(leaf, leaves, n=1, cutoff=cutoff)]


def _chosen_by(section: str, key: Key) -> str:
    inside = key.name.partition(NAME)[2] or key.name
    nested = inside.count(".") - 1  # sections inside the one that has a kind
    return f"{section.rsplit('.', nested)[0]}.kind={'|'.join(key.kinds)}"


def _nearest(name: str, known: Mapping[str, Key]) -> list[str]:
    """Return valid keys near an unknown one: those with the same last part elsewhere, else those spelled alike.

    Without a section it is not the key of a section inside a section, where there is another.
    """
    section, _, leaf = name.rpartition(".")
    if not section and (near := difflib.get_close_matches(name, section_names(), n=1, cutoff=0.8)):
        return near
    same = [key for key in known if key.rpartition(".")[2] == leaf]
    if same:
        least = min(key.count(".") for key in same)
        flat = [key for key in same if key.count(".") == least]
        return difflib.get_close_matches(name, same, n=1, cutoff=0.7) if section else flat
    if near := difflib.get_close_matches(name, known, n=1, cutoff=0.75):
        return near
    return _closest(leaf, known, 0.6)
