"""Records of a file, whatever its format: a table with a header line, JSON lines, or JSON."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from electra_jax.data.sources.json_lines import json_type
from electra_jax.errors import UserError
from electra_jax.tasks.sources.files import read_json, read_json_lines
from electra_jax.tasks.sources.tables import read_cells, table_with_header


def json_objects(value: Any, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSON file, which is one or a list of them, with their numbers from 1.

    Raises:
        UserError: it is something else.
    """
    for number, record in enumerate(value if isinstance(value, list) else [value], 1):
        if not isinstance(record, dict):
            raise UserError(f"{name}: item {number} is {json_type(record)} and not an object; mend the file.")
        yield number, record


def records_of(path: Path, extension: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Yield the records of a table with a header line, of JSON lines or of a JSON file, each with its place.

    Raises:
        UserError: the file is none of these.
    """
    if extension == ".json":
        return ((f"{path}, item {n}", record) for n, record in json_objects(read_json(path), str(path)))
    if extension == ".jsonl":
        return ((f"{path}, line {number}", record) for number, record in read_json_lines(path))
    table = table_with_header(path, read_cells(path))
    return (
        (f"{path}, line {number}", dict(zip(table.names or (), row, strict=True)))
        for number, row in table.rows
    )
