"""From a text file to its documents, as a stream."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from electra_jax.data.sources.compressed import read_blocks
from electra_jax.errors import UserError

Separator = Literal["blank_line", "line"]

# Longer documents in .txt files are cut at white space, so that a corpus on one line is read in constant memory.
MAX_DOCUMENT_CHARACTERS = 1_000_000

_SEPARATORS = {"blank_line": re.compile(r"\n[^\S\n]*\n"), "line": re.compile(r"\n")}
_BYTE_ORDER_MARK = "\ufeff"
_SURROGATES = re.compile("[\ud800-\udfff]")


def check_encoding(encoding: str) -> None:
    """Raises `UserError` where `encoding` is not the name of a text encoding."""
    try:
        "a".encode(encoding).decode(encoding)  # Empty text would pass for any name.
        codecs.getincrementaldecoder(encoding)
    except (LookupError, ValueError) as error:
        raise UserError(
            f"data.encoding {encoding!r} is not a text encoding of Python's; use one such as utf-8, utf-16 or latin-1."
        ) from error


def read_text(path: str, encoding: str) -> Iterator[str]:
    """Yields the text of a file in pieces, every line end as a newline and without a byte order mark.

    Raises:
        UserError: The file cannot be read, is not text, or is not in this encoding.
    """
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    wide = b"\0" in "a".encode(encoding)
    end = 0
    start_of_file = True
    for block in _with_end(read_blocks(path)):
        end += len(block)
        if not wide and (nul := block.find(b"\0")) >= 0:
            raise _not_text(path, end - len(block) + nul)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            # What the decoder had kept of earlier blocks is part of error.object, which ends where the block does.
            offset = end - len(error.object) + error.start
            raise UserError(
                f"{path} is not {encoding} at byte {offset} ({error.reason}); set data.encoding, or mend the file."
            ) from error
        if wide and "\0" in text:
            raise _not_text(path, end - len(block))
        if start_of_file and text:
            text = text.removeprefix(_BYTE_ORDER_MARK)
            start_of_file = False
        yield text


def split_documents(pieces: Iterable[str], separator: Separator) -> Iterator[str]:
    """Yields the non-empty documents of a text that comes in pieces; no memory is held beyond the longest allowed."""
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


def json_documents(path: str, pieces: Iterable[str], field: str) -> Iterator[str]:
    """Yields the non-empty texts in `field` of a file of JSON lines.

    Raises:
        UserError: A line is not a JSON object, or has no text in this field.
    """
    for number, line in enumerate(_lines(pieces), start=1):
        if line.strip() and (document := _json_text(path, number, line, field).strip()):
            yield document


def file_documents(
    path: str, *, is_json: bool, separator: Separator, field: str, encoding: str
) -> Iterator[str]:
    """Yields the documents of one file.

    Raises:
        UserError: As `read_text` and `json_documents`.
    """
    pieces = read_text(path, encoding)
    return json_documents(path, pieces, field) if is_json else split_documents(pieces, separator)


def _not_text(path: str, offset: int) -> UserError:
    return UserError(
        f"{path} is not a text file (a NUL byte at or after byte {offset}); give .txt or .jsonl files, plain or as "
        ".gz, .xz or .zst, and set data.encoding if they are not UTF-8."
    )


def _with_end(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield from blocks
    yield b""


def _cut(document: str) -> list[str]:
    """Returns the document in parts of at most `MAX_DOCUMENT_CHARACTERS`; the last may be white space or nothing."""
    document = document.lstrip()
    parts = []
    while len(document) > MAX_DOCUMENT_CHARACTERS:
        head = document[:MAX_DOCUMENT_CHARACTERS]
        at = max(head.rfind("\n"), 0) or max(head.rfind(" "), 0) or MAX_DOCUMENT_CHARACTERS
        parts.append(document[:at].rstrip())
        document = document[at:].lstrip()
    return [*parts, document]


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    pending: list[str] = []
    for piece in pieces:
        first, *others = piece.split("\n")
        pending.append(first)
        for line in others:
            yield "".join(pending)
            pending = [line]
    yield "".join(pending)


def _json_text(path: str, number: int, line: str, field: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", str(error))
        raise UserError(f"{path}, line {number} is not JSON: {reason}.") from error
    if not isinstance(record, dict):
        raise UserError(f"{path}, line {number} is not a JSON object with a field {field!r}.")
    if field not in record:
        found = ", ".join(map(repr, record)) or "none"
        raise UserError(
            f"{path}, line {number} has no field {field!r} (it has {found}); set data.text_field."
        )
    if not isinstance(record[field], str):
        raise UserError(f"{path}, line {number}: the field {field!r} is not text; set data.text_field.")
    return _SURROGATES.sub("\ufffd", record[field])  # JSON can spell halves of characters; UTF-8 cannot.
