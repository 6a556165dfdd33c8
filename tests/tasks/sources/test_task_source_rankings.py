"""Files of contexts with candidates, and what is wrong with them."""

import json

import pytest
from task_sections import task_section

from electra_jax.errors import UserError
from electra_jax.tasks.protocol import RankingExample
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
