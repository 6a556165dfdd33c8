"""What a person says, line by line: typed in a terminal, with editing and what was typed before, or from a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

from electra_jax.errors import UserError

# Lines that are remembered from one conversation to the next.
_REMEMBERED = 1000
# A longer line of a pipe is nothing that anybody says.
_MAX_LINE_BYTES = 1 << 20


def is_terminal() -> bool:
    """Return whether a person types and reads here."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def typed_lines(prompt: str, remember: Callable[[], object]) -> Iterator[str]:
    """Yield what is typed, until the end of input (^D).

    Args:
        prompt: before each line.
        remember: called when a line was typed that is not empty.
    """
    while True:
        try:
            line = input(prompt)
        except EOFError:
            print()
            return
        except UnicodeDecodeError as error:
            print(f"that line is no {error.encoding}, and is left out", file=sys.stderr)
            continue
        if line:
            remember()
        yield line


def piped_lines(stream: BinaryIO) -> Iterator[str]:
    """Yield the lines of a pipe or file as they come, without their ends.

    Raises:
        UserError: a line is no text, or too long.
    """
    number = 0
    while line := stream.readline(_MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > _MAX_LINE_BYTES:
            raise UserError(
                f"standard input, line {number} has more than {_MAX_LINE_BYTES:,} bytes: divide it"
            )
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"standard input, line {number} is not utf-8 (byte 0x{line[error.start]:02x}): convert it to UTF-8"
            ) from None
        if "\0" in text:
            raise UserError(f"standard input, line {number} has a NUL byte, which no text has: mend it")
        yield text.rstrip("\r\n").removeprefix("\ufeff")


def line_editing(remembered: Path | None) -> Callable[[], object]:
    """Edit typed lines with the keys of a shell from here on, and go through those typed before.

    Args:
        remembered: file that keeps them from one conversation to the next, for its owner alone; None: they are
            forgotten.

    Returns:
        what adds the last line to the file at once, so that nothing is lost however the process ends.
    """
    readline = _readline()
    if readline is None or remembered is None:
        return lambda: None
    try:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(remembered, os.O_CREAT | os.O_WRONLY, 0o600))
        with suppress(OSError):  # of another program
            readline.read_history_file(remembered)
        readline.set_history_length(_REMEMBERED)
        readline.write_history_file(remembered)
    except OSError as error:
        print(f"note: what is typed is not remembered: {remembered}: {error.strerror}", file=sys.stderr)
        return lambda: None

    def remember() -> None:
        with suppress(OSError):  # a full disk is no reason to stop talking
            if hasattr(readline, "append_history_file"):
                readline.append_history_file(1, remembered)
            else:
                readline.write_history_file(remembered)

    return remember


def _readline() -> ModuleType | None:
    """Return what edits lines; None where Python has it not, and the terminal's own keys remain."""
    try:
        import readline
    except ImportError:
        return None
    return readline


def remembered_file() -> Path:
    """Return the file of the lines that were typed: in ``XDG_STATE_HOME``, or ``~/.local/state``."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "electra_jax" / "chat_lines"
