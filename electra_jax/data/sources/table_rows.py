"""Rows of tables: .csv as spreadsheets write it, .tsv where quotes are literal, as GLUE's files have it."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from electra_jax.data.sources.compressed import Source, name_of
from electra_jax.data.sources.text import read_lines
from electra_jax.errors import UserError

# A longer cell is most likely a quote that is never closed.
MAX_CELL_CHARACTERS = 1 << 24

Rows = Iterator[tuple[int, list[str] | UserError]]


def read_rows(source: Source, *, tabs: bool) -> Rows:
    """Yields the rows of a table, each with the number of the line it ends in; empty lines are left out.

    Args:
        source: Of the bytes, compressed or not.
        tabs: Cells are separated by tabs and quotes are literal; otherwise it is CSV.

    Yields:
        The cells of a row, or what is wrong with it.

    Raises:
        UserError: As `read_lines`.
    """
    return _tab_separated(source) if tabs else _comma_separated(source)


def _tab_separated(source: Source) -> Rows:
    for number, line in read_lines(source):
        if isinstance(line, UserError):
            yield number, line
        elif line:
            yield number, line.split("\t")


class _Lines:
    """Lines for `csv.reader`: a bad one is raised, and those behind it are still to be had."""

    def __init__(self, source: Source):
        self._lines = read_lines(source)
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        if isinstance(line, UserError):
            raise line
        return line + "\n"


def _comma_separated(source: Source) -> Rows:
    lines = _Lines(source)
    reader = csv.reader(lines, strict=True)
    while True:
        first = lines.number + 1
        limit = csv.field_size_limit(
            MAX_CELL_CHARACTERS
        )  # The module knows no other way, for this row alone.
        try:
            row: list[str] | UserError = next(reader)
        except StopIteration:
            return
        except UserError as error:
            row = error
        except csv.Error as error:
            row = UserError(
                f"{name_of(source)}, line {first} is not CSV ({error}); mend the file, or give it as .jsonl."
            )
        finally:
            csv.field_size_limit(limit)
        if row:
            yield lines.number, row
