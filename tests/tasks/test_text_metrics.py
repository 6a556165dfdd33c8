"""Metrics of written texts against published figures and against counts made by hand."""

import sys

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.tasks.text_metrics import (
    SELECTING,
    TEXT_METRICS,
    check_selecting,
    check_text_metrics,
    signatures,
    text_measures,
    text_scores,
)

# The example of sacrebleu's README: BLEU = 48.53, chrF2 = 59.73.
WRITTEN = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
REFERENCES = [
    ["The dog bit the man.", "The dog had bit the man."],
    ["It was not unexpected.", "No one was surprised."],
    ["The man bit him first.", "The man had bitten the dog."],
]
CAT = "the cat sat on the mat"
# name, text, references, source, score
CASES = [
    # Of its n-grams 5/6, 3/5, 2/4 and 1/3 are in the reference, which is as long.
    ("bleu", CAT, ["the cat sat on a mat"], "", 100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25),
    ("bleu", "The Cat sat on the mat", [CAT], "", 100 * (4 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25),
    ("bleu_lowercase", "The Cat sat on the mat", [CAT], "", 100.0),
    # As long as the second reference, so there is no penalty; two words too short for the first.
    ("bleu", "a b c d", ["a b c d e f", "a b c d"], "", 100.0),
    ("bleu", "a b c d", ["a b c d e f"], "", 100 * np.exp(1 - 6 / 4)),
    # Moses makes five tokens of it (it wasn 't him .), 13a four; orders without a match are halved, then quartered.
    (
        *("bleu_tokenized_lowercase", "It wasn't him.", ["it was him."], ""),
        100 * (3 / 5 * 1 / 4 * 1 / (2 * 3) * 1 / (4 * 2)) ** 0.25,
    ),
    # Character n-grams of orders 1 to 4: 3/4, 2/3, 1/2, 0/1, whether counted here or there.
    ("chrf", "abcd", ["abce"], "", 100 * (3 / 4 + 2 / 3 + 1 / 2 + 0) / 4),
    # One edit to the second, whose mean length with the first is 6.5 (TorchMetrics' example: 0.1538).
    ("ter", "the cat is on the mat", ["there is a cat on the mat", "a cat is on the mat"], "", 100 / 6.5),
    # rouge-score's own example: precisions 6/8 and 5/8, recalls 6/9 and 5/9.
    *(
        (
            name,
            "The quick brown dog jumps on the log.",
            ["The quick brown fox jumps over the lazy dog"],
            "",
            f1,
        )
        for name, f1 in (
            ("rouge1", 1200 / 17),
            ("rougeL", 1000 / 17),
            ("rougeLsum", 1000 / 17),
            ("rouge2", 400 / 15),
        )
    ),
    (
        "rouge1",
        "they were jumping",
        ["jumped", "she was jumped"],
        "",
        50.0,
    ),  # stems; the better one of the two
    # Sentences are lines: each line of the reference is looked for in the whole text.
    ("rougeLsum", "a b\nc d", ["c d\na b"], "", 100.0),
    ("rougeL", "a b\nc d", ["c d\na b"], "", 50.0),
    ("exact_match", " A  cat", ["a cat", "A cat"], "", 100.0),
    ("exact_match", "a cat", ["A cat"], "", 0.0),
    # Two of three words against two of two; articles, case and punctuation do not count.
    ("word_f1", "The cat, it sat!", ["x", "a Cat sat"], "", 80.0),
    # By ParlAI's F1Metric: punctuation parts words, so that "don't" and "can't" share one of three.
    ("word_f1", "i don't know", ["i can't say"], "", 50.0),
    ("word_f1", "well-known", ["well known"], "", 100.0),
    ("length_ratio", "a b c, d", ["x", "a b c d e f"], "", 5 / 6),
    ("length_ratio", "a b c d", ["a b c d e f", "a b"], "", 2.0),  # as near, and shorter
    ("distinct_1", "a b a A", ["x"], "", 50.0),
    ("distinct_2", "a b a b", ["x"], "", 100 * 2 / 3),
    ("copy_rate", "the cat, the cat", ["x"], "The cat sleeps", 50.0),  # the cat | cat , | , the | the cat
    ("copy_rate", "cat", ["x"], "the cat", 0.0),
    ("repetition", "a b c d a b c d e", ["x"], "", 100 / 6),
]


@pytest.mark.parametrize(
    ("name", "text", "references", "source", "score"),
    CASES,
    ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)],
)
def test_by_hand(name, text, references, source, score):
    assert text_scores([text], [references], [source], [name])[name] == pytest.approx(score, abs=1e-9)


