"""CoNLL's format: a word per line with its columns, an empty line between sentences."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from electra_jax.data.sources.text import Lines, raise_errors, read_lines
from electra_jax.errors import UserError
from electra_jax.tasks.protocol import SourceLocation, WordsExample
from electra_jax.tasks.sources.labels import strip_label

_BLANK = re.compile("[ \t]+")  # other white space may be part of a word
_DOCUMENT = "-DOCSTART-"
_COMMENT = "#"
_CONLLU_WIDTH = 10
_CONLLU_NUMBER = re.compile(r"\d+([-.]\d+)?")


class _Word(NamedTuple):
    """A word with its columns.

    Attributes:
        line: its line number.
        cells: its columns.
        tabs: whether tabs separate them.
    """

    line: int
    cells: tuple[str, ...]
    tabs: bool

    def is_like(self, other: _Word) -> bool:
        return (self.tabs, len(self.cells)) == (other.tabs, len(other.cells))


def read_word_columns(
    path: Path,
    *,
    tag_column: int = -1,
    width: int | None = None,
    may_be_hidden: bool = False,
    padded: list[str] | None = None,
) -> list[WordsExample]:
    """Read the sentences of a file, see `word_sentences`.

    Raises:
        UserError: as in `read_lines`; something is wrong with a sentence; there is none.
    """
    found = word_sentences(
        read_lines(str(path)),
        str(path),
        tag_column=tag_column,
        width=width,
        may_be_hidden=may_be_hidden,
        padded=padded,
    )
    examples = [example for _, example in raise_errors(found)]
    if not examples:
        raise UserError(f"{path} has no sentence in it; give a file with a word and its tag in each line.")
    return examples


def word_sentences(
    lines: Lines,
    name: str,
    *,
    tag_column: int = -1,
    width: int | None = None,
    may_be_hidden: bool = False,
    padded: list[str] | None = None,
) -> Iterator[tuple[int, WordsExample | UserError]]:
    """Yield the sentences in some lines; the word is the first column, and identifiers are sentence numbers from 0.

    A line with a tab in it has columns separated by tabs only, other lines by blanks. Lines that begin with -DOCSTART-
    separate documents and are not words; nor are comments, as in CoNLL-U: lines before the first word of a sentence
    that begin with # and have other columns than the words.

    Args:
        lines: with their numbers.
        name: of the file, for messages.
        tag_column: the column of the tag; the last by default.
        width: the required number of columns; None takes that of the first word.
        may_be_hidden: whether a file of one column, words without tags, is allowed.
        padded: if given, the places of tags with blanks around them are appended; the blanks are removed either way.

    Yields:
        The number of a sentence's first line, and the sentence or what is wrong with it: a line that is not text, or
        has another number of columns, or no word, or no tag.

    Raises:
        UserError: as in reading the lines; the columns are CoNLL-U's.
    """
    first: _Word | None = None
    count = 0
    for number, rows in _sentences(lines):
        if isinstance(rows, UserError):
            yield number, rows
            continue
        first = first or rows[0]
        if first is rows[0] and tag_column == -1 and _is_conllu(rows):
            raise UserError(
                f"{name} is CoNLL-U, whose words are the second of ten columns; give the words and their tags alone, "
                "as cut -f2,4 writes them."
            )
        try:
            for row in rows:
                _check(row, first, width, name, tag_column, may_be_hidden)
        except UserError as error:
            yield number, error
            continue
        tags = None
        if len(rows[0].cells) > 1:
            tags = tuple(strip_label(row.cells[tag_column]) for row in rows)
            spelled = zip(tags, rows, strict=True)
            if padded is not None:
                padded += [f"{name}, line {row.line}" for tag, row in spelled if tag != row.cells[tag_column]]
        location = SourceLocation(name, rows[0].line, lines_per_word=1)
        yield rows[0].line, WordsExample(str(count), tuple(row.cells[0] for row in rows), tags, location)
        count += 1


def looks_like_columns(lines: Sequence[str], tags: Collection[str]) -> bool:
    """Return whether lines are words in columns rather than sentences.

    All lines must have the same number of columns, and tabs or tags that are known. Without tabs there must be two
    lines that no empty line separates.

    Args:
        lines: the first lines of a file.
        tags: known tags.
    """
    rows: list[_Word] = []
    one_below_another = False
    for _, words in _sentences(iter(enumerate(lines, 1))):
        assert not isinstance(words, UserError)
        one_below_another |= len(words) > 1
        rows += words
    if not rows or any(len(row.cells) != len(rows[0].cells) for row in rows):
        return False
    if len(rows[0].cells) > 1 and all(row.tabs for row in rows):
        return True
    # Plain sentences end with a full stop, which is a tag in some files, so only tags with letters or digits count.
    known = sum(any(map(str.isalnum, row.cells[-1])) and strip_label(row.cells[-1]) in tags for row in rows)
    return one_below_another and (len(rows[0].cells) == 1 or 2 * known >= len(rows))


def _sentences(lines: Lines) -> Iterator[tuple[int, list[_Word] | UserError]]:
    """Yield the number of a sentence's first line, and its words without comments, or the line that is not text."""
    word: _Word | None = None  # the first that cannot be a comment
    waiting: list[list[_Word]] = []
    for paragraph in _paragraphs(lines):
        if bad := next((line for _, line in paragraph if isinstance(line, UserError)), None):
            yield paragraph[0][0], bad
            continue
        waiting.append([_row(number, str(line)) for number, line in paragraph])
        word = word or next((row for row in waiting[-1] if not row.cells[0].startswith(_COMMENT)), None)
        if word is not None:
            yield from ((rows[0].line, rows) for found in waiting if (rows := _without_comments(found, word)))
            waiting = []
    yield from ((rows[0].line, rows) for rows in waiting)


