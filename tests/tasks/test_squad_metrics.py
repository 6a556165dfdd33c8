"""The official metrics of SQuAD: closed forms, worked examples, and thresholds against trying all of them."""

import json
import math
import random
from pathlib import Path

import pytest

from electra_jax.tasks.squad_metrics import (
    best_threshold,
    exact_match,
    normalize_answer,
    squad1_scores,
    squad2_scores,
    token_f1,
    token_f1_or_none,
)

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "squad2_predictions.json"


def test_the_official_scripts_own_figures():
    kept = json.loads(GOLDEN.read_text())
    found = squad2_scores(kept["golds"], kept["predictions"], kept["no_answer_scores"], kept["threshold"])
    official = {name: value for name, value in kept["official"].items() if not name.endswith("total")}
    assert found == pytest.approx(official, rel=1e-12)
    assert (
        len({value for name, value in found.items() if "thresh" not in name})
        == 7  # only those of NoAns are the same
    )


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The  Cat's\thats.", "cats hats"),
        ("a an the", ""),
        ("Theatre and another", "theatre and another"),  # articles are whole words
        ("the-man", "theman"),  # punctuation goes first, and glues
        ("A–B", "–b"),  # only ASCII punctuation goes; a dash bounds the article
        ("$3.5 million", "35 million"),
        ("ÉCOLE", "école"),
        ("\u00a0x\u2003y ", "x y"),
    ],
)
def test_normalized_answers(text, normalized):
    assert normalize_answer(text) == normalized


@pytest.mark.parametrize(
    ("gold", "prediction", "exact", "f1"),
    [
        ("Saint Bernadette Soubirous", "saint bernadette soubirous", 1, 1),
        ("Saint Bernadette Soubirous", "Bernadette", 0, 2 * 1 * (1 / 3) / (4 / 3)),
        ("in the late 1990s", "late 1990s", 0, 2 * 1 * (2 / 3) / (5 / 3)),
        ("x x y", "x y y", 0, 2 / 3),  # each word as often as it occurs in both
        ("Denver Broncos", "Carolina Panthers", 0, 0),
        ("Denver Broncos", "", 0, 0),
    ],
)
def test_worked_examples(gold, prediction, exact, f1):
    assert exact_match(gold, prediction) == exact
    assert token_f1(gold, prediction) == pytest.approx(f1, abs=1e-12)
    assert token_f1(prediction, gold) == token_f1_or_none(gold, prediction) == token_f1(gold, prediction)


def test_versions_differ_where_nothing_is_left_of_both():
    assert (token_f1("the", "a"), token_f1_or_none("the", "a")) == (0.0, 1.0)
    assert squad1_scores([["the"]], ["an"]) == {"exact": 100.0, "f1": 0.0}


def test_version_1_takes_the_best_of_the_gold_answers():
    scores = squad1_scores([["one two", "two"], ["three"]], ["Two!", "four three"])
    assert scores == {"exact": 50.0, "f1": pytest.approx(100 * (1 + 2 / 3) / 2)}


GOLDS = [["red fox"], [], ["a river", "river bank"], [], []]


def test_perfect_predictions():
    scores = squad2_scores(GOLDS, ["red fox", "x", "river", "y", "z"], [-3.0, 2.0, -1.0, 5.0, 2.0])
    expected = dict.fromkeys(("exact", "f1", "best_exact", "best_f1"), 100.0)
    expected |= {f"{p}_{name}": 100.0 for p in ("HasAns", "NoAns") for name in ("exact", "f1")}
    assert scores == {**expected, "best_exact_thresh": -1.0, "best_f1_thresh": -1.0}


def test_no_answer_for_all():
    scores = squad2_scores(GOLDS, [""] * 5, [0.0] * 5, threshold=0.0)
    assert (scores["exact"], scores["f1"]) == (60.0, 60.0)
    assert (scores["HasAns_f1"], scores["NoAns_f1"]) == (0.0, 100.0)
    assert (scores["best_f1"], scores["best_f1_thresh"]) == (60.0, 0.0)


def test_questions_without_impossible_ones_have_no_such_part():
    scores = squad2_scores([["x"], ["y"]], ["x", "z"], [-1.0, -2.0], threshold=0.0)
    assert not any(name.startswith("NoAns") for name in scores)
    assert scores["exact"] == scores["HasAns_exact"] == 50.0


def test_a_question_above_the_threshold_is_not_answered_and_one_at_it_is():
    golds, given, scores = [["x"], []], ["x", "y"], [1.0, 1.0]
    assert squad2_scores(golds, given, scores, threshold=1.0)["exact"] == 50.0
    above = squad2_scores(golds, given, scores, threshold=0.999)
    assert (above["HasAns_exact"], above["NoAns_exact"]) == (0.0, 100.0)


