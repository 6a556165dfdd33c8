"""Searching from the command line: an index is built and asked, and every mistake is one sentence."""

import gzip
import json

import pytest
from tiny_ranker import ranker, write_ranker

from electra_jax import search
from electra_jax.partitioning import mesh

TEXTS = ["abc", "h", "gfed", "ab"]


@pytest.fixture(autouse=True)
def as_it_is(monkeypatch):
    monkeypatch.setattr(search, "_prepare", lambda: None)


@pytest.fixture(scope="module")
def bi(tmp_path_factory):
    """A folder with a work directory and what was built from three kinds of files; not to be changed."""
    folder = tmp_path_factory.mktemp("bi")
    write_ranker(folder / "work", "bi")
    return folder


def _build(command, folder, candidates, index):
    return command(
        search.main, "build", "--workdir", folder / "work", "--candidates", candidates, "--index", index
    )


def test_an_index_is_built_and_asked(bi, command, tmp_path):
    (tmp_path / "texts.txt.gz").write_bytes(gzip.compress("\n\n".join([*TEXTS, "abcdefgh", "h"]).encode()))
    ended = _build(command, bi, tmp_path / "texts.txt.gz", tmp_path / "index")
    assert ended.status == 0, ended.err
    assert ended.out == f"5 candidates, vectors of 16: {tmp_path / 'index'}\n"
    assert "1 candidates were there already and are kept once" in ended.err
    assert "1 of 5 candidates are longer than the task reads and were cut" in ended.err
    ask = ("ask", "--workdir", bi / "work", "--index", tmp_path / "index")
    asked = command(search.main, *ask, "--query", "cab", "--k", 2)
    assert asked.status == 0, asked.err
    ranked = ranker("bi").rank("cab", [*TEXTS, "abcdefgh"])
    first, second = (line.split("\t") for line in asked.out.splitlines())
    assert [first[1], second[1]] == [one["candidate"] for one in ranked[:2]]
    assert float(first[0]) == pytest.approx(ranked[0]["score"], abs=1e-3)
    (tmp_path / "asked.jsonl").write_text('{"id": "x", "context": "cab"}\n{"text": "' + "ab" * 9 + '"}\n')
    asked = command(
        search.main, *ask, "--input", tmp_path / "asked.jsonl", "--output", tmp_path / "out.jsonl"
    )
    assert asked.status == 0, asked.err
    one, two = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert (one["id"], two["id"], two["truncated"]) == ("x", "2", True)
    assert [len(line["answers"]) for line in (one, two)] == [5, 5]
    assert one["answers"][0]["candidate"] == ranked[0]["candidate"]
    assert one["answers"][0]["id"] == str(2 * one["answers"][0]["number"] + 1)  # the line in the file


def test_candidates_are_read_from_objects_with_their_ids(bi, command, tmp_path):
    lines = [{"id": "p", "text": "abc"}, {"context": "x", "response": "h"}]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert _build(command, bi, tmp_path / "texts.jsonl", tmp_path / "index").status == 0
    stored = (tmp_path / "index" / "candidates.jsonl").read_text().splitlines()
    assert list(map(json.loads, stored)) == [{"id": "p", "text": "abc"}, {"id": "2", "text": "h"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "empty.txt is empty: it must have candidates, a text a line"),
        ("blank.txt", b"\n \n", "blank.txt is empty: it must have"),
        ("image.txt", b"\x89PNG\r\n\x1a\n\0\0", "image.txt"),
        ("latin.txt", b"good\nbad \xff\n", "latin.txt, line 2"),
        ("field.jsonl", b'{"body": "a"}\n', "line 1 has no 'text'"),
        ("void.jsonl", b'{"text": "a"}\n{"text": " "}\n', "line 2: the candidate is empty"),
        ("gone.txt", None, "gone.txt cannot be read: No such file"),
    ],
)
def test_bad_candidates_are_one_sentence_before_any_device(
    name, content, message, bi, command, tmp_path, monkeypatch
):
    def fail():
        raise AssertionError("a device was asked for")

    monkeypatch.setattr(mesh, "_all_devices", fail)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ended = _build(command, bi, tmp_path / name, tmp_path / "index")
    assert ended.status == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "index").exists()


def test_models_and_indexes_that_do_not_fit_are_one_sentence(bi, finished, command, tmp_path):
    (tmp_path / "texts.txt").write_text("a\nb\n")
    write_ranker(tmp_path / "cross" / "work", "cross")
    for folder, message in (
        (finished, "this model (electra) has no task that ranks"),
        (tmp_path / "cross", "the task reply is a cross-encoder"),
    ):
        ended = _build(command, folder, tmp_path / "texts.txt", tmp_path / "index")
        assert (ended.status, message in ended.err) == (2, True), ended.err
    ended = _build(command, bi, tmp_path / "texts.txt", tmp_path)
    assert (ended.status, "exists already: name another directory" in ended.err) == (2, True), ended.err
    ask = ("ask", "--workdir", bi / "work", "--query", "a", "--index")
    for more, message in (
        ((tmp_path,), "holds no index"),
        ((tmp_path, "--k", 0), "is 0: give a whole number"),
    ):
        ended = command(search.main, *ask, *more)
        assert (ended.status, message in ended.err) == (2, True), ended.err
    ended = command(search.main, "find")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
