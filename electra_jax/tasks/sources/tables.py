"""Tables: .csv as spreadsheets write it, .tsv where quotes are literal, as GLUE's files have it."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from electra_jax.data.sources.compressed import split_extension
from electra_jax.errors import UserError
from electra_jax.tasks.protocol import TextExample
from electra_jax.tasks.sources.benchmarks import JOINT, Columns
from electra_jax.tasks.sources.files import listed, numbered_lines, read_file
from electra_jax.tasks.sources.labels import Label, Spelled

Cells = list[tuple[int, list[str]]]


@dataclass(frozen=True)
class Table:
    """Rows of equally many cells.

    Attributes:
        path: of the file.
        names: of the columns; None if the first line is a row like any other.
        rows: each with the number of the line it ends in.
    """

    path: Path
    names: tuple[str, ...] | None
    rows: Cells


def read_cells(path: Path) -> Cells:
    """The cells of a .csv or .tsv file, each row with the number of its (last) line; empty lines are left out.

    Raises:
        UserError: as `read_file`; it is empty; quotes of a .csv are not closed; rows differ in their width.
    """
    text = read_file(path)
    if split_extension(str(path))[0] == ".tsv":
        rows = [(number, line.split("\t")) for number, line in numbered_lines(text)]
    else:
        rows = _csv_rows(path, text)
    if not rows:
        raise UserError(f"{path} is empty; give a file with examples in it.")
    width = len(rows[0][1])
    for number, row in rows:
        if len(row) != width:
            raise UserError(
                f"{path}, line {number} has {_columns(len(row))} where the first line has {width}; mend that line."
            )
    return rows


def with_header(path: Path, cells: Cells) -> Table:
    """The table whose first line names its columns.

    Raises:
        UserError: a name occurs twice.
    """
    names = tuple(cells[0][1])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{path} has more than one column {listed(twice)}; rename all but one.")
    return Table(path, names, cells[1:])


def text_examples(
    table: Table, columns: Columns, read_label: Callable[[Spelled, str], Label]
) -> list[TextExample]:
    """The examples in a table.

    Args:
        table: by whose names, or numbers, the columns are known.
        columns: which cells are read.
        read_label: from the cell and where it is (for messages) to the label.

    Raises:
        UserError: a column is missing; what ``read_label`` raises.
    """
    place = {column: _place(table, column) for column in columns.all}
    examples = []
    for count, (line, row) in enumerate(table.rows):
        cell = {column: row[index] for column, index in place.items()}
        examples.append(
            TextExample(
                id=str(count) if columns.id is None else cell[columns.id],
                text=JOINT.join(cell[column] for column in columns.text),
                pair=None if columns.pair is None else cell[columns.pair],
                label=None
                if columns.label is None
                else read_label(cell[columns.label], f"{table.path}, line {line}"),
            )
        )
    return examples


def _place(table: Table, column: str | int) -> int:
    if isinstance(column, int):
        return column
    names = table.names or ()
    if column not in names:
        raise UserError(f"{table.path} has no column {column!r}; its columns are {listed(names)}.")
    return names.index(column)


def _csv_rows(path: Path, text: str) -> Cells:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        for row in reader:
            if row:
                rows.append((reader.line_num, row))
    except csv.Error as error:
        raise UserError(
            f"{path}, line {max(reader.line_num, 1)} is not CSV ({error}); mend the file, or give it as .jsonl."
        ) from error
    return rows


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"
