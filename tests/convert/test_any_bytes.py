"""Any bytes to every reader of foreign checkpoints: a result or one sentence, in one child of bounded memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

READERS = [
    *("torch zip", "torch legacy", "safetensors", "flax", "tensorflow index", "tensorflow data"),
    *(
        "tensorflow state",
        "index.json",
        "config.json",
        "config.json of two",
        "vocab.txt",
        "tokenizer_config.json",
        "tokenizer.json",
    ),
]
HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What was found out about each reader."""
    places = os.pathsep.join(str(place) for place in (HERE.parents[1], HERE.parent, HERE))
    ended = subprocess.run(
        [sys.executable, HERE / "any_bytes.py", "100"],
        env={**os.environ, "PYTHONPATH": places, "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return dict(line.split(": ", 1) for line in ended.stdout.splitlines())


@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_a_result_or_a_sentence(said, name):
    assert said[name] == "held"


def test_every_reader_is_in_the_table(said):
    assert set(said) == set(READERS)
