"""Any bytes to every reader of a user's files: a result or one sentence, in one child of bounded memory and time."""

import os
import subprocess
import sys
from pathlib import Path


def test_any_bytes_are_a_result_or_a_sentence():
    program = Path(__file__).resolve().parent / "any_file.py"
    ended = subprocess.run(
        [sys.executable, program, "60"],
        env={**os.environ, "PYTHONPATH": f"{program.parents[3]}{os.pathsep}{program.parents[2]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    said = dict(line.split(": ", 1) for line in ended.stdout.splitlines())
    assert len(said) == 17
    assert {name: words for name, words in said.items() if words != "held"} == {}
