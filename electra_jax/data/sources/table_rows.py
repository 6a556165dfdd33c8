"""Rows of tables: .csv as spreadsheets write it, .tsv where quotes are literal, as GLUE's files have it."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence

from electra_jax.data.sources.compressed import Source, source_name
from electra_jax.data.sources.text import BadLine, Lines, read_lines
from electra_jax.errors import UserError

# A longer row is most likely a quote that is never closed.
MAX_ROW_CHARACTERS = 1 << 24
# Characters of lines behind stray quotes that are read again; beyond it a row is one line, until those are done.
_MAX_REREAD = 1 << 22

Line = tuple[int, str | UserError]
Rows = Iterator[tuple[int, list[str] | UserError]]


def read_rows(source: Source, *, tabs: bool) -> Rows:
    """Yield the rows of a table, each with the number of the line it ends in; empty lines are left out.

    Args:
        source: of the bytes, compressed or not.
        tabs: cells are separated by tabs and quotes are literal; otherwise it is CSV.

    Yields:
        The cells of a row, or what is wrong with it: as `rows_of`.

    Raises:
        UserError: as `read_lines`.
    """
    return rows_of(read_lines(source), source_name(source), tabs=tabs)


def rows_of(lines: Lines, name: str, *, tabs: bool) -> Rows:
    """Yield the rows that lines hold, each with the number of the line it ends in; empty lines are left out.

    What is wrong with one row costs that row. With a line that is no text the whole row is left out that it is part of.
    Of a quote that is never closed, or where it should not be, the line that opens it is wrong, and those behind it
    are read as rows again.

    Args:
        lines: of a table.
        name: of the file, for messages.
        tabs: cells are separated by tabs and quotes are literal; otherwise it is CSV.

    Yields:
        The cells of a row, or what is wrong with it.

    Raises:
        UserError: as reading the lines does.
    """
    return _tab_separated(lines) if tabs else _CommaSeparated(lines, name).rows()


def repeats_header(row: Sequence[str], names: Sequence[str], where: str) -> UserError | None:
    """Return what is wrong with a row that repeats the first line, as joined files have it; None for another row.

    Args:
        row: its cells.
        names: of the columns, as the first line has them; of one column nothing can be said.
        where: the row is; begins the message.
    """
    if len(names) < 2 or list(row) != list(names):
        return None
    return UserError(f"{where} is the first line again, as in files that were joined; leave it out.")


def _tab_separated(lines: Lines) -> Rows:
    for number, line in lines:
        if isinstance(line, UserError):
            yield number, line
        elif line:
            yield number, line.split("\t")


class _CommaSeparated:
    """A reader of CSV from lines, some of which it reads again."""

    def __init__(self, lines: Lines, name: str):
        self._new, self._name = lines, name
        self._again: deque[Line] = deque()
        self._read_again = 0
        self._width: int | None = None  # of the first row

    def rows(self) -> Rows:
        while (numbered := self._next()) is not None:
            number, line = numbered
            if line == "":
                continue
            if isinstance(line, str) and '"' not in line and len(line) <= MAX_ROW_CHARACTERS:
                row: list[str] | UserError = line.split(",")
            else:
                number, row = self._row(numbered)
            if self._width is None and not isinstance(row, UserError):
                self._width = len(row)
            yield number, row
            if not self._again:
                self._read_again = 0

    def _next(self) -> Line | None:
        return self._again.popleft() if self._again else next(self._new, None)

    def _row(self, first: Line) -> tuple[int, list[str] | UserError]:
        """Return the row that begins with a line, and the number of the line it ends in."""
        used = [first]
        closed = True
        characters = 0

        def lines() -> Iterator[str]:
            nonlocal closed, characters
            following: Line | None = first
            while following is not None:
                if following is not first:
                    used.append(following)
                characters += len(text := _text(following[1]))
                yield text + "\n"
                more = self._read_again < _MAX_REREAD and characters <= MAX_ROW_CHARACTERS
                following = self._next() if more else None
            closed = False

        row: list[str] = []
        problem = ""
        limit = csv.field_size_limit(MAX_ROW_CHARACTERS)  # The module knows no other way, for this row alone.
        try:
            row = next(csv.reader(lines(), strict=True))
        except csv.Error as error:
            problem = str(error)
        finally:
            csv.field_size_limit(limit)
        if not closed:
            problem = "its quote is not closed"
        closed &= characters <= MAX_ROW_CHARACTERS
        if len(used) > 1 and self._is_stray_quote(used, row, problem, closed):
            self._again.extendleft(reversed(used[1:]))
            self._read_again += characters
            del used[1:]
            problem = problem or "its quote is not closed"
        number, last = first[0], used[-1][0]
        # Where a line is no text nothing else is said, wherever in the row it is.
        if bad := next((line for _, line in used if isinstance(line, UserError)), None):
            return last, bad
        if not problem:
            return last, row
        which = f"line {number} is" if last == number else f"lines {number} to {last} are"
        return last, UserError(
            f"{self._name}, {which} not CSV ({problem}); mend the file, or give it as .jsonl."
        )

    def _is_stray_quote(self, used: list[Line], row: list[str], problem: str, closed: bool) -> bool:
        """Return whether a quote was meant literally, so that the lines behind its own are rows of their own.

        It is if it is never closed. It is too if what was read is no row, and either the line that opens it has as many
        cells as the first row, or the quote that would close it opens a cell.
        """
        if not closed:
            return True
        if not problem and self._width in (None, len(row)):
            return False
        before_closing = _text(used[-1][1]).replace('""', "").partition('"')[0]
        opens_a_cell = bool(problem) and (before_closing == "" or before_closing.endswith(","))
        return opens_a_cell or _text(used[0][1]).count(",") + 1 == self._width


def _text(line: str | UserError) -> str:
    """Return the line, or what can be read of it."""
    if isinstance(line, UserError):
        return line.line if isinstance(line, BadLine) else ""
    return line
