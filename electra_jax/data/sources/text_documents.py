"""From a text file to its documents, as a stream."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from electra_jax.data.sources.json_lines import read_json_lines
from electra_jax.data.sources.text import raise_errors, read_text
from electra_jax.errors import UserError, quoted

Separator = Literal["blank_line", "line", "file"]

# Longer documents in .txt files are cut at white space, so that a corpus on one line is read in constant memory; but
# not where a whole file is one document.
MAX_DOCUMENT_CHARACTERS = 1_000_000
REMEDY = "set data.encoding, or mend the file"

_SEPARATORS = {"blank_line": re.compile(r"\n[^\S\n]*\n"), "line": re.compile(r"\n")}


def check_encoding(encoding: str) -> None:
    """Refuse what is not the name of a text encoding.

    Raises:
        UserError: it is not.
    """
    try:
        "a".encode(encoding).decode(encoding)  # Empty text would pass for any name.
        codecs.getincrementaldecoder(encoding)
    except (LookupError, ValueError) as error:
        raise UserError(
            f"data.encoding {encoding!r} is not a text encoding of Python's; use one such as utf-8, utf-16 or latin-1."
        ) from error


def whole_document(pieces: Iterable[str]) -> Iterator[str]:
    """Yield a text that comes in pieces as one document with all its characters, unless there is white space alone."""
    text = "".join(pieces)
    if text and not text.isspace():
        yield text


def split_documents(pieces: Iterable[str], separator: Literal["blank_line", "line"]) -> Iterator[str]:
    """Yield the non-empty documents of a text that comes in pieces; no memory is held beyond the longest allowed."""
    pattern = _SEPARATORS[separator]
    rest = ""
    for piece in pieces:
        *complete, rest = pattern.split(rest + piece)
        for document in complete:
            *cut, last = _cut(document)
            yield from cut
            if last := last.strip():
                yield last
        *cut, rest = _cut(rest)
        yield from cut
    if rest := rest.strip():
        yield rest


def json_documents(path: str, field: str, encoding: str) -> Iterator[str]:
    """Yield the non-empty texts in ``field`` of a file of JSON lines.

    Raises:
        UserError: as `read_lines`; a line is not a JSON object, or has no text in this field.
    """
    for number, record in raise_errors(read_json_lines(path, encoding, remedy=REMEDY)):
        if document := _text_in(record, field, f"{path}, line {number}").strip():
            yield document


def file_documents(
    path: str, *, is_json: bool, separator: Separator, field: str, encoding: str
) -> Iterator[str]:
    """Yield the documents of one file.

    Raises:
        UserError: as `read_text` and `json_documents`.
    """
    if is_json:
        return json_documents(path, field, encoding)
    pieces = read_text(path, encoding, remedy=REMEDY)
    return whole_document(pieces) if separator == "file" else split_documents(pieces, separator)


def _cut(document: str) -> list[str]:
    """Return the document in parts of at most `MAX_DOCUMENT_CHARACTERS`; the last may be white space or nothing."""
    document = document.lstrip()
    parts = []
    while len(document) > MAX_DOCUMENT_CHARACTERS:
        head = document[:MAX_DOCUMENT_CHARACTERS]
        at = max(head.rfind("\n"), 0) or max(head.rfind(" "), 0) or MAX_DOCUMENT_CHARACTERS
        parts.append(document[:at].rstrip())
        document = document[at:].lstrip()
    return [*parts, document]


def _text_in(record: dict[str, Any], field: str, where: str) -> str:
    if field not in record:
        raise UserError(f"{where} has no field {field!r} (it has {quoted(record)}); set data.text_field.")
    if not isinstance(record[field], str):
        raise UserError(f"{where}: the field {field!r} is not text; set data.text_field.")
    return record[field]
