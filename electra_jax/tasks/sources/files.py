"""Small files of examples, read whole: text, JSON and JSON lines, plain or compressed."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from electra_jax.data.sources.compressed import read_blocks
from electra_jax.errors import UserError

_SURROGATES = re.compile("[\ud800-\udfff]")


def read_file(path: Path) -> str:
    """The text of a UTF-8 file, decompressed, without a byte order mark; line ends are as they are.

    Raises:
        UserError: it cannot be read, is damaged, or is not UTF-8.
    """
    data = b"".join(read_blocks(str(path)))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line} is not UTF-8 ({error.reason} at byte {error.start}); convert the file to UTF-8."
        ) from error


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """The lines that are not empty, with their numbers from 1.

    Only newlines end a line: the other characters that Python takes for line ends occur in texts.
    """
    lines = ((number, line.removesuffix("\r")) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in lines if line]


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        UserError: as `read_file`, or it is not JSON.
    """
    return _parsed(path, read_file(path), 1)


def read_json_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, with the numbers of their lines.

    Raises:
        UserError: as `read_file`, or a line is not a JSON object.
    """
    records = []
    for number, line in numbered_lines(read_file(path)):
        if line.strip():
            records.append((number, json_object(_parsed(path, line, number), f"{path}, line {number}")))
    return records


def json_object(value: Any, where: str) -> dict[str, Any]:
    """The value, if it is a JSON object.

    Raises:
        UserError: it is not; ``where`` begins the message.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where} is not a JSON object {{…}} but {_json_type(value)}; mend the file.")
    return value


def json_field(record: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    """A field that must be there, of this type.

    Raises:
        UserError: it is not; ``where`` begins the message.
    """
    if name not in record:
        raise UserError(f"{where} has no field {name!r} (it has {listed(record)}); mend the file.")
    value = record[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(
            f"{where}: the field {name!r} is {_json_type(value)} and not {_TYPES[kind]}; mend the file."
        )
    # JSON can spell halves of characters; UTF-8 cannot. One character for one: offsets stay right.
    return clean_text(value) if isinstance(value, str) else value


def clean_text(text: str) -> str:
    """The text with halves of characters replaced, one for one."""
    return _SURROGATES.sub("\ufffd", text)


def listed(names: Any) -> str:
    """Names as they appear in messages, "none" if there are none."""
    return ", ".join(repr(name) for name in names) or "none"


_TYPES = {str: "text", int: "a whole number", list: "a list", dict: "an object", float: "a number"}


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return _TYPES[type(value)]


def _parsed(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        line = first_line + getattr(error, "lineno", 1) - 1
        reason = getattr(error, "msg", str(error))
        raise UserError(
            f"{path}, line {line} is not JSON: {reason[:1].lower()}{reason[1:]}; mend the file."
        ) from error
