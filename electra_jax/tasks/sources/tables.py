"""Tables of examples, with a header line that names the columns or with known columns."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from electra_jax.data.sources.compressed import split_extension
from electra_jax.data.sources.table_rows import read_rows, repeats_header
from electra_jax.data.sources.text import raise_errors
from electra_jax.errors import UserError, quoted
from electra_jax.tasks.protocol import Label, TextExample
from electra_jax.tasks.sources.benchmarks import TEXT_SEPARATOR, Columns
from electra_jax.tasks.sources.labels import RawLabel

Cells = list[tuple[int, list[str]]]


@dataclass(frozen=True)
class Table:
    """Rows with the same number of cells.

    Attributes:
        path: of the file.
        names: of the columns; None if there is no header line.
        rows: each with the number of the line it ends in.
    """

    path: Path
    names: tuple[str, ...] | None
    rows: Cells


def read_cells(path: Path, *, short: list[int] | None = None) -> Cells:
    """Read the cells of a table, each row with the number of its (last) line; empty lines are left out.

    Args:
        path: of a .csv file, or of one with cells separated by tabs.
        short: if given, rows with fewer cells than the first line are left out, and their line numbers appended.

    Raises:
        UserError: as in `read_rows`; it is empty; rows differ in their number of cells.
    """
    tabs = split_extension(str(path))[0] != ".csv"
    rows: Cells = []
    for number, row in raise_errors(read_rows(str(path), tabs=tabs)):
        width = len(rows[0][1]) if rows else len(row)
        if len(row) < width and short is not None:
            short.append(number)
        elif len(row) != width:
            raise UserError(
                f"{path}, line {number} has {_columns(len(row))} where the first line has {width}; mend that line."
            )
        else:
            rows.append((number, row))
    if not rows:
        raise UserError(f"{path} is empty; give a file with examples in it.")
    return rows


def table_with_header(path: Path, cells: Cells) -> Table:
    """Return the table whose first line names its columns.

    Raises:
        UserError: a name occurs twice; another line repeats the header.
    """
    names = tuple(cells[0][1])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{path} has more than one column {quoted(twice)}; rename all but one.")
    for number, row in cells[1:]:
        if problem := repeats_header(row, names, f"{path}, line {number}"):
            raise problem
    return Table(path, names, cells[1:])


def text_examples(
    table: Table, columns: Columns, read_label: Callable[[RawLabel, str], Label]
) -> list[TextExample]:
    """Return the examples in a table.

    Args:
        table: the table.
        columns: the cells to read.
        read_label: from the cell and its place in the file (for messages) to the label.

    Raises:
        UserError: a column is missing; what ``read_label`` raises.
    """
    index_of = {column: _column_index(table, column) for column in columns.all}
    examples = []
    for count, (line, row) in enumerate(table.rows):
        cell = {column: row[index] for column, index in index_of.items()}
        examples.append(
            TextExample(
                id=str(count) if columns.id is None else cell[columns.id],
                text=TEXT_SEPARATOR.join(cell[column] for column in columns.text),
                pair=None if columns.pair is None else cell[columns.pair],
                label=None
                if columns.label is None
                else read_label(cell[columns.label], f"{table.path}, line {line}"),
            )
        )
    return examples


def _column_index(table: Table, column: str | int) -> int:
    if isinstance(column, int):
        return column
    names = table.names or ()
    if column not in names:
        raise UserError(f"{table.path} has no column {column!r}; its columns are {quoted(names)}.")
    return names.index(column)


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"