def _paragraphs(lines: Lines) -> Iterator[list[tuple[int, str | UserError]]]:
    """Yield the lines between separating lines; at least one each."""
    sentence: list[tuple[int, str | UserError]] = []
    for number, line in lines:
        if isinstance(line, UserError) or _BLANK.split(line.strip(" \t"))[0] not in ("", _DOCUMENT):
            sentence.append((number, line))
        elif sentence:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _row(number: int, line: str) -> _Word:
    if "\t" in line:
        return _Word(number, tuple(cell.strip(" ") for cell in line.rstrip(" \t").split("\t")), True)
    return _Word(number, tuple(_BLANK.split(line.strip(" "))), False)


def _without_comments(rows: list[_Word], word: _Word) -> list[_Word]:
    """Return the rows without the comments before them, which are unlike the first word of the sentence.

    If all rows begin with #, they are compared with ``word`` instead.
    """
    hashes = next((n for n, row in enumerate(rows) if not row.cells[0].startswith(_COMMENT)), len(rows))
    word = rows[hashes] if hashes < len(rows) else word
    return [row for n, row in enumerate(rows) if n >= hashes or row.is_like(word)]


def _is_conllu(rows: list[_Word]) -> bool:
    return all(
        row.tabs and len(row.cells) == _CONLLU_WIDTH and _CONLLU_NUMBER.fullmatch(row.cells[0])
        for row in rows
    )


def _check(
    row: _Word, first: _Word, width: int | None, name: str, tag_column: int, may_be_hidden: bool
) -> None:
    """Refuse a row that has another number of columns than required, or lacks word or tag."""
    where = f"{name}, line {row.line}"
    needed = width or len(first.cells)
    if len(row.cells) != needed:
        there = f"line {first.line} has" if first.line != row.line else "there should be"
        apart = " (a line with a tab in it has no other separator)" if row.tabs != first.tabs else ""
        comment = ", or leave it out if it is a comment" if row.cells[0].startswith(_COMMENT) else ""
        raise UserError(
            f"{where} has {len(row.cells)} columns where {there} {needed}{apart}; mend that line{comment}, "
            "or give the file of that benchmark."
        )
    if not row.cells[0]:
        raise UserError(f"{where} has no word before its first tab; mend that line, or leave it out.")
    if needed == 1 and not may_be_hidden:
        raise UserError(f"{where} has a word and no tag; give a tag for every word, after white space.")
    if needed > 1 and not strip_label(row.cells[tag_column]):
        raise UserError(f"{where} has no tag; give a tag for every word.")
