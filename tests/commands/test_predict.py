"""What `predict` reads, refuses and writes; the model is a stand-in that repeats what it was asked."""

import bz2
import gzip
import io
import json
import lzma
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard
from task_sections import task_section

from electra_jax import answering, predict
from electra_jax.inference import records
from electra_jax.inference.detecting import Token

NAME = "mine"
CONFIG = task_section(kind="classification", text="body", pair="reply", id="key")


class Echo:
    """Implements what `predict` asks of a `Model`."""

    def __init__(self, kind):
        self.tasks = {NAME: SimpleNamespace(kind=kind, labels=("O", ".", "B-ORG", "B-PER", "B-LOC"))}
        config = CONFIG if CONFIG.kind == kind else task_section(kind=kind)
        self.config = SimpleNamespace(finetune=SimpleNamespace(tasks={NAME: config}))

    def classify(self, texts, task):
        return [
            {"id": "?", "label": text} | ({"truncated": True} if text == "long" else {}) for text in texts
        ]

    tag = answer_all = classify

    def detect(self, texts, cut):
        cut += [text == "long" for text in texts]
        return [[Token(text, 0, len(text), 0.5)] for text in texts]

    def encode(self, texts, pooling, layer, cut):
        cut += [text == "long" for text in texts]
        return np.zeros((len(texts), 2), np.float32)


@pytest.fixture
def ask(command, tmp_path, monkeypatch):
    """``ask(content, *arguments)`` runs `predict` on a file of this content (standard input if ``name`` is "-")."""

    def run(content, *more, name="in.txt", kind="classification"):
        monkeypatch.setattr(predict, "load_with_notes", lambda path: Echo(kind))
        monkeypatch.setattr(predict, "trained_tasks", lambda path: None)
        monkeypatch.setattr(predict, "one_device_per_core", lambda: None)
        monkeypatch.setattr(predict, "keep_freed_memory", lambda: None)
        data = content if isinstance(content, bytes) else content.encode()
        if name == "-":
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
            return command(predict.main, "--workdir", "w", "--input", "-", *more)
        path = tmp_path / name
        if content is not None:
            path.write_bytes(data)
        return command(predict.main, "--workdir", "w", "--input", path, *more)

    return run


def lines(ended):
    assert ended.status == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


TWO = [{"id": "1", "label": "one"}, {"id": "2", "label": "two ü"}]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress, zstandard.compress, bz2.compress])
@pytest.mark.parametrize("name", ["in.txt", "-", "in.jsonl", "in.tsv", "in.csv.gz"])
def test_however_it_is_packed_it_is_read_the_same(ask, mark, end, compress, name):
    content = {
        "in.jsonl": ['{"text": "one"}', '{"text": "two \\u00fc", "pair": null}'],
        "in.tsv": ["id\ttext", "1\tone", "2\ttwo ü"],
        "in.csv.gz": ["id,text", '1,"one"', "2,two ü"],
    }.get(name, ["one", "two ü"])
    assert lines(ask(compress((mark + end.join(content)).encode()), name=name)) == TWO


@pytest.mark.parametrize(
    ("kind", "record", "asked"),
    [
        ("classification", {"text": "a", "pair": "b"}, ["a", "b"]),
        ("classification", {"body": "a", "reply": "b"}, ["a", "b"]),
        ("classification", {"body": "a", "text": "wins"}, "wins"),
        ("classification", {"text": "smith\ud83d"}, "smith\ufffd"),
        ("tagging", {"words": ["a", "b\ud83d"]}, ["a", "b\ufffd"]),
        ("tagging", {"words": "a b"}, "a b"),
        ("tagging", {"text": "a b"}, "a b"),
        ("question_answering", {"question": "q", "context": "c"}, ["q", "c"]),
    ],
)
def test_fields(ask, kind, record, asked):
    (answer,) = lines(ask(json.dumps(record), name="in.jsonl", kind=kind))
    assert answer == {"id": "1", "label": asked}


