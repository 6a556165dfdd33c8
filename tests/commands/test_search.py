"""Searching from the command line: an index is built and asked, and every mistake is one sentence."""

import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest
from task_sections import task_section
from tiny_ranker import ranker, ranker_of_conversations, write_ranker

from electra_jax.config.ranking_task import RankingConfig
from electra_jax.errors import UserError
from electra_jax.inference.search_examples import METRICS, read_examples, search_scores
from electra_jax.partitioning import mesh
from electra_jax.retrieval.candidates import Candidate
from electra_jax.search import __main__ as search
from electra_jax.search import asking, examples
from electra_jax.search import model as checked
from electra_jax.tasks.protocol import RankingExample
from electra_jax.tasks.sources import load_examples

TEXTS = ["abc", "h", "gfed", "ab"]


@pytest.fixture(autouse=True)
def as_it_is(monkeypatch):
    for module in (asking, examples):
        monkeypatch.setattr(module, "prepare", lambda: None)


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


def test_what_is_said_is_asked_as_a_task_on_conversations_was_trained(command, tmp_path, monkeypatch):
    of_talks = ranker_of_conversations("bi")
    of_talks.index(TEXTS, tmp_path / "index")
    monkeypatch.setattr(checked, "trained_tasks", lambda path: (of_talks.config, of_talks.tasks))
    monkeypatch.setattr(asking, "load_with_notes", lambda path: of_talks)
    ask = ("ask", "--workdir", tmp_path, "--index", tmp_path / "index")
    expected = [(f"{one['score']:.4f}", one["candidate"]) for one in of_talks.rank("- cab", TEXTS)]
    assert expected != [(f"{one['score']:.4f}", one["candidate"]) for one in of_talks.rank("cab", TEXTS)]
    asked = command(search.main, *ask, "--query", "cab")
    assert [tuple(line.split("\t")) for line in asked.out.splitlines()] == expected, asked.err
    lines = [{"turns": ["ab", "cab"]}, {"id": "x", "context": "cab"}, {"text": "cab"}]
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "asked.json").write_text(json.dumps(lines))
    (tmp_path / "asked.txt").write_text("cab\n")
    for name, count in (("asked.jsonl", 3), ("asked.json", 3), ("asked.txt", 1)):
        asked = command(search.main, *ask, "--input", tmp_path / name)
        found = [json.loads(line)["answers"] for line in asked.out.splitlines()]
        assert len(found) == count, asked.err
        for answers in found:
            assert [(f"{one['score']:.4f}", one["candidate"]) for one in answers] == expected


def test_a_terminal_is_shown_control_characters_and_it_is_said_what_was_cut(bi, command, tmp_path):
    ranker("bi").index(["\x1ba\x9bc"], tmp_path / "index")
    ask = ("ask", "--workdir", bi / "work", "--index", tmp_path / "index")
    asked = command(search.main, *ask, "--query", "ab" * 9)
    assert asked.out.split("\t")[1] == r"\x1ba\x9bc" + "\n"
    assert "note: --query is longer than the task reads and was cut\n" in asked.err
    assert "--query is longer" not in command(search.main, *ask, "--query", "ab").err
    (tmp_path / "asked.txt").write_text("ab\n")
    asked = command(search.main, *ask, "--input", tmp_path / "asked.txt")
    assert json.loads(asked.out)["answers"][0]["candidate"] == "\x1ba\x9bc"


def test_of_equal_scores_what_is_right_is_found_last_where_the_search_ends_too():
    def found(scores, right):
        candidates = [Candidate(n, str(n)) for n in range(len(scores))]

        def nearest(contexts, k):
            best = np.argsort(-scores, kind="stable")[:k]
            return np.tile(scores[best], (len(contexts), 1)), np.tile(best, (len(contexts), 1)), []

        class Index(list):
            candidates = property(lambda self: self)

        searcher = SimpleNamespace(index=Index(candidates), nearest=nearest)
        return search_scores(searcher, [RankingExample("x", "a", (str(right),), (0,))])

    none = dict.fromkeys(METRICS, 0.0)
    falling = -np.arange(200.0)
    for right in (0, 5, 99, 150):
        assert found(np.zeros(200), right) == none
    assert found(falling, 99) == {**none, "recall@100": 100.0}
    assert found(falling, 100) == none
    assert found(np.maximum(falling, -99.0), 99) == none
    assert found(np.zeros(100), 0) == {**none, "recall@100": 100.0}


def test_candidates_are_read_from_objects_with_their_ids(bi, command, tmp_path):
    lines = [{"id": "p", "text": "abc"}, {"context": "x", "response": "h"}, {"anchor": "x", "positive": "g"}]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "texts.json").write_text(json.dumps([lines[0], "h", "g"]))
    for name in ("texts.jsonl", "texts.json"):
        assert _build(command, bi, tmp_path / name, tmp_path / f"{name}.index").status == 0
        stored = (tmp_path / f"{name}.index" / "candidates.jsonl").read_text().splitlines()
        assert list(map(json.loads, stored)) == [
            {"id": "p", "text": "abc"},
            {"id": "2", "text": "h"},
            {"id": "3", "text": "g"},
        ]


def _ranked_by_hand(context, candidates):
    return [one["candidate"] for one in ranker("bi").rank(context, candidates)]


