"""Lines of a pipe; and typed lines in a terminal of its own: editing, what was typed before, and how they end."""

import io
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from electra_jax import UserError
from electra_jax.chat.lines import piped_lines

CODE = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))  # so that ^C of this terminal reaches the process
from pathlib import Path
from electra_jax import cli
from electra_jax.chat.lines import line_editing, typed_lines

def main(argv):
    for line in typed_lines("> ", line_editing(Path(sys.argv[1]))):
        print("said", ascii(line), flush=True)
    return 0

cli.run(main)
"""


class Terminal:
    """The code above with somebody who types."""

    def __init__(self, remembered: Path):
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(remembered)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "dumb"},
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def type(self, keys: bytes, until: str) -> None:
        """Type keys, and wait for what is shown then.

        Keys typed before the next prompt would meet a terminal that does not edit yet.
        """
        seen = len(self.shown)
        os.write(self._ours, keys)
        end = time.monotonic() + 60
        while until not in self.shown[seen:]:
            assert time.monotonic() < end, self.shown
            if select.select([self._ours], [], [], 1)[0]:
                try:
                    self.shown += os.read(self._ours, 4096).decode()
                except OSError:  # it is gone
                    break

    def end(self) -> int:
        """Wait for its end."""
        return self._process.wait(60)


def test_lines_of_a_pipe_come_one_by_one_up_to_what_is_no_text():
    lines = piped_lines(io.BytesIO("\ufeffa\r\n\n ü".encode()))
    assert list(lines) == ["a", "", " ü"]
    for content, message in (
        (b"a\nb\0\n", "line 2 has a NUL byte"),
        (b"a\n" + b"b" * 2**21, "has more than 1,048"),
    ):
        lines = piped_lines(io.BytesIO(content))
        assert next(lines) == "a"
        with pytest.raises(UserError, match=message):
            next(lines)


def test_lines_are_edited_remembered_and_ended_by_either_key(tmp_path):
    pytest.importorskip("readline")
    remembered = tmp_path / "state" / "lines"
    terminal = Terminal(remembered)
    terminal.type(b"", "> ")
    terminal.type(b"hello thre\x7f\x7f\x01well, \r", "said 'well, hello th'\r\n> ")  # backspaces, and ^A
    terminal.type(b"\x1b[A\r", "said 'well, hello th'\r\n> ")  # the arrow that goes back
    terminal.type(b"\x04", "\n")
    assert terminal.end() == 0
    assert remembered.stat().st_mode & 0o777 == 0o600
    terminal = Terminal(remembered)
    terminal.type(b"", "> ")
    terminal.type(b"new\r", "said 'new'\r\n> ")
    terminal.type(b"\x1b[A\x1b[A\r", "said 'well, hello th'\r\n> ")
    terminal.type(b"half\x03", "stopped by SIGINT")
    assert terminal.end() == 130
    assert remembered.read_text().splitlines()[-2:] == ["new", "well, hello th"]