@pytest.mark.parametrize(
    ("kind", "trained", "record", "asked"),
    [
        # What is called "text" is the pair in the files of training, and the text alone in others.
        ("classification", {"text": "question", "pair": "text"}, {"question": "a", "text": "b"}, ["a", "b"]),
        ("classification", {"text": "question", "pair": "text"}, {"text": "a", "pair": "b"}, ["a", "b"]),
        ("classification", {"text": "question", "pair": "text"}, {"text": "a"}, "a"),
        ("classification", {"text": "title"}, {"title": "a", "text": "not read in training"}, "a"),
        ("tagging", {"text": "tokens"}, {"tokens": ["a", "b"]}, ["a", "b"]),
        ("tagging", {"text": "tokens"}, {"tokens": ["a"], "words": "not read in training"}, ["a"]),
    ],
)
def test_fields_are_what_they_were_in_training(ask, monkeypatch, kind, trained, record, asked):
    monkeypatch.setitem(globals(), "CONFIG", task_section(kind=kind, **trained))
    (answer,) = lines(ask(json.dumps(record), name="in.jsonl", kind=kind))
    assert answer["label"] == asked


@pytest.mark.parametrize("name", ["in.conll", "in.bio.gz"])
def test_words_to_tag_are_read_as_in_training(ask, name):
    content = "-DOCSTART- O\n\nEU B-ORG\nrejects O\n\nAnn B-PER\n"
    assert lines(ask(gzip.compress(content.encode()), name=name, kind="tagging")) == [
        {"id": "3", "label": ["EU", "rejects"]},
        {"id": "6", "label": ["Ann"]},
    ]


def _squad(*questions, context="c", **more):
    return {"version": "1", "data": [{"paragraphs": [{"context": context, "qas": list(questions)}]}], **more}


TABLE = "key\tbody\treply\tclass\n1\ta\tb\tx\n2\tc\t\ty\n"
PAIRS = [("1", ["a", "b"]), ("2", ["c", ""])]
LISTED = [{"key": "1", "body": "a", "reply": "b"}, {"key": "2", "body": "c", "reply": ""}]
SENTENCES = "New York\tB-LOC\nis\tO\n\nEU\tB-ORG\n"
TAGGED = [("1", ["New York", "is"]), ("4", ["EU"])]
ASKED = [("q1", ["Who?", "c"]), ("q2", ["Why?", "c"])]
WHO, WHY = {"id": "q1", "question": "Who?"}, {"id": "q2", "question": "Why?", "answers": []}
MRQA = json.dumps({"header": {}}) + "\n" + json.dumps({"context": "c", "qas": [WHO | {"qid": "q1"}, WHY]})
LOOSE = {"question": "Who?", "context": "c"}


