"""From the bytes of a file to text and to lines; what is no text is said with its line and column."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

from electra_jax.data.sources.compressed import Source, read_blocks, source_name
from electra_jax.data.sources.file_signatures import SIGNATURE_BYTES, guess_kind
from electra_jax.errors import UserError

# A longer line is refused: whoever reads lines has a whole one in memory.
MAX_LINE_CHARACTERS = 1 << 26

T = TypeVar("T")
Lines = Iterator[tuple[int, "str | UserError"]]

UTF8 = "utf-8"
REMEDY = "convert the file to UTF-8, or mend it"

_BYTE_ORDER_MARK = "\ufeff"
_SURROGATES = re.compile("[\ud800-\udfff]")
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


class BadLine(UserError):
    """What is wrong with a line that is no text.

    Attributes:
        line: the line all the same, for those who must know where a record ends; "" if it is too long.
    """

    def __init__(self, message: object = "", line: str = ""):
        super().__init__(message)
        self.line = line


def without_surrogates(text: str) -> str:
    """Return the text with halves of characters replaced, one for one: JSON can spell them, UTF-8 cannot."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def read_text(source: Source, encoding: str = UTF8, *, remedy: str = REMEDY) -> Iterator[str]:
    """Yield the text of a file in pieces, every line end as a newline and without a byte order mark.

    Args:
        source: of the bytes, compressed or not.
        encoding: of the text.
        remedy: what to do where it is another; ends messages.

    Raises:
        UserError: the file cannot be read, is not text, or is not in this encoding.
    """
    position = _Position(source_name(source), encoding, remedy)
    for text in _decoded(source, encoding, "strict", position):
        if (nul := text.find("\0")) >= 0:
            raise position.after(text[:nul]).nul_byte()
        position = position.after(text)
        yield text


def read_lines(source: Source, encoding: str = UTF8, *, remedy: str = REMEDY) -> Lines:
    """Yield the lines of a file with their numbers from 1; of a line that is no text, what is wrong with it.

    Lines end as `read_text` says. A byte order mark at the start of any line is left out, as files have them that were
    joined. In UTF-8 one bad line leaves the others as they are, so that the caller may go on.

    Args:
        source: of the bytes, compressed or not.
        encoding: of the text.
        remedy: what to do where it is another; ends messages.

    Raises:
        UserError: the file cannot be read, or is not in another encoding than UTF-8 that was given.
    """
    position = _Position(source_name(source), encoding, remedy)
    errors = "surrogateescape" if codecs.lookup(encoding).name == UTF8 else "strict"
    for number, line in enumerate(_lines(_decoded(source, encoding, errors, position)), start=1):
        position.line = number
        if line is None:
            yield (
                number,
                BadLine(
                    f"{position.name}, line {number} is longer than {MAX_LINE_CHARACTERS:,} characters; divide it."
                ),
            )
        elif "\0" not in line and (line.isascii() or _SURROGATES.search(line) is None):
            yield number, line.removeprefix(_BYTE_ORDER_MARK)
        else:
            yield number, BadLine(position.bad_line(line), line.removeprefix(_BYTE_ORDER_MARK))


def raise_errors(numbered: Iterable[tuple[int, T | UserError]]) -> Iterator[tuple[int, T]]:
    """Yield what was read, with its numbers, up to what could not be.

    Raises:
        UserError: the first there is.
    """
    for number, value in numbered:
        if isinstance(value, UserError):
            raise value
        yield number, value


class _Position:
    """Where in a file one is, and what is wrong there."""

    def __init__(self, name: str, encoding: str, remedy: str):
        self.name, self.encoding, self._remedy = name, encoding, remedy
        self.head = b""
        self.line, self.column = 1, 1

    def after(self, text: str) -> _Position:
        """Return the place behind a text."""
        if newlines := text.count("\n"):
            self.line += newlines
            self.column = 1
        self.column += len(text) - (text.rfind("\n") + 1)
        return self

    def nul_byte(self) -> UserError:
        return self._error("has a NUL byte, which no text has", "a NUL byte")

    def bad_byte(self, byte: int) -> UserError:
        return self._error(f"is not {self.encoding} (byte 0x{byte:02x})", f"byte 0x{byte:02x}")

    def undecodable(self) -> UserError:
        return self._error(f"or after it is not {self.encoding}", "what follows")

    def bad_line(self, line: str) -> UserError:
        """Return the first thing in a line that is no text; what could not be decoded is escaped as surrogates."""
        found = _NOT_TEXT.search(line)
        assert found is not None
        self.column = found.start() + 1
        return self.nul_byte() if found[0] == "\0" else self.bad_byte(ord(found[0]) & 0xFF)

    def _error(self, problem: str, short: str) -> UserError:
        here = f"line {self.line}, column {self.column}"
        wide = b"\0" in "a".encode(self.encoding)  # of which zero bytes say nothing
        if kind := None if wide else guess_kind(self.head):
            return UserError(
                f"{self.name} is not {self.encoding} text but most likely {kind} ({here}: {short}); {self._remedy}."
            )
        return UserError(f"{self.name}, {here} {problem}; {self._remedy}.")


def _decoded(source: Source, encoding: str, errors: str, position: _Position) -> Iterator[str]:
    """Yield pieces of text; ``position`` learns the first bytes, and must be kept behind what was yielded."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(errors), translate=True)
    start_of_file = True
    for block in _with_end(read_blocks(source)):
        if start_of_file:
            position.head = position.head or block[:SIGNATURE_BYTES]
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            # What the decoder had kept of earlier blocks is part of error.object, but for a carriage return.
            before = "\r" * (decoder.getstate()[1] & 1)
            before += error.object[: error.start].decode(encoding, "replace")
            if start_of_file:
                before = before.removeprefix(_BYTE_ORDER_MARK)
            before = before.replace("\r\n", "\n").replace("\r", "\n")
            raise position.after(before).bad_byte(error.object[error.start]) from error
        except UnicodeError as error:  # of codecs that do not say where
            raise position.undecodable() from error
        if start_of_file and text:
            text = text.removeprefix(_BYTE_ORDER_MARK)
            start_of_file = False
        if text:
            yield text


def _with_end(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield from blocks
    yield b""


def _lines(pieces: Iterable[str]) -> Iterator[str | None]:
    """Yield lines without their ends; None for one that is too long, of which no more than that is kept."""
    pending: list[str] = []
    length = 0
    for piece in pieces:
        first, *others = piece.split("\n")
        for begins, part in enumerate((first, *others)):
            if begins:
                yield "".join(pending) if length <= MAX_LINE_CHARACTERS else None
                pending, length = [], 0
            length += len(part)
            if length <= MAX_LINE_CHARACTERS:
                pending.append(part)
            else:
                pending.clear()
    if length:
        yield "".join(pending) if length <= MAX_LINE_CHARACTERS else None
