"""Files of contexts with candidates, and what is wrong with them."""

import json

import pytest
from task_sections import task_section

from electra_jax.errors import UserError
from electra_jax.tasks.protocol import RankingExample, TextExample
from electra_jax.tasks.sources import load_examples


def _load(tmp_path, extension, *lines, split="train", **section):
    path = tmp_path / f"{split}{extension}"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return load_examples("mine", task_section(kind="ranking", **{split: str(path)}, **section))[split]


def test_pairs_negatives_lists_and_published_files(tmp_path):
    found = _load(
        tmp_path,
        ".jsonl",
        {"context": "a", "response": "b"},
        {"context": "a", "response": "b", "negatives": ["c", "d"]},
        {"context": "a", "candidates": ["b", "c", "d"], "label": 2},
        {"context": "a", "candidates": ["b", "c", "d"], "label": [2, 0]},
        {"article": "a", "options": ["b", "c"], "answers": "B"},
        {"premise": "a", "choice1": "b", "choice2": "c", "question": "effect", "label": 0},
    )
    assert found == [
        RankingExample("0", "a", ("b",), (0,)),
        RankingExample("1", "a", ("b", "c", "d"), (0,)),
        RankingExample("2", "a", ("b", "c", "d"), (2,)),
        RankingExample("3", "a", ("b", "c", "d"), (0, 2)),
        RankingExample("4", "a", ("b", "c"), (1,)),
        RankingExample("5", "a What happened as a result?", ("b", "c"), (0,)),
    ]
    assert found[3].gold == ("b", "d")
    columns = {"context": "question", "response": "answer", "id": "key"}
    table = ("key\tquestion\tanswer", "x\ta\tb")
    assert _load(tmp_path, ".tsv", *table, **columns) == [RankingExample("x", "a", ("b",), (0,))]


def test_columns_of_sentence_transformers(tmp_path):
    expected = [RankingExample("0", "a", ("b", "c", "d"), (0,)), RankingExample("1", "e", ("f",), (0,))]
    table = ("anchor,positive,negative_1,negative_2", "a,b,c,d", "e,f,,")
    assert _load(tmp_path, ".csv", *table) == expected
    triple, pair = {"anchor": "a", "positive": "b", "negative": "c"}, {"anchor": "e", "positive": "f"}
    found = _load(tmp_path, ".jsonl", triple, pair)
    assert [example.candidates for example in found] == [("b", "c"), ("f",)]
    padded = {"anchor": "a", "positive": "b", "negative_1": "c", "negative_2": None}
    assert _load(tmp_path, ".jsonl", padded)[0].candidates == ("b", "c")
    listed = {"anchor": "a", "positive": "b", "negatives": ["c", "d"]}
    assert _load(tmp_path, ".jsonl", listed)[0].candidates == ("b", "c", "d")
    both = {**listed, "negative_1": "e", "negative_2": ""}
    assert _load(tmp_path, ".jsonl", both)[0].candidates == ("b", "c", "d", "e")
    with pytest.raises(UserError, match="line 1: 'negatives' is text and not a list of texts"):
        _load(tmp_path, ".jsonl", {**both, "negatives": "c"})
    named = RankingExample("x", "a", ("b", "c"), (0,))  # negatives stay, whatever is named
    assert _load(tmp_path, ".jsonl", {"key": "x", **triple}, id="key") == [named]
    columns = {"id": "key", "context": "anchor", "response": "positive"}
    assert _load(tmp_path, ".csv", "key,anchor,positive,negative", "x,a,b,c", **columns) == [named]


def test_texts_alone_are_their_own_right_candidates(tmp_path):
    expected = [RankingExample("1", "a\tdog", ("a\tdog",), (0,)), RankingExample("3", "b", ("b",), (0,))]
    assert _load(tmp_path, ".txt", "a\tdog", " ", "b", positives_from="dropout") == expected
    for column, named in (("sentence", None), ("mine", "mine")):
        found = _load(tmp_path, ".jsonl", {column: "a"}, positives_from="dropout", context=named)
        assert found == [RankingExample("0", "a", ("a",), (0,))]
    with pytest.raises(
        UserError, match="line 1 has no field 'context', 'text', 'sentence', 'anchor', the text"
    ):
        _load(tmp_path, ".jsonl", {"mine": "a"}, positives_from="dropout")