@pytest.mark.parametrize(
    ("trained", "name", "content", "expected"),
    [
        # A table separated by tabs is one whatever it is called; lines without the trained names are texts.
        (CONFIG, "in.txt", TABLE, PAIRS),
        (CONFIG, "-", TABLE, PAIRS),
        (CONFIG, "in.txt.gz", "body\treply\na\tb\n", [("2", ["a", "b"])]),
        (CONFIG, "in.txt", "a\tb\nc\td\n", [("1", "a\tb"), ("2", "c\td")]),
        (CONFIG, "in.txt", "body\n", [("1", "body")]),
        ({"kind": "regression", "text": "t", "label": "l"}, "in.txt", "l\tt\n1\ta\n", [("2", "a")]),
        ({"kind": "classification", "text": "t"}, "in.txt", "t\na\n", [("2", "a")]),
        (CONFIG, "in.txt", "\n\n" + TABLE.replace("1\ta", "9\ta"), [("9", ["a", "b"]), PAIRS[1]]),
        # What training did not read is not read.
        ({"kind": "classification", "text": "text"}, "in.jsonl", '{"text": "a", "pair": "b"}', [("1", "a")]),
        ({"kind": "classification", "text": "text"}, "in.csv", "text,pair\na,b\n", [("2", "a")]),
        # The columns of official files.
        (("mrpc", {"data": "glue"}), "in.txt", "index\t#1 String\t#2 String\n7\ta\tb\n", [("7", ["a", "b"])]),
        (("cola", {"data": "glue"}), "in.tsv", "index\tsentence\tpair\n7\ta\tb\n", [("7", "a")]),
        # A list of objects is one where the file is called so.
        (CONFIG, "in.json", json.dumps(LISTED), PAIRS),
        (CONFIG, "in.json", json.dumps(LISTED, indent=1), PAIRS),
        # Words in columns.
        ({"kind": "tagging"}, "in.txt", "a\tNEW\nb\tO\n", [("1", ["a", "b"])]),
        ({"kind": "tagging"}, "in.txt", "a\t?\nb\t?\n", [("1", ["a", "b"])]),
        ({"kind": "tagging"}, "in.txt", SENTENCES, TAGGED),
        ({"kind": "tagging"}, "-", SENTENCES, TAGGED),
        ({"kind": "tagging"}, "in.tsv.gz", SENTENCES, TAGGED),
        ({"kind": "tagging"}, "in.txt", "EU\nis\n\nAnn", [("1", ["EU", "is"]), ("4", ["Ann"])]),
        ({"kind": "tagging"}, "in.txt", "EU\n\nAnn\n", [("1", "EU"), ("3", "Ann")]),
        ({"kind": "tagging"}, "in.txt", "I like O\n", [("1", "I like O")]),
        ({"kind": "tagging"}, "in.txt", "I go .\nYou go .\n", [("1", "I go ."), ("2", "You go .")]),
        ({"kind": "tagging"}, "in.txt", "EU B-ORG\n. .\n", [("1", ["EU", "."])]),
        ({"kind": "tagging"}, "in.txt", "The EU\nAnn left\n", [("1", "The EU"), ("2", "Ann left")]),
        ({"kind": "tagging"}, "in.tsv", "id\twords\n7\ta b\n", [("7", "a b")]),
        # Questions in SQuAD's and MRQA's formats, or one a line.
        ({"kind": "question_answering"}, "in.json", json.dumps(_squad(WHO, WHY), indent=1), ASKED),
        ({"kind": "question_answering"}, "in.json.gz", json.dumps(_squad(WHO, WHY)), ASKED),
        ({"kind": "question_answering"}, "-", json.dumps(_squad(WHO, WHY)), ASKED),
        ({"kind": "question_answering"}, "in.jsonl", MRQA, ASKED),
        ({"kind": "question_answering"}, "in.json", MRQA, ASKED),
        ({"kind": "question_answering"}, "in.json", json.dumps(LOOSE), [("1", ["Who?", "c"])]),
    ],
)  # fmt: skip
def test_files_are_read_as_in_training(ask, monkeypatch, trained, name, content, expected):
    task = "mine"
    if isinstance(trained, tuple):
        task, trained = trained
    if isinstance(trained, dict):
        trained = task_section(task, **trained)
    monkeypatch.setitem(globals(), "CONFIG", trained)
    monkeypatch.setitem(globals(), "NAME", task)
    data = gzip.compress(content.encode()) if name.endswith(".gz") else content
    answers = lines(ask(data, name=name, kind=trained.kind))
    assert [(answer["id"], answer["label"]) for answer in answers] == expected


def test_only_the_bad_sentence_or_question_is_lost(ask):
    ended = ask(
        b"EU\tO\n\nis\tO\n\tO\n\nAnn\tO\n\n\xff\tO", "--on-error", "skip", name="in.conll", kind="tagging"
    )
    assert [json.loads(line)["id"] for line in ended.out.splitlines()] == ["1", "6"]
    assert "line 4 has no word before its first tab" in ended.err
    assert "line 8, column 1 is not utf-8" in ended.err
    content = MRQA + '\n{"qas": 3, "context": "c"}\n{"qas": [{"question": 1}], "context": "c"}'
    ended = ask(content, "--on-error", "skip", name="in.jsonl", kind="question_answering")
    assert len(ended.out.splitlines()) == 2
    assert "line 3: the field 'qas' is a whole number" in ended.err
    assert "line 4: qas[0]: the field 'question' is a whole number" in ended.err


