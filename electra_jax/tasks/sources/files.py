"""Reading files of examples: lines, JSON and its fields, each with its place in the file for messages."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.data.sources.json_lines import TYPES, json_type, parse_json
from electra_jax.data.sources.json_lines import read_json_lines as json_lines_of
from electra_jax.data.sources.text import raise_errors, read_lines, read_text
from electra_jax.errors import UserError, listed, quoted

# A file with a single JSON value is read into memory as a whole.
MAX_JSON_CHARACTERS = 1 << 30
MAX_VALUES = 1 << 25


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file, compressed or not, with their numbers from 1.

    Only newlines and carriage returns end a line: the other characters that Python takes for line ends occur in texts.

    Raises:
        UserError: as in `read_lines`, or a line is not text.
    """
    return raise_errors(read_lines(str(path)))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: as in `read_text`; it is too large, or not JSON.
    """
    pieces, characters = [], 0
    for piece in read_text(str(path)):
        pieces.append(piece)
        if (characters := characters + len(piece)) > MAX_JSON_CHARACTERS:
            raise UserError(
                f"{path} has more than {MAX_JSON_CHARACTERS:,} characters; cut it into several files."
            )
    return parse_json("".join(pieces), str(path), max_values=MAX_VALUES)


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file of JSON lines, with their line numbers.

    Raises:
        UserError: as in `read_lines`, or a line is not a JSON object.
    """
    return raise_errors(json_lines_of(str(path)))


def json_field(record: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    """Return a field that must be present and of this type.

    Raises:
        UserError: it is not; ``where`` begins the message.
    """
    if name not in record:
        raise UserError(f"{where} has no field {name!r} (it has {quoted(record)}); mend the file.")
    value = record[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(
            f"{where}: the field {name!r} is {json_type(value)} and not {TYPES[kind]}; mend the file."
        )
    return value


def format_line_numbers(lines: Sequence[int]) -> str:
    """Return line numbers as they appear in messages, the first ten of them."""
    return f"{'line' if len(lines) == 1 else 'lines'} {listed(lines, limit=10)}"