def test_scored_pairs_where_the_metric_is_of_such(tmp_path):
    pairs = {"split": "dev", "metric": "spearman"}
    line = {"sentence1": "a", "sentence2": "b", "score": 3}
    assert _load(tmp_path, ".jsonl", line, **pairs) == [TextExample("0", "a", "b", 3.0)]
    assert _load(tmp_path, ".jsonl", line, **pairs, context="anchor", response="positive")
    own = {"one": "a", "other": "b", "alike": 3}
    names = {"context": "one", "response": "other", "label": "alike"}
    assert _load(tmp_path, ".jsonl", own, **pairs, **names) == [TextExample("0", "a", "b", 3.0)]
    with pytest.raises(
        UserError, match="line 1 does not have the columns context, response, label, which a pair"
    ):
        _load(tmp_path, ".jsonl", {"context": "a", "candidates": ["b", "c"], "label": 0}, **pairs)
    del line["score"]
    assert _load(tmp_path, ".jsonl", line, split="test", metric="pearson")[0].hidden


@pytest.mark.parametrize(
    ("line", "section", "name"),
    [
        ({"context": "a", "response": "b", "label": 0.0}, {}, "label"),
        ({"context": "a", "response": "b", "label": True}, {}, "label"),
        ({"context": "a", "response": "b", "alike": "4.5"}, {"label": "alike"}, "alike"),
        ({"anchor": "a", "positive": "b", "score": 1}, {}, "score"),
        (
            {"sentence1": "a", "sentence2": "b", "score": 1},
            {"context": "sentence1", "response": "sentence2", "metric": "spearman"},
            "score",
        ),
    ],
)
def test_pairs_with_scores_are_nothing_to_train_on(tmp_path, line, section, name):
    with pytest.raises(UserError, match=f"train.jsonl, line 1 has '{name}' .* keep the pairs that are"):
        _load(tmp_path, ".jsonl", line, **section)
    told = {"context": "a", "response": "b", "negatives": ["c"], "label": 0, "score": 3}
    assert _load(tmp_path, ".jsonl", told) == [RankingExample("0", "a", ("b", "c"), (0,))]
    named = {"context": "a", "response": "b", "label": "small talk"}
    assert _load(tmp_path, ".jsonl", named) == [RankingExample("0", "a", ("b",), (0,))]


def test_right_candidates_of_a_test_file_may_be_hidden(tmp_path):
    (example,) = _load(tmp_path, ".jsonl", {"context": "a", "candidates": ["b", "c"]}, split="test")
    assert example.hidden


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": None}, "has neither a field 'response', the right candidate, nor 'candidates'"),
        ({"candidates": "b"}, "'candidates' is text and not a list of texts"),
        ({"candidates": ["b", " "]}, "candidate 1 is empty"),
        ({"candidates": ["b", 3]}, "candidate 1 is a whole number and not text"),
        ({"candidates": ["b"]}, "has 1 candidate, so there is nothing to rank"),
        ({"candidates": []}, "has no candidates, so there is nothing to rank"),
        ({"label": [0, 2]}, "'label' is '2', which is none of the 2 options"),
        ({"label": []}, "'label' names no right candidate"),
        ({"label": None}, "has no 'label', the right option"),
        ({"candidates": ["b", "b"]}, "has 2 candidates that are the same text, so there is nothing to rank"),
        ({"response": "b", "negatives": ["b", "b"]}, "has 3 candidates that are the same text"),
        ({"response": 3}, "the field 'response' is a whole number"),
        ({"response": "b", "negatives": "c"}, "'negatives' is text and not a list"),
        ({"context": None}, "the field 'context' is null"),
    ],
)
def test_what_is_no_example(tmp_path, change, message):
    record = {"context": "a", "candidates": ["b", "c"], "label": 0, **change}
    if change == {"candidates": None}:
        del record["candidates"]
    with pytest.raises(UserError, match=f"dev.jsonl, line 1.*{message}"):
        _load(tmp_path, ".jsonl", record, split="dev")


def test_conversations_are_told_how_they_are_read(tmp_path):
    said = {"turns": ["Hello", "Hi"]}
    with pytest.raises(
        UserError, match=r"has no field 'context'.*of conversations set .*mine\.conversations=\{\}; else name"
    ):
        _load(tmp_path, ".jsonl", said)