def test_a_file_that_is_wrong_is_refused_before_the_parameters_are_read(command, tmp_path, monkeypatch):
    model = Echo("classification")
    monkeypatch.setattr(predict, "one_device_per_core", lambda: None)
    monkeypatch.setattr(predict, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(predict, "trained_tasks", lambda path: (model.config, model.tasks))
    monkeypatch.setattr(predict, "load_with_notes", lambda path: pytest.fail("the model was loaded"))
    (tmp_path / "in.jsonl").write_text("[1]")
    ended = command(predict.main, "--workdir", "w", "--input", tmp_path / "in.jsonl")
    assert (ended.status, ended.out) == (2, "")
    assert "line 1 is not a JSON object" in ended.err


@pytest.mark.parametrize(("name", "given"), [("id", 7), ("id", "x"), ("key", [1]), ("id", None)])
def test_identifiers_are_passed_on(ask, name, given):
    (answer,) = lines(ask("\n" + json.dumps({name: given, "text": "a"})))
    assert answer["id"] == ("2" if given is None else given)


WRONG = [
    (
        "classification",
        '{"id": "n", "text": null}',
        "in.jsonl, line 2: the field 'text' is null and not text",
    ),
    ("classification", '{"id": 5, "text": 12}', "line 2: the field 'text' is a whole number and not text"),
    ("classification", '{"text": "a", "pair": 3}', "line 2: the field 'pair' is a whole number and not text"),
    ("classification", '{"txet": "a"}', "line 2 has no 'text', which is needed (there is 'txet')"),
    ("classification", '{"text": "a", "id": NaN}', "line 2: the field 'id' is nan, which JSON cannot spell"),
    ("classification", "[1]", "line 2 is not a JSON object {…} but a list"),
    ("classification", "plain", "line 2, column 1 is not JSON: expecting value"),
    ("classification", b"caf\xe9", "line 2, column 4 is not utf-8 (byte 0xe9)"),
    ("classification", b"a\0b", "line 2, column 2 has a NUL byte"),
    ("tagging", '{"words": ["bob", 5]}', "line 2: 'words' holds a whole number (5) and not text alone"),
    ("tagging", '{"words": null}', "line 2 has no 'text'"),
    ("question_answering", '{"question": "q"}', "line 2 has no 'context'"),
]


@pytest.mark.parametrize(("kind", "line", "message"), WRONG)
def test_a_line_that_is_wrong(ask, kind, line, message, tmp_path):
    """Ends the command behind the answers to the lines before it, or is skipped and counted."""
    good = b'{"text": "a", "question": "q", "context": "c"}'
    content = b"\n".join([good, line if isinstance(line, bytes) else line.encode(), good])
    ended = ask(content, name="in.jsonl", kind=kind)
    assert ended.status == 2
    assert message in ended.err
    assert ended.err.rstrip().endswith("; the 1 before it are answered in standard output")
    assert ended.err.count("\n") == 1
    assert [json.loads(line)["id"] for line in ended.out.splitlines()] == ["1"]

    ended = ask(content, "--on-error", "skip", "--output", tmp_path / "out.jsonl", name="in.jsonl", kind=kind)
    assert ended.status == answering.SKIPPED == 65
    assert message in ended.err
    assert "1 lines could not be read and were skipped; 2 were answered" in ended.err
    written = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in written] == ["1", "3"]


@pytest.mark.parametrize(
    "content", [b"\xe9", '{"text": null}', "", gzip.compress(b"one\n" * 99, mtime=0)[:-9]]
)
def test_where_nothing_can_be_answered_nothing_is_written(ask, content, tmp_path):
    ended = ask(content, "--output", tmp_path / "out.jsonl")
    assert ended.status == (2 if content else 0)
    assert (tmp_path / "out.jsonl").exists() == (isinstance(content, bytes) and content[:1] == b"\x1f")


