"""`predict` with heads of pre-training, and `evaluate --pairs` and `--errors`, on a run that was trained here."""

import json

import numpy as np
import pytest
from command_runs import contents, metrics_of
from huggingface_folder import write_pair

import electra_jax
from electra_jax import evaluate, predict
from electra_jax.tasks.metrics import spearman

TEXTS = ["the cat likes the moon.", "moon the likes cat the.", "the cat " * 20]


@pytest.fixture
def ask(workdir, command, tmp_path):
    """``ask(lines, *arguments)`` runs `predict` on lines of text."""

    def run(texts, *arguments):
        path = tmp_path / "in.txt"
        path.write_text("".join(f"{text}\n" for text in texts))
        return command(predict.main, "--workdir", workdir, "--input", path, *arguments)

    return run


def answers(ended):
    assert ended.status == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


@pytest.mark.parametrize("method", ["rtd", "pll"])
def test_scores_are_those_of_python(ask, workdir, method):
    found = answers(ask(TEXTS, "--score", method, "--per-token"))
    assert [list(line) for line in found[:2]] == [["id", "score", "tokens", "token_scores"]] * 2
    assert [line["tokens"] for line in found] == [6, 6, 14]
    assert [line.get("truncated") for line in found] == [None, None, True]
    model = electra_jax.load(workdir)
    assert [line["score"] for line in found] == pytest.approx(model.score(TEXTS, method, cut=[]), rel=1e-4)
    assert [token["text"] for token in found[0]["token_scores"]] == [
        "the",
        "cat",
        "likes",
        "the",
        "moon",
        ".",
    ]


def test_without_a_method_the_model_decides_and_a_text_without_tokens_has_no_mean(ask):
    default, rtd = answers(ask(TEXTS[:1], "--score")), answers(ask(TEXTS[:1], "--score", "rtd"))
    assert default == rtd
    assert list(default[0]) == ["id", "score", "tokens"]
    assert answers(ask(['{"text": ""}'], "--score"))[0]["score"] is None


def test_gaps_are_filled(ask):
    found = answers(ask(["the ___ likes the [MASK].", "___"], "--fill", "3"))
    assert [[len(gap) for gap in line["gaps"]] for line in found] == [[3, 3], [3]]
    assert list(found[0]["gaps"][0][0]) == ["token", "probability", "text"]
    assert found[0]["gaps"][0][0]["text"].endswith("likes the [MASK].")
    assert len(answers(ask(["___"], "--fill"))[0]["gaps"][0]) == 5


def test_a_line_without_a_gap_stops_or_is_skipped(ask):
    ended = ask(["the ___", "no gap", "___"], "--fill")
    assert (ended.status, len(ended.out.splitlines())) == (2, 1)
    assert "line 2 has no gap: write [MASK] or ___ where a token is to be found" in ended.err
    ended = ask(["the ___", "no gap", "___"], "--fill", "--on-error", "skip")
    assert (ended.status, [json.loads(line)["id"] for line in ended.out.splitlines()]) == (65, ["1", "3"])
    ended = ask(["the ___"], "--fill", "1000")
    assert (ended.status, ended.out) == (2, "")
    assert "must be a whole number from 1 to" in ended.err


PAIRS = [
    {"uid": "order", "good": TEXTS[0], "bad": TEXTS[1]},
    {"uid": "case", "good": "the cat", "bad": "The Cat"},  # the same tokens
    {"uid": "order", "good": "a river", "bad": "river " * 20},
]


def write_pairs(path):
    path.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    return path


@pytest.mark.parametrize("method", ["rtd", "pll"])
def test_minimal_pairs_are_printed_and_appended(workdir, command, tmp_path, method, monkeypatch):
    monkeypatch.setattr(evaluate, "_PAIRS_AT_ONCE", 2)
    written = metrics_of(workdir)
    path = write_pairs(tmp_path / "pairs.jsonl")
    ended = command(evaluate.main, "--workdir", workdir, "--pairs", path, "--score", method)
    assert ended.status == 0, ended.err
    printed = json.loads(ended.out)
    model = electra_jax.load(workdir)
    good, bad = (model.score([pair[name] for pair in PAIRS], method, cut=[]) for name in ("good", "bad"))
    order = (float(good[0] > bad[0]) + float(good[2] > bad[2])) / 2
    assert printed == {
        "step": 6,
        "accuracy": (order + 0.5) / 2,
        "accuracy_over_pairs": pytest.approx((2 * order + 0.5) / 3),
        "pairs": 3,
        "ties": 1,
        "truncated": 1,
        "score": method,
        "eval_source": str(path),
        "groups": {"order": order, "case": 0.5},
    }
    assert metrics_of(workdir) == [*written, {"split": "pairs", **printed}]


