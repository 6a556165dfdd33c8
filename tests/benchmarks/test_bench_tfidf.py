"""TF-IDF as a ranker: scores worked out by hand, and metrics of a file."""

import json
import math

import pytest

from benchmarks import tfidf


def test_scores_are_cosines_of_words_weighted_by_their_rarity():
    vector = tfidf.vectoriser(["the cat", "the dog", "the the"])
    the, cat, new = math.log(4 / 4) + 1, math.log(4 / 2) + 1, math.log(4 / 1) + 1
    found = tfidf.scores_of(vector, "The cat!", ["cat", "the the", "a bird", "cat bird", ""])
    length = math.hypot(the, cat)
    expected = [cat / length, the / length, 0.0, cat * cat / length / math.hypot(cat, new), 0.0]
    assert found == pytest.approx(expected)


def test_metrics_of_a_file(tmp_path, capsys):
    for name, lists in {
        "train": [("x", ["a b", "c"], 0), ("y", ["c d", "a"], 0)],
        "dev": [("c e", ["a", "c", "b"], 1), ("a b", ["c", "b", "a b"], 1), ("z", ["a", "b"], 0)],
    }.items():
        lines = [{"context": c, "candidates": options, "label": n} for c, options, n in lists]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = [f"finetune.tasks.ranker.{name}={tmp_path}/{name}.jsonl" for name in ("train", "dev")]
    assert tfidf.main(["--config", "dialogue/ranker_bi", *files]) == 0
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    # The right ones come first, second, and, since all are equal, last of two.
    assert (line["split"], line["examples"]) == ("dev", 3)
    assert line["hits@1"] == pytest.approx(100 / 3)
    assert line["mrr"] == pytest.approx(100 * (1 + 1 / 2 + 1 / 2) / 3)