def test_what_was_read_of_a_damaged_file_is_answered(ask, monkeypatch):
    monkeypatch.setattr(records.chunk_records, "__defaults__", (4, 1 << 24))
    packed = b"".join(gzip.compress(b"line\n" * 6) for _ in range(3))
    for how in ("stop", "skip"):
        ended = ask(packed[:-3], "--on-error", how)
        assert ended.status == 2
        assert "is damaged or incomplete" in ended.err
        assert len(ended.out.splitlines()) >= 12


def test_many_bad_lines_are_counted_and_the_first_ones_shown(ask):
    ended = ask("{\ngood\n" * 30, "--on-error", "skip")
    assert (ended.status, len(ended.out.splitlines())) == (65, 30)
    assert ended.err.count("note: skipped: ") == 10
    assert "30 lines could not be read and were skipped; 30 were answered" in ended.err


def test_a_table_that_is_wrong_in_places(ask):
    content = 'id,text\n1,a\n2\n3,"b"x\n4,c\n'
    ended = ask(content, "--on-error", "skip", name="in.csv")
    assert [json.loads(line)["id"] for line in ended.out.splitlines()] == ["1", "4"]
    assert "line 3 has 1 cells where the first line has 2" in ended.err
    assert "line 4 is not CSV" in ended.err
    ended = ask("id,text\n1,a\n\ufeffid,text\n2,b\n", "--on-error", "skip", name="in.csv")
    assert [json.loads(line)["id"] for line in ended.out.splitlines()] == ["1", "2"]
    assert "line 3 is the first line again, as in files that were joined" in ended.err
    ended = ask("text,text\na,b\n", "--on-error", "skip", name="in.csv")
    assert (ended.status, ended.out) == (2, "")
    assert "more than one column 'text'" in ended.err


@pytest.mark.parametrize("more", [[], ["--detect"], ["--encode", "mean"]])
def test_what_was_cut_says_so(ask, more):
    ended = ask("short\nlong\n", *more)
    short, long = lines(ended)
    assert "truncated" not in short
    assert long["truncated"] is True
    assert "1 of 2 were longer than the model reads and were cut" in ended.err


def test_places_that_cannot_be_written_are_refused_before_the_model_is_there(ask, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "there.jsonl").write_text("kept")
    os.symlink(tmp_path / "in.txt", tmp_path / "link")
    for output, message in (
        ("none/out.jsonl", "there is no directory"),
        ("folder", "is a directory"),
        ("in.txt", "is the input itself"),
        ("link", "is the input itself"),
        ("there.jsonl", "exists already"),
    ):
        monkeypatch.setattr(predict, "load_with_notes", lambda path: pytest.fail("the model was loaded"))
        ended = ask("text", "--output", tmp_path / output)
        assert ended.status == 2, output
        assert message in ended.err
        assert ended.err.count("\n") == 1
        assert (tmp_path / "in.txt").read_text() == "text"
    assert (tmp_path / "there.jsonl").read_text() == "kept"
    (tmp_path / "empty").touch()
    for output in (tmp_path / "empty", "/dev/null"):
        assert ask("text", "--output", output).status == 0
    assert (tmp_path / "empty").read_text() == '{"id": "1", "label": "text"}\n'


def test_what_cannot_be_read_is_refused(ask, tmp_path, command):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("pipe", "it is a pipe"),
        ("folder", "it is a directory"),
        ("none", "No such file"),
    ):
        ended = command(predict.main, "--workdir", "w", "--input", tmp_path / name)
        assert ended.status == 2
        assert message in ended.err


def test_lists_that_are_handed_on_are_bounded_by_characters_too():
    made = [records.Record("", n, {"text": "x" * 100}) for n in range(10)]
    assert [len(chunk) for chunk in records.chunk_records(iter(made), 4, 1000)] == [4, 4, 2]
    assert [len(chunk) for chunk in records.chunk_records(iter(made), 100, 300)] == [3, 3, 3, 1]
