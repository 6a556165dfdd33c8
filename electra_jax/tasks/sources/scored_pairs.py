"""Pairs of texts with a number that says how alike they are: STS-B, SemEval's STS, and files of one's own."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from electra_jax.data.sources.compressed import split_extension
from electra_jax.errors import UserError, quoted
from electra_jax.tasks.protocol import TextExample
from electra_jax.tasks.sources.choices import identifier
from electra_jax.tasks.sources.files import json_field
from electra_jax.tasks.sources.records import records_of
from electra_jax.tasks.sources.tables import read_cells, table_with_header

Columns = tuple[str, str, str]

EXTENSIONS = (".csv", ".tsv", ".txt", ".jsonl", ".json")
# Two texts and how alike they are: STS-B's and sentence-transformers' names, and those of the tasks here.
_KNOWN: tuple[Columns, ...] = (
    ("sentence1", "sentence2", "score"),
    ("context", "response", "label"),
    ("text", "pair", "label"),
)


def read_scored_pairs(
    path: Path, columns: Columns | None = None, name: str | None = None, *, may_be_hidden: bool = False
) -> list[TextExample]:
    """Read a table, JSON lines or a JSON file of pairs; a .tsv without names has SemEval's score, text, text.

    Args:
        path: of the file, compressed or not.
        columns: of the two texts and the score, where they are there; else those of STS-B, or context, response (or
            text, pair) and label.
        name: column of the identifier; None: the number of the pair.
        may_be_hidden: whether scores may be missing.

    Raises:
        UserError: it is no such file, holds no pair, or a pair lacks something.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file: give one with pairs of texts and scores")
    extension = split_extension(str(path))[0]
    if extension not in EXTENSIONS:
        raise UserError(
            f"{path} is not a file of pairs with scores; give {', '.join(EXTENSIONS)}, packed or not"
        )
    pairs = [
        _pair(record, place, number, columns, name, may_be_hidden)
        for number, (place, record) in enumerate(_records(path, extension))
    ]
    if not pairs:
        raise UserError(f"{path} holds no pairs")
    return pairs


def _records(path: Path, extension: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if extension in (".json", ".jsonl"):
        return records_of(path, extension)
    cells = read_cells(path)
    first = cells[0][1]
    if len(first) == 3 and number_of(first[0]) is not None:
        names: tuple[str, ...] = ("score", "sentence1", "sentence2")
    else:
        table = table_with_header(path, cells)
        names, cells = table.names or (), table.rows
    return ((f"{path}, line {line}", dict(zip(names, row, strict=True))) for line, row in cells)


def _pair(
    record: Mapping[str, Any],
    place: str,
    count: int,
    columns: Columns | None,
    name: str | None,
    may_be_hidden: bool,
) -> TextExample:
    known = _KNOWN if columns is None else (columns, *_KNOWN)
    found = next((some for some in known if record.keys() >= {*some[:2]}), None)
    if found is None:
        raise UserError(
            f"{place} does not have the columns {', '.join(known[0])}, which a pair with its score needs (there is "
            f"{quoted(record)}); without a line of names, a line is score, text, text, with tabs between them"
        )
    first, second, score = found
    texts = [json_field(record, one, str, place) for one in (first, second)]
    if any(not text.strip() for text in texts):
        raise UserError(
            f"{place} has an empty text, which is like nothing: mend the file, or leave the pair out"
        )
    value = record.get(score)
    number = number_of(value)
    if number is None and not (may_be_hidden and value in (None, "")):
        raise UserError(
            f"{place}: {score} is {value!r:.60} and not a number that says how alike the texts are"
        )
    return TextExample(identifier(record, name, count, place), texts[0], texts[1], number)


def number_of(value: Any) -> float | None:
    """Return a score, which may be in digits; None where a value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
