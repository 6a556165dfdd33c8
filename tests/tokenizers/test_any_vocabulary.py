"""Any bytes to every reader of a vocabulary: a tokenizer or one sentence, in one child of bounded memory and time."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
READERS = [
    *("vocab.txt", "model", "tokenizer_config.json", "tokenizer.json"),
    *("characters.json", "saved characters"),
    *("saved vocab.txt", "saved wordpiece", "saved sentencepiece"),
]


def test_any_bytes_are_a_tokenizer_or_a_sentence():
    ended = subprocess.run(
        [sys.executable, HERE / "any_vocabulary.py", "100"],
        env={**os.environ, "PYTHONPATH": f"{HERE.parents[1]}{os.pathsep}{HERE.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr[-3000:]
    assert ended.stdout.splitlines() == [f"{name} held" for name in READERS]
