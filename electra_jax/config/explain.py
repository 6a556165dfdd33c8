"""What is wrong with a configuration, in words: the dotted key, the value given, what is expected."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from electra_jax.config.dialect import show
from electra_jax.config.keys import NAME, Key, Sections, entry_keys, keys, kind_of, section_names, sections_of
from electra_jax.config.schema import Config


def explain(error: ValidationError) -> str:
    """All that is wrong, separated by semicolons."""
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
        example = next(k.name for k in keys() if k.name.startswith(f"{key}."))
        yield f"{key} is {show(value)}, but is a section, which holds keys such as {example}"
    elif error["type"] == "invalid_key":
        yield f"unknown key {key}: keys are names"
    else:
        expected = (
            "true or false" if error["type"] == "bool_type" else message.removeprefix("Input should be ")
        )
        yield f"{key} is {show(value)}, but must be {expected}"


def _dotted(location: tuple[str | int, ...]) -> tuple[str, str | None]:
    """The key that pydantic's location means, and the kind chosen: in a location, it comes after its section."""
    parts: list[str] = []
    kind: str | None = None
    sections: Sections = (Config,)
    for part in location:
        chosen = tuple(s for s in sections if kind_of(s) == part) if len(sections) > 1 else ()
        if chosen:
            sections, kind = chosen, str(part)
            continue
        parts.append(str(part))
        fields = [s.model_fields[str(part)] for s in sections if part in s.model_fields]
        sections = sections_of(fields[0].annotation) if fields else ()
    return ".".join(parts), kind


def _leaves(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key


def _unknown(name: str, kind: str | None) -> str:
    known = {key.name: key for key in keys()}
    for mapping in {key.name.partition(f".{NAME}.")[0] for key in entry_keys()}:
        if name.startswith(f"{mapping}.") and name.count(".") > mapping.count(".") + 1:
            chosen = name.removeprefix(f"{mapping}.").partition(".")[0]
            known = {key.name.replace(NAME, chosen): key for key in entry_keys()}
    if name in known and kind is None:
        section, _, leaf = name.partition(".")
        return (
            f"unknown key {name}: dots are for overrides; in a file write {leaf} inside the section {section}"
        )
    if name in known:
        section = name.rpartition(".")[0]
        return (
            f"unknown key {name}: it belongs to {section}.kind={'|'.join(known[name].kinds)}, not to {kind}"
        )
    near = _nearest(name, known)
    return f"unknown key {name}; " + (
        f"did you mean {' or '.join(near)}?" if near else "python -m electra_jax.config lists them all"
    )


def _nearest(name: str, known: Mapping[str, Key]) -> list[str]:
    """Right keys for a wrong one: the same last part elsewhere, then a like spelling of the path or last part."""
    section, _, leaf = name.rpartition(".")
    if not section and (near := difflib.get_close_matches(name, section_names(), n=1, cutoff=0.8)):
        return near
    # A slip inside the right section comes before the same name in another one.
    siblings = {key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == section}
    if near := difflib.get_close_matches(leaf, siblings, n=1, cutoff=0.75):
        return [siblings[near[0]]]
    same = [key for key in known if key.rpartition(".")[2] == leaf]
    if same:
        return difflib.get_close_matches(name, same, n=1, cutoff=0.7) if section else same
    if near := difflib.get_close_matches(name, known, n=1, cutoff=0.75):
        return near
    leaves = {key.rpartition(".")[2]: key for key in known}
    return [leaves[near] for near in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.6)]