def test_every_metric_has_a_case():
    assert {case[0] for case in CASES} == set(TEXT_METRICS)


def test_published_figures_of_a_corpus():
    scores = text_scores(WRITTEN, REFERENCES, WRITTEN, ["chrf", "bleu"])
    assert list(scores) == ["chrf", "bleu"]
    assert {name: round(score, 2) for name, score in scores.items()} == {"bleu": 48.53, "chrf": 59.73}


def test_as_many_references_as_each_text_has():
    """One that is given twice changes no metric but TER's mean length; one that is missing is not an empty one."""
    names = [name for name in TEXT_METRICS if name != "ter"]
    twice = [[some[0], some[0]] for some in REFERENCES]
    ragged = [REFERENCES[0][:1], twice[1], REFERENCES[2][:1]]
    sources = ["", "it", "a man"]
    assert text_scores(WRITTEN, ragged, sources, names) == text_scores(WRITTEN, twice, sources, names)
    # 4 edits to words of 5, 4 and 5.
    alone = text_scores(WRITTEN, [some[:1] for some in REFERENCES], sources, ["ter"])
    assert text_scores(WRITTEN, ragged, sources, ["ter"]) == alone


def test_empty_texts_and_none():
    names = list(TEXT_METRICS)
    nothing = text_scores(["", " "], [["a b"], ["c"]], ["a", ""], names)
    assert nothing.pop("ter") == 100.0
    assert set(nothing.values()) == {0.0}
    beside = text_scores(["", "a b c d"], [["e"], ["a b c d"]], ["", ""], names)
    assert beside["exact_match"] == beside["rouge1"] == 50.0
    assert beside["bleu"] == pytest.approx(100 * np.exp(1 - 5 / 4))
    assert text_scores([], [], [], names) == dict.fromkeys(names, 0.0)
    with pytest.raises(ValueError, match="no reference"):
        text_scores(["a"], [[]], [""], ["bleu"])
    with pytest.raises(ValueError, match="2 lists"):
        text_scores(["a"], [["a"], ["b"]], [""], ["bleu"])


def test_a_measure_of_some_is_the_score_of_these():
    sources = ["the dog", "", "The man had"]
    measures = text_measures(WRITTEN, REFERENCES, sources, list(TEXT_METRICS))
    for chosen in ([2, 0, 2, 2], [1], [0, 1]):
        some = text_scores(
            *([lines[i] for i in chosen] for lines in (WRITTEN, REFERENCES, sources)), list(TEXT_METRICS)
        )
        assert {name: measure(np.array(chosen)) for name, measure in measures.items()} == pytest.approx(some)


def test_signatures():
    found = signatures(list(TEXT_METRICS), REFERENCES, language="de")
    assert found.keys() == {name for name, modules in TEXT_METRICS.items() if modules}
    assert found["bleu"].startswith("nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert "|case:lc|" in found["bleu_lowercase"]
    assert "|case:lc|eff:no|tok:sacremoses-" in found["bleu_tokenized_lowercase"]
    assert "-de|" in found["bleu_tokenized_lowercase"]
    assert found["rouge1"] == "refs:best|stemmer:yes|version:0.1.2"
    assert signatures(["chrf"], [["a"], ["b", "c"]])["chrf"].startswith("nrefs:var|")
    assert "nrefs" not in signatures(["ter"])["ter"]


def test_unknown_names_and_missing_libraries(monkeypatch):
    check_text_metrics("mt", list(TEXT_METRICS))
    for name, meant in (("BLUE", r"did you mean bleu\?"), ("rougel", r"did you mean rougeL\?")):
        with pytest.raises(
            UserError, match=rf"finetune.tasks.mt names the metric '{name}'.*{meant}.*repetition"
        ):
            check_text_metrics("mt", ["bleu", name])
    for module, name in (
        ("sacrebleu", "ter"),
        ("sacremoses", "bleu_tokenized_lowercase"),
        ("rouge_score", "rouge2"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)  # as if it were not installed
            with pytest.raises(UserError, match=rf"{name}, which needs {module} .*electra_jax\[generation\]"):
                check_text_metrics("mt", [name])
            check_text_metrics("mt", ["exact_match", "distinct_2"])


def test_what_selects_checkpoints():
    for name in SELECTING:
        check_selecting("mt", name)
    for name, why in (("ter", "less is better"), ("length_ratio", "more is not better")):
        with pytest.raises(UserError, match=rf"{name}, of which {why}.*choose one of: bleu, "):
            check_selecting("mt", name)