def test_what_is_right_is_looked_for_in_all_of_the_index_and_negatives_are_what_was_found_instead(
    bi, command, tmp_path
):
    lines = [
        {"context": "cab", "response": "h"},
        {"context": "cab", "response": "abc"},
        {"context": "gfed", "candidates": ["gfed", "ab", "da"], "label": [0, 1]},
    ]
    (tmp_path / "examples.jsonl").write_text("\n".join(map(json.dumps, lines)))
    texts = ["h", "abc", "gfed", "ab", "da"]
    mine = ("mine", "--workdir", bi / "work", "--input", tmp_path / "examples.jsonl", "--output")
    ended = command(search.main, *mine, tmp_path / "mined.jsonl", "--negatives", 2, "--skip", 1)
    assert ended.status == 0, ended.err
    assert "note:" not in ended.err
    for_cab = [text for text in _ranked_by_hand("cab", texts) if text not in ("h", "abc")][1:]
    for_gfed = [text for text in _ranked_by_hand("gfed", texts) if text not in ("gfed", "ab")][1:3]
    written = [json.loads(line) for line in (tmp_path / "mined.jsonl").read_text().splitlines()]
    assert [(line["id"], line["context"], line["response"], line["negatives"]) for line in written] == [
        ("0", "cab", "h", for_cab),
        ("1", "cab", "abc", for_cab),
        ("2-0", "gfed", "gfed", for_gfed),
        ("2-1", "gfed", "ab", for_gfed),
    ]
    read = read_examples(tmp_path / "mined.jsonl", RankingConfig(), "reply")
    assert read[0].candidates == ("h", *for_cab)
    section = task_section(kind="ranking", id="id", train=str(tmp_path / "mined.jsonl"))
    trained_on = load_examples("mine", section, needs=("train",))["train"]  # refuses ids that are there twice
    assert [example.id for example in trained_on] == ["0", "1", "2-0", "2-1"]

    (tmp_path / "texts.txt").write_text("\n".join(texts))
    assert _build(command, bi, tmp_path / "texts.txt", tmp_path / "index").status == 0
    ask = ("--workdir", bi / "work", "--index", tmp_path / "index", "--input")
    ended = command(search.main, "score", *ask, tmp_path / "examples.jsonl")
    assert ended.status == 0, ended.err
    cab, gfed = (_ranked_by_hand(context, texts) for context in ("cab", "gfed"))
    first = [cab.index("h"), cab.index("abc"), min(gfed.index("gfed"), gfed.index("ab"))]
    scores = json.loads(ended.out)
    assert (scores["examples"], scores["recall@100"]) == (3, 100)
    assert scores["hits@1"] == pytest.approx(100 * sum(place == 0 for place in first) / 3)
    assert scores["mrr@10"] == pytest.approx(100 * sum(1 / (1 + place) for place in first) / 3)
    (tmp_path / "other.jsonl").write_text('{"context": "a", "response": "hhh"}\n')
    ended = command(search.main, "score", *ask, tmp_path / "other.jsonl")
    assert (ended.status, "'0' is no candidate of the index ('hhh')" in ended.err) == (2, True), ended.err
    for more, message in (
        ((tmp_path / "mined.jsonl",), "mined.jsonl exists already"),
        ((tmp_path / "mined.txt",), "call it FILE.jsonl"),
        ((tmp_path / "new.jsonl", "--negatives", 0), "--negatives is a number from 1 on"),
    ):
        ended = command(search.main, *mine, *more)
        assert (ended.status, message in ended.err) == (2, True), ended.err
    (tmp_path / "empty.jsonl").write_text("")
    ended = command(search.main, "score", *ask, tmp_path / "empty.jsonl")
    assert (ended.status, "empty.jsonl" in ended.err) == (2, True), ended.err


def test_of_conversations_each_reply_is_an_example(tmp_path):
    (tmp_path / "talks.txt").write_text("Ann: Hi.\nBob: Hello!\nAnn: Well?\n")
    section = RankingConfig(conversations={})
    assert [
        (one.context, one.candidates) for one in read_examples(tmp_path / "talks.txt", section, "reply")
    ] == [
        ("you: Hi.", ("Hello!",)),
        ("me: Hi.\nyou: Hello!", ("Well?",)),
    ]
    (tmp_path / "talks.md").write_text("Ann: Hi.\n")
    with pytest.raises(UserError, match=r"talks.md is not a file that examples are read from; give \.csv"):
        read_examples(tmp_path / "talks.md", RankingConfig(), "reply")


@pytest.mark.parametrize("extension", [".csv", ".tsv", ".txt"])
def test_examples_are_read_from_every_table_that_rankers_are_trained_on(tmp_path, extension):
    comma = "," if extension == ".csv" else "\t"
    path = tmp_path / f"pairs{extension}"
    path.write_text(f"context{comma}response\nab{comma}c\n")
    assert read_examples(path, RankingConfig(), "reply") == [RankingExample("0", "ab", ("c",), (0,))]
    assert load_examples("mine", task_section(kind="ranking", train=str(path)), needs=("train",))[
        "train"
    ] == [RankingExample("0", "ab", ("c",), (0,))]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "empty.txt is empty: it must have candidates, a text a line"),
        ("blank.txt", b"\n \n", "blank.txt is empty: it must have"),
        ("image.txt", b"\x89PNG\r\n\x1a\n\0\0", "image.txt"),
        ("latin.txt", b"good\nbad \xff\n", "latin.txt, line 2"),
        ("field.jsonl", b'{"body": "a"}\n', "line 1 has no 'text'"),
        ("one.json", b'{"text": "a"}', "one.json is an object and not a list of candidates"),
        ("number.json", b'["a", 3]', "item 2 is a whole number and not a candidate"),
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
        ((tmp_path, "--query", " "), "--query is empty"),
    ):
        ended = command(search.main, *ask, *more)
        assert (ended.status, message in ended.err) == (2, True), ended.err
    ended = command(search.main, "find")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
