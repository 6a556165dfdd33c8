"""Tokenises documents in several processes, in order.

A worker is a plain child process that loads the tokenizer from its directory and answers frames over pipes.
It imports nothing of the program that started it, needs no `if __name__ == "__main__"` there, and ends when
its input does, so a killed parent leaves no orphan.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

import electra_jax
from electra_jax.data.packing import split_sentences
from electra_jax.data.text_counts import count_text
from electra_jax.errors import UserError
from electra_jax.tokenizers import Tokenizer, load_tokenizer

_T = TypeVar("_T")
_CHUNK_CHARACTERS = 1 << 18
_CHUNK_DOCUMENTS = 1024
_CHUNKS_IN_FLIGHT = 3  # for each process
_OK, _USER_ERROR, _CRASH = range(3)


@dataclass(frozen=True)
class TokenChunk:
    """The tokens of some documents.

    Attributes:
        ids: int32 [tokens], of all documents.
        sentence_lengths: int64 [sentences], tokens of each, none of them 0.
        sentence_counts: int64 [documents], sentences of each; 0 for a document without tokens.
        text_counts: int64 [documents, 3], see `text_counts.count_text`; [0, 3] if nobody asked for them.
    """

    ids: np.ndarray
    sentence_lengths: np.ndarray
    sentence_counts: np.ndarray
    text_counts: np.ndarray

    def documents(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (ids, sentence_ends) of each document, see `packing.Packer.add`."""
        sentence_ends = np.cumsum(self.sentence_lengths)
        start = first = 0
        for last in np.cumsum(self.sentence_counts).tolist():
            ends = sentence_ends[first:last] - start
            stop = start + (int(ends[-1]) if len(ends) else 0)
            yield self.ids[start:stop], ends
            start, first = stop, last


def tokenize_chunk(
    tokenizer: Tokenizer, documents: list[str], by_sentence: bool, count_texts: bool = False
) -> TokenChunk:
    """Tokenise documents, as one text each or sentence by sentence; only the former can be counted.

    Counted ones are tokenised line by line, where that gives the same: SentencePiece adds up scores in float32, and
    would at the end of a long text take segmentations for equal that are not.
    """
    by_line = count_texts and tokenizer.encodes_lines_alone
    divide = split_sentences if by_sentence else _lines if by_line else _whole
    texts = [divide(document) for document in documents]
    encoded = tokenizer.encode_batch([text for part in texts for text in part])
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    ids = np.fromiter(chain.from_iterable(encoded), np.int32, int(lengths.sum()))
    document_of = np.repeat(np.arange(len(texts)), [len(part) for part in texts])
    counts = np.bincount(document_of[lengths > 0], minlength=len(texts))
    chunk = TokenChunk(ids, lengths[lengths > 0], counts, np.empty((0, 3), np.int64))
    if not count_texts:
        return chunk
    tokens = (of_document.tolist() for of_document, _ in chunk.documents())
    counted = [count_text(tokenizer, *of) for of in zip(documents, tokens)]
    return replace(chunk, text_counts=np.array(counted, np.int64).reshape(-1, 3))


def _whole(document: str) -> list[str]:
    return [document]


def _lines(document: str) -> list[str]:
    """Return the lines of a document, each with its line end."""
    *lines, last = document.split("\n")
    return [*(f"{line}\n" for line in lines), last]


def tokenize_documents(
    documents: Iterable[tuple[_T, str]],
    tokenizer: Tokenizer,
    *,
    by_sentence: bool,
    processes: int,
    count_texts: bool = False,
) -> Generator[tuple[list[_T], TokenChunk], None, None]:
    """Tokenise a stream of labelled documents; order and result are those of a single process.

    Args:
        documents: (label, text) of each; labels are handed through.
        tokenizer: gives the ids.
        by_sentence: whether sentences are tokenised, and counted, one by one.
        processes: how many tokenise at the same time; 1: this one.
        count_texts: whether to count the text as well; not with ``by_sentence``.

    Yields:
        Labels and tokens of some documents.

    Raises:
        UserError: a worker was killed.
    """
    chunks = _chunked(documents)
    if processes == 1:
        for labels, texts in chunks:
            yield labels, tokenize_chunk(tokenizer, texts, by_sentence, count_texts)
        return
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "tokenizer"
        tokenizer.save(directory)
        pool = stack.enter_context(WorkerPool(directory, by_sentence, processes, count_texts))
        pending: deque[tuple[list[_T], Future[TokenChunk]]] = deque()
        for labels, texts in chunks:
            pending.append((labels, pool.submit(texts)))
            if len(pending) >= _CHUNKS_IN_FLIGHT * processes:
                labels, future = pending.popleft()
                yield labels, future.result()
        while pending:
            labels, future = pending.popleft()
            yield labels, future.result()


