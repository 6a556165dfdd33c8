"""Any bytes to every reader of a user's files: a result or one sentence. Run as a program, in bounded memory.

    python any_file.py [EXAMPLES]

One line a reader on standard output: its name and "held", or what it raised and for which bytes.
"""

import bz2
import gzip
import json
import lzma
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import zstandard
from damaged_bytes import edited, edits_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from task_sections import task_section

from electra_jax.data.sources.text_documents import file_documents
from electra_jax.errors import MAX_MESSAGE_LENGTH, UserError
from electra_jax.inference.reading import TrainingFileFormat, read_records
from electra_jax.inference.records import Record, chunk_records, extract_inputs
from electra_jax.tasks.sources.benchmarks import BENCHMARKS
from electra_jax.tasks.sources.official import find_official, read_official
from electra_jax.tasks.sources.own_files import read_own_file

MAX_MEMORY = 1 << 30  # beyond what the process has when it begins
MAX_SECONDS = 120  # of processor time, for all

_QUESTION = {"id": "1", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]}
_MRQA = {"qid": "1", "question": "Who?", "answers": ["Ann"], "detected_answers": [{"char_spans": [[0, 2]]}]}
GOOD = {
    "csv": 'i,t,l\r\n1,"a, ""b""",pos\r\n2,c, pos\r\n',
    "numbers": "t,l\na,1\nb,-2.5e1\n",
    "tsv": "i\tt\tl\n1\ta\tx\n2\tb\ty\n",
    "table": 'id,text,pair\n1,a,b\n2,"c\n""d""",\n',
    "words": "a\tO\nb\tB-X\n\nc\tO\n",
    "jsonl": '{"i": "1", "t": "a\\ud83d", "l": "x", "text": "a", "words": ["a"]}\n{"i": 2, "t": "b", "l": 1.5}\n',
    "lists": '{"t": ["a", "b"], "l": ["O", "O "]}\n',
    "squad": json.dumps({"data": [{"paragraphs": [{"context": "Ann left.", "qas": [_QUESTION]}]}]}),
    "mrqa": json.dumps({"context": "Ann left.", "qas": [_MRQA]}),
    "glue": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\ta\tb\t0\n2\t2\t3\ta\tb\t1\n",
}
_PARTS = [
    *(b"\0", b"\xff", b"\xed\xa0\x80", b'"', b"\\ud800", b"\n", b"\r", b"\t", b",", b"{", b"}", b"[", b"]"),
    *(b"null", b"NaN", b"1e999", b"-1", b"9" * 5000, b"[" * 3000, b'{"a":' * 2000, b"\xef\xbb\xbf", b" "),
]
_PACKED = [bytes, gzip.compress, lzma.compress, bz2.compress, zstandard.compress]
_edit = edits_of(_PARTS, 2**16)


def _file(good: str) -> st.SearchStrategy[bytes]:
    """A file with mistakes, packed and damaged again, or any bytes at all."""
    coded = st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "latin-1", "utf-32-be"]).map(
        lambda encoding: good.encode(encoding, "replace")
    )
    edits = st.lists(_edit, max_size=6)
    packed = st.tuples(coded, edits, st.sampled_from(_PACKED)).map(lambda t: t[2](edited(t[0], t[1])))
    damaged = st.tuples(packed, edits).map(lambda t: edited(*t))
    return packed | damaged | st.binary(max_size=200)


def _task(kind: str, *, columns: bool = True) -> Callable[[Path], object]:
    config = task_section(kind=kind, text="t", label="l") if columns else task_section(kind=kind)
    return lambda path: [read_own_file(path, config, "here", split, []) for split in ("dev", "test")]


def _documents(path: Path) -> None:
    for encoding in ("utf-8", "latin-1"):
        for _ in file_documents(
            str(path), is_json=path.suffix == ".jsonl", separator="line", field="t", encoding=encoding
        ):
            pass


def _predict(path: Path) -> None:
    """All that can be asked can be written again; what cannot is a sentence, and the rest is still read."""
    for kind, ask in (
        (None, Record.text_or_pair),
        ("classification", Record.text_or_pair),
        ("tagging", Record.words),
        ("question_answering", lambda record: (record.text("question"), record.text("context"))),
    ):
        trained = TrainingFileFormat(kind, {"text": "t", "id": "i"}, labels=frozenset("O"))
        for chunk in chunk_records(read_records(str(path), trained), 2):
            for found in extract_inputs(chunk, ask):
                if not isinstance(found, UserError):
                    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


def _official(path: Path) -> None:
    read_official(BENCHMARKS["qqp"], find_official(BENCHMARKS["qqp"], path.parent, "here"), [])


READERS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "csv": ("csv", "a.csv", _task("classification")),
    "csv of numbers": ("numbers", "a.csv", _task("regression")),
    "tsv": ("tsv", "a.txt", _task("classification")),
    "json lines": ("jsonl", "a.jsonl", _task("classification")),
    "columns of words": ("words", "a.conll", _task("tagging", columns=False)),
    "lists of words": ("lists", "a.jsonl", _task("tagging")),
    "squad": ("squad", "a.json", _task("question_answering", columns=False)),
    "mrqa": ("mrqa", "a.jsonl", _task("question_answering", columns=False)),
    "glue": ("glue", "train.tsv", _official),
    "documents": ("words", "a.txt", _documents),
    "documents in json": ("jsonl", "a.jsonl", _documents),
    "predict lines": ("jsonl", "a.txt", _predict),
    "predict table": ("table", "a.csv", _predict),
    "predict table with tabs": ("tsv", "a.txt", _predict),
    "predict words": ("words", "a.txt", _predict),
    "predict squad": ("squad", "a.json", _predict),
    "predict mrqa": ("mrqa", "a.jsonl", _predict),
}


def held(name: str, examples: int, folder: Path) -> str:
    """ "held", or what was raised and for which bytes."""
    good, file, read = READERS[name]
    path = folder / file
    wrong: list[str] = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_file(GOOD[good]))
    def try_one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            read(path)
        except UserError as error:
            if not (str(error).isprintable() and len(str(error)) <= MAX_MESSAGE_LENGTH):
                wrong.append(f"message {str(error)!r} for {content[:200]!r}")
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error} for {content[:200]!r}")

    path.write_bytes(GOOD[good].encode())
    read(path)  # what is good is read
    try_one()
    path.unlink()
    return wrong[0].replace("\n", " ") if wrong else "held"


def main() -> None:
    """Prints what became of every reader."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MAX_MEMORY, now + MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        for name in READERS:
            print(f"{name}: {held(name, examples, Path(folder))}", flush=True)


if __name__ == "__main__":
    main()
