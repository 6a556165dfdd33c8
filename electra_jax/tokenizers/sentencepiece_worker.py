"""A process of its own that trains a SentencePiece model: its C++ would hold a signal up until it is done.

Run by path, with nothing of the package, so that it starts in no time. It reads one frame, JSON with the settings and
the sentences, answers with one byte and the model or a message, and ends when its input does: a parent that was killed
leaves nothing behind.
"""

import io
import json
import os
import sys
import threading
from typing import Any

import sentencepiece as spm

MODEL, REFUSED = b"\0", b"\1"


def train(settings: dict[str, Any], sentences: list[str]) -> bytes:
    """Train a model; return it, or why there is none, behind a byte that says which.

    Returns:
        `MODEL` and a serialized model, or `REFUSED` and SentencePiece's own words.
    """
    written = io.BytesIO()
    try:
        spm.SentencePieceTrainer.train(sentence_iterator=iter(sentences), model_writer=written, **settings)
    except (RuntimeError, ValueError) as error:  # ValueError: a number that its settings cannot hold
        return REFUSED + str(error).encode()
    return MODEL + written.getvalue()


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)


def main() -> None:
    """Train once, between standard input and standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up in the answer
    with os.fdopen(os.dup(0), "rb", buffering=0) as requests:
        length = int.from_bytes(_read_exactly(requests, 8), "little")
        request = json.loads(_read_exactly(requests, length))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answers.write(train(request["settings"], request["sentences"]))
    answers.flush()
    os._exit(0)


def _read_exactly(requests: io.RawIOBase, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        part = requests.read(min(length - len(content), 1 << 20))
        if not part:
            sys.exit(1)
        content += part
    return bytes(content)


if __name__ == "__main__":
    main()