class WorkerPool:
    """Child processes, each driven by a thread of its own and started when it is first needed."""

    def __init__(
        self, tokenizer_dir: Path, by_sentence: bool, processes: int, count_texts: bool = False
    ) -> None:
        self._arguments = [str(tokenizer_dir), str(int(by_sentence)), str(int(count_texts))]
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="tokenize")
        self._of_thread = threading.local()
        self._workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._workers):
            worker.kill()
        self._threads.shutdown(wait=True)
        for worker in self._workers:
            worker.kill()  # again: a thread may have been starting one
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()

    def submit(self, texts: list[str]) -> Future[TokenChunk]:
        """Start tokenising; the future holds the tokens, or raises what went wrong."""
        return self._threads.submit(self._exchange, texts)

    def _exchange(self, texts: list[str]) -> TokenChunk:
        worker: subprocess.Popen[bytes] | None = getattr(self._of_thread, "worker", None)
        if worker is None:
            worker = self._of_thread.worker = self._start()
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            _send(worker.stdin, _encode_texts(texts))
            status, *parts = _receive(worker.stdout)
        except (OSError, EOFError) as error:
            raise UserError(
                f"a process that tokenises ended unexpectedly (status {worker.wait()}), perhaps for lack of "
                "memory: set data.prepare_processes to a smaller number and run again"
            ) from error
        if status[0] == _USER_ERROR:
            raise UserError(parts[0].decode())
        if status[0] == _CRASH:
            raise RuntimeError(f"a process that tokenises failed:\n{parts[0].decode()}")
        ids, lengths, counts, text_counts = parts
        return TokenChunk(
            np.frombuffer(ids, np.int32),
            np.frombuffer(lengths, np.int64),
            np.frombuffer(counts, np.int64),
            np.frombuffer(text_counts, np.int64).reshape(-1, 3),
        )

    def _start(self) -> subprocess.Popen[bytes]:
        root = str(Path(electra_jax.__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        # Each worker is one process of many: libraries must not start a thread for every core in each.
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": "1",
        }
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "electra_jax.data.tokenizing", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            # Ctrl-C in a terminal reaches this program only, which then ends its workers.
            process_group=0,
        )
        self._workers.append(worker)
        return worker


def serve(
    tokenizer_dir: Path, by_sentence: bool, count_texts: bool, requests: IO[bytes], answers: IO[bytes]
) -> None:
    """Answer frames of texts with frames of tokens until ``requests`` ends."""
    tokenizer: Tokenizer | None = None
    while True:
        try:
            frame = _receive(requests)
        except EOFError:
            return
        try:
            tokenizer = tokenizer or load_tokenizer(tokenizer_dir)
            chunk = tokenize_chunk(tokenizer, _decode_texts(frame), by_sentence, count_texts)
        except UserError as error:
            answer = [bytes([_USER_ERROR]), str(error).encode()]
        except Exception:
            answer = [bytes([_CRASH]), traceback.format_exc().encode()]
        else:
            parts = (chunk.ids, chunk.sentence_lengths, chunk.sentence_counts, chunk.text_counts)
            answer = [bytes([_OK]), *(part.tobytes() for part in parts)]
        _send(answers, answer)


def _chunked(documents: Iterable[tuple[_T, str]]) -> Iterator[tuple[list[_T], list[str]]]:
    """Group documents so that a group is worth sending and yet small."""
    labels: list[_T] = []
    texts: list[str] = []
    characters = 0
    for label, text in documents:
        labels.append(label)
        texts.append(text)
        characters += len(text)
        if characters >= _CHUNK_CHARACTERS or len(texts) >= _CHUNK_DOCUMENTS:
            yield labels, texts
            labels, texts, characters = [], [], 0
    if texts:
        yield labels, texts


def _encode_texts(texts: list[str]) -> list[bytes]:
    # Lone surrogates, which JSON can spell, must arrive in a worker as they would in one process.
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    return [np.array([len(text) for text in encoded], np.int64).tobytes(), b"".join(encoded)]


def _decode_texts(frame: list[bytes]) -> list[str]:
    lengths, data = frame
    texts, start = [], 0
    for length in np.frombuffer(lengths, np.int64).tolist():
        texts.append(data[start : start + length].decode("utf-8", "surrogatepass"))
        start += length
    return texts


def _send(pipe: IO[bytes], parts: list[bytes]) -> None:
    """Write one frame: the number of parts, their lengths, the parts."""
    pipe.write(np.array([len(parts), *map(len, parts)], np.int64).tobytes())
    for part in parts:
        pipe.write(part)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> list[bytes]:
    """Read one frame; raises EOFError when the pipe ends first."""
    (count,) = np.frombuffer(_read(pipe, 8), np.int64).tolist()
    lengths = np.frombuffer(_read(pipe, 8 * count), np.int64).tolist()
    return [_read(pipe, length) for length in lengths]


def _read(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _main(arguments: list[str]) -> None:
    directory, by_sentence, count_texts = arguments
    # What a library prints must not end up between the frames.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(Path(directory), by_sentence == "1", count_texts == "1", sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main(sys.argv[1:])
