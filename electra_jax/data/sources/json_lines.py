"""JSON, and files with one JSON object a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from electra_jax.data.sources.compressed import Source, source_name
from electra_jax.data.sources.text import REMEDY, UTF8, read_lines, without_surrogates
from electra_jax.errors import UserError
from electra_jax.files.json_text import MAX_VALUES, NotJson, json_value

_SPELLED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json_lines(
    source: Source, encoding: str = UTF8, *, remedy: str = REMEDY
) -> Iterator[tuple[int, dict[str, Any] | UserError]]:
    """Yield the objects of a file of JSON lines with the numbers of their lines; blank lines are left out.

    Args:
        source: of the bytes, compressed or not.
        encoding: of the text.
        remedy: what to do where it is another; ends messages.

    Yields:
        Of each line its object, or what is wrong with the line.

    Raises:
        UserError: as `read_lines`.
    """
    name = source_name(source)
    for number, line in read_lines(source, encoding, remedy=remedy):
        if isinstance(line, UserError):
            yield number, line
        elif line.strip():
            yield number, json_record(line, name, number)


def json_record(line: str, name: str, number: int) -> dict[str, Any] | UserError:
    """Return the JSON object in a line, or what is wrong with it."""
    try:
        return json_object(parse_json(line, name, number), f"{name}, line {number}")
    except UserError as error:
        return error


def parse_json(text: str, name: str, first_line: int = 1, max_values: int = MAX_VALUES) -> Any:
    """Return the value that a text spells; halves of characters in it are replaced.

    Args:
        text: the JSON.
        name: of the file, for messages.
        first_line: its number in the file.
        max_values: how many values it may hold.

    Raises:
        UserError: it is not JSON, or too much of it.
    """
    try:
        value = json_value(text, max_values)
        return _replace_surrogates(value) if _SPELLED_SURROGATE.search(text) else value
    except NotJson as error:
        if error.syntax:
            place = f"line {first_line + error.line - 1}, column {error.column}"
            reason = error.syntax[:1].lower() + error.syntax[1:]
            raise UserError(f"{name}, {place} is not JSON: {reason}; mend the file.") from None
        reason = error.reason
    except RecursionError:  # what could be read can be too deep to be cleaned
        reason = "is nested too deeply"
    raise UserError(f"{name}, line {first_line} is not JSON that can be read: it {reason}; mend the file.")


def json_object(value: Any, where: str) -> dict[str, Any]:
    """Return the value, if it is a JSON object.

    Raises:
        UserError: it is not; ``where`` begins the message.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where} is not a JSON object {{…}} but {json_type(value)}; mend the file.")
    return value


def json_type(value: Any) -> str:
    """Return what a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return TYPES[type(value)]


TYPES = {str: "text", int: "a whole number", list: "a list", dict: "an object", float: "a number"}


def _replace_surrogates(value: Any) -> Any:
    """Return the value without halves of characters, one character for one: offsets stay right."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, list):
        return [_replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(name): _replace_surrogates(item) for name, item in value.items()}
    return value