def test_minimal_pairs_by_another_checkpoint_and_by_a_foreign_model(workdir, command, tmp_path):
    path = write_pairs(tmp_path / "pairs.jsonl")
    ended = command(evaluate.main, "--workdir", workdir, "--pairs", path, "--step", 3, "--group", "good")
    assert (json.loads(ended.out)["step"], len(json.loads(ended.out)["groups"])) == (3, 3)
    pair = write_pair(tmp_path / "foreign")
    before = contents(pair)
    for method in ("rtd", "pll"):
        ended = command(evaluate.main, "--workdir", pair, "--pairs", path, "--score", method)
        assert ended.status == 0, ended.err
        assert (json.loads(ended.out)["step"], json.loads(ended.out)["pairs"]) == (None, 3)
    ended = command(evaluate.main, "--workdir", pair, "--pairs", path, "--step", 3)
    assert (ended.status, ended.out) == (2, "")
    assert "is no work directory: it has no checkpoint of step 3" in ended.err
    assert contents(pair) == before


def test_suspicious_words_are_those_of_python_as_json_and_as_text(ask, workdir):
    found = answers(ask(TEXTS[:2], "--review", "2", "--threshold", "0"))
    words = electra_jax.load(workdir).review(TEXTS[0], threshold=0.0, k=2)
    assert [list(line) for line in found] == [["id", "words"]] * 2
    assert list(found[0]["words"][0]) == ["text", "start", "end", "tokens", "replaced", "suggestions"]
    assert [word["text"] for word in found[0]["words"]] == [word.text for word in words]
    assert [len(word["suggestions"]) for word in found[0]["words"]] == [2] * 6
    (indented,) = answers(ask([f"  {TEXTS[0]}"], "--review", "2", "--threshold", "0"))
    assert [word["start"] for word in indented["words"]] == [word.start + 2 for word in words]
    ended = ask(TEXTS[:2], "--review", "0", "--threshold", "0", "--readable")
    assert (ended.status, len(ended.out.splitlines())) == (0, 14)
    assert ended.out.startswith(f"1: {TEXTS[0]}\n    0.")


def test_marked_words_are_found_with_a_threshold_of_others(workdir, command, tmp_path):
    marked, others = tmp_path / "marked.tsv", tmp_path / "others.tsv"
    marked.write_text("the\tc\ncat\ti\n\nmoon\tc\n.\ti\n")
    others.write_text("a\ti\nriver\tc\n.\tc\n")
    model = electra_jax.load(workdir)
    doubts = {word.text: word.replaced for word in model.review("a river.", threshold=0.0, k=0)}
    written = metrics_of(workdir)
    ended = command(evaluate.main, "--workdir", workdir, "--errors", marked, "--tune-on", others)
    assert ended.status == 0, ended.err
    printed = json.loads(ended.out)
    assert min(abs(printed["threshold"] - doubt) for doubt in doubts.values()) < 1e-5
    assert (printed["step"], printed["words"], printed["wrong"]) == (6, 4, 2)
    assert printed["f05_of_marking_all"] == pytest.approx(1.25 * 0.5 / (0.25 * 0.5 + 1))
    assert metrics_of(workdir) == [*written, {"split": "errors", **printed}]
    ended = command(evaluate.main, "--workdir", workdir, "--errors", marked, "--threshold", "0")
    assert json.loads(ended.out)["f05"] == printed["f05_of_marking_all"]


def test_similarity_is_of_the_vectors_that_predict_writes(ask, workdir, command, tmp_path):
    pairs = tmp_path / "sts.tsv"
    pairs.write_text("5\tthe moon.\tthe moon\n1\ta river\tthe cat\n3\ta cat\tthe cat\n")
    written = metrics_of(workdir)
    ended = command(evaluate.main, "--workdir", workdir, "--sts", pairs, "--layer", "1")
    assert ended.status == 0, ended.err
    printed = json.loads(ended.out)
    assert metrics_of(workdir) == [*written, {"split": "sts", **printed}]
    texts = ["the moon.", "a river", "a cat", "the moon", "the cat", "the cat"]
    vectors = np.array([line["vector"] for line in answers(ask(texts, "--encode", "mean", "--layer", "1"))])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert printed["spearman"] == pytest.approx(spearman([5, 1, 3], (unit[:3] * unit[3:]).sum(axis=1)))
    ended = command(evaluate.main, "--workdir", workdir, "--sts", pairs, "--layer", "9")
    assert (ended.status, ended.out) == (2, "")
    assert "layer is 9, but must be a number from 0, the embeddings, to" in ended.err


def test_prompts_are_answered_as_in_python(ask, workdir):
    found = answers(ask(TEXTS, "--labels", "moon, river", "--template", "{text} the {label}."))
    model = electra_jax.load(workdir)
    expected = model.classify_zero_shot(TEXTS, ["moon", "river"], "{text} the {label}.")
    assert [line["label"] for line in found] == [answer["label"] for answer in expected]
    assert found[0]["scores"] == pytest.approx(expected[0]["scores"], rel=1e-4)
    assert [line.get("truncated") for line in found] == [None, None, True]
