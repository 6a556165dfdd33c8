"""CoNLL's format: a word a line with its columns, an empty line between sentences."""

import re
from pathlib import Path

from electra_jax.errors import UserError
from electra_jax.tasks.protocol import Place, WordsExample
from electra_jax.tasks.sources.files import numbered_lines

_BLANK = re.compile("[ \t]+")  # Other white space may be part of a word.
_DOCUMENT = "-DOCSTART-"


def read_word_columns(
    path: Path, *, tag_column: int = -1, width: int | None = None, may_be_hidden: bool = False
) -> list[WordsExample]:
    """The sentences of a file; the word is the first column, and identifiers are sentence numbers from 0.

    Lines that begin with -DOCSTART- separate documents and are no words.

    Args:
        path: of the file.
        tag_column: which column is the tag; the last by default.
        width: columns there must be; None takes those of the first word.
        may_be_hidden: whether a file of one column, words without tags, is allowed.

    Raises:
        UserError: as `numbered_lines`; there is no word; a line has another number of columns; there are no tags.
    """
    examples: list[WordsExample] = []
    sentence: list[list[str]] = []
    first_line = 0

    def finish(behind: int) -> None:
        if sentence:
            tags = tuple(row[tag_column] for row in sentence) if len(sentence[0]) > 1 else None
            place = Place(str(path), behind - len(sentence), step=1)
            examples.append(WordsExample(str(len(examples)), tuple(row[0] for row in sentence), tags, place))
            sentence.clear()

    number = 0
    for number, line in numbered_lines(path):
        row = _BLANK.split(line.strip(" \t"))
        if row == [""] or row[0] == _DOCUMENT:
            finish(number)
            continue
        if width is None:
            width = len(row)
        first_line = first_line or number
        if len(row) != width:
            there = f"line {first_line} has" if first_line != number else "there should be"
            raise UserError(
                f"{path}, line {number} has {len(row)} columns where {there} {width}; mend that line, "
                "or give the file of that benchmark."
            )
        if width == 1 and not may_be_hidden:
            raise UserError(
                f"{path}, line {number} has a word and no tag; give a tag for every word, after white space."
            )
        sentence.append(row)
    finish(number + 1)
    if not examples:
        raise UserError(f"{path} has no sentence in it; give a file with a word and its tag in each line.")
    return examples