def test_equal_scores_are_counted_one_by_one_in_order():
    """As the official script does, though no threshold lies between them: the order decides."""
    scores, given, answerable = [1.0, 0.0], ["x", "y"], [True, False]
    assert best_threshold(scores, given, [2.0, 2.0], answerable) == (100.0, 2.0)
    assert best_threshold(scores[::-1], given, [2.0, 2.0], answerable[::-1]) == (50.0, 0.0)
    assert squad2_scores([["x"], []], given, [2.0, 2.0])["f1"] == 50.0


def test_of_equal_results_the_lowest_threshold_is_kept_and_zero_is_the_first():
    assert best_threshold([1.0, 0.0, 1.0], ["x", "y", "z"], [1.0, 2.0, 3.0], [True, False, True]) == (
        pytest.approx(200 / 3),
        1.0,
    )
    assert best_threshold([0.0], ["x"], [-5.0], [False]) == (100.0, 0.0)


def test_an_answer_of_articles_alone_is_none_when_scored_and_one_when_the_threshold_is_searched():
    scores = squad2_scores([[], ["x"]], ["the", "x"], [1.0, 2.0], threshold=5.0)
    assert (scores["exact"], scores["best_exact"]) == (100.0, 50.0)


def test_gold_answers_of_articles_alone_do_not_count_beside_others():
    assert squad2_scores([["the", "x"]], [""], [0.0], threshold=0.0)["HasAns_exact"] == 0.0
    assert squad2_scores([["the"]], [""], [0.0], threshold=0.0)["HasAns_exact"] == 100.0


def test_the_threshold_is_that_of_the_metric_asked_for():
    golds = [["x"], ["y z"], []]
    arguments = golds, ["x", "y", "w"], [0.5, 1.5, 2.0]
    by_f1, by_exact = (squad2_scores(*arguments, threshold_for=name) for name in ("f1", "exact"))
    assert (by_f1["best_exact_thresh"], by_f1["best_f1_thresh"]) == (0.5, 1.5)
    assert (by_f1["f1"], by_f1["exact"]) == (by_f1["best_f1"], pytest.approx(200 / 3))
    assert (by_exact["exact"], by_exact["f1"]) == (by_exact["best_exact"], pytest.approx(200 / 3))


def _drawn(seed, ties):
    rng = random.Random(seed)
    nouns = ("fox", "river", "bank", "gold")

    def text():
        return " ".join([*rng.choices(("the", "a", "red", *nouns), k=rng.randint(0, 2)), rng.choice(nouns)])

    count = rng.randint(1, 30)
    golds = [[text() for _ in range(rng.randint(0, 2))] for _ in range(count)]
    given = [rng.choice([text(), "", *gold]) for gold in golds]
    scores = rng.choices(range(-3, 4), k=count) if ties else rng.sample(range(-1000, 1000), count)
    return golds, given, [value / 10 + 0.01 for value in scores]


@pytest.mark.parametrize("seed", range(40))
def test_the_best_threshold_is_the_best_of_all(seed):
    golds, given, no_answer = _drawn(seed, ties=False)
    found = squad2_scores(golds, given, no_answer)
    for name in ("exact", "f1"):
        tried = [squad2_scores(golds, given, no_answer, t)[name] for t in (*no_answer, -math.inf)]
        assert found[f"best_{name}"] == pytest.approx(max(tried), abs=1e-9)
        threshold = found[f"best_{name}_thresh"]
        if threshold != 0.0:  # 0.0: nothing is better than no answer for all, the script's beginning
            assert squad2_scores(golds, given, no_answer, threshold)[name] == pytest.approx(
                max(tried), abs=1e-9
            )
            assert threshold == min(t for t, s in zip(no_answer, tried) if s >= max(tried) - 1e-9)
        chosen = squad2_scores(golds, given, no_answer, threshold_for=name)
        assert chosen[name] == pytest.approx(
            max(tried), abs=1e-9
        )  # also where nothing is better than no answer


@pytest.mark.parametrize("seed", range(40))
def test_parts_add_up_and_stay_in_range(seed):
    golds, given, no_answer = _drawn(seed, ties=True)
    scores = squad2_scores(golds, given, no_answer, threshold=0.1)
    has = sum(map(bool, golds))
    for name in ("exact", "f1"):
        parts = has * scores.get(f"HasAns_{name}", 0) + (len(golds) - has) * scores.get(f"NoAns_{name}", 0)
        assert parts / len(golds) == pytest.approx(scores[name])
        assert 0 <= scores[name] <= scores[f"best_{name}"] + 1e-9 <= 100 + 1e-8
    assert scores["exact"] <= scores["f1"] + 1e-9
