"""``electra_jax.compare`` on folders as fine-tuning leaves them, written by its own functions without training."""

import json
import re
import shutil
import sys
from types import SimpleNamespace

import pytest
from command_runs import contents
from compared_runs import KINDS, write_examples, write_fine_tuning

from electra_jax import compare
from electra_jax.errors import UserError
from electra_jax.tasks.results import RESULT


@pytest.fixture
def runs(finished, tmp_path, monkeypatch):
    """The current folder: examples of every kind, and the runs a and b, of one and of two seeds."""
    monkeypatch.chdir(tmp_path)
    write_examples(tmp_path)
    tokenizer = finished / "work" / "tokenizer"
    write_fine_tuning(tmp_path / "a", tokenizer, wrong={0: 6})
    write_fine_tuning(tmp_path / "b", tokenizer, wrong={0: 9, 3: 1})
    return tmp_path


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_task(name, runs, command):
    before = contents(runs)
    said = command(compare.main, "a", "b", "--task", name, "--samples", 200, "--json")
    assert said.status == 0, said.err
    record = json.loads(said.out)
    for letter, seed in (("a", 0), ("b", 3)):
        results = json.loads((runs / letter / "results.json").read_text())["tasks"][name]["dev"]
        assert record[letter] == {
            "run": letter,
            "seeds": [seed],
            "score": pytest.approx(results[record["metric"]]["best"]),
        }
        assert record["metric"] == next(iter(results))
    low, high = record["interval"]
    assert 0 < low < record["difference"] < high
    assert record["difference"] == record["b"]["score"] - record["a"]["score"]
    assert 1 / 201 <= record["p"] < 0.05
    assert (record["examples"], record["samples"], record["task"]) == (12, 200, name)
    assert command(compare.main, "a", "b", "--task", name, "--samples", 200, "--json").out == said.out
    assert contents(runs) == before


def test_what_is_printed(runs, command):
    said = command(
        compare.main, "a/seed-0", "b", "--task", "texts", "--metric", "accuracy", "--split", "test"
    )
    assert (said.status, said.out.count("\n")) == (0, 4)
    first, a, b, last = said.out.splitlines()
    assert first == "accuracy of texts, 12 test examples"
    assert a.split() == ["A", "a/seed-0", "(seed", "0)", "50.00"]
    assert b.split() == ["B", "b", "(seed", "3)", "91.67"]
    assert last.startswith("B - A ")
    assert "  +41.67, 95 % interval +" in last
    assert re.search(r", p = 0\.0\d\d\d \(one-sided, 1,000 draws\)$", last)


def test_all_seeds_count_by_their_mean(runs, command):
    said = command(compare.main, *TEXTS, "--metric", "accuracy", "--seeds", "all", "--samples", 9, "--json")
    record = json.loads(said.out)
    assert record["a"] == {"run": "a", "seeds": [0], "score": 50.0}
    assert record["b"] == {"run": "b", "seeds": [0, 3], "score": pytest.approx((25 + 100 * 11 / 12) / 2)}


def test_a_run_and_itself(runs, command):
    record = json.loads(command(compare.main, "a", "a", "--task", "tags", "--json").out)
    assert (record["difference"], record["interval"], record["p"]) == (0.0, [0.0, 0.0], 1.0)


def test_metrics_of_texts_have_their_signature_and_need_their_library(runs, command, monkeypatch):
    arguments = ("a", "b", "--task", "written", "--samples", 9)
    said = command(compare.main, *arguments)
    assert said.out.splitlines()[-1].startswith("signature: nrefs:1|case:mixed|eff:no|tok:13a|")
    for module in [name for name in sys.modules if name.partition(".")[0] == "sacrebleu"]:
        monkeypatch.setitem(sys.modules, module, None)
    said = command(compare.main, *arguments)
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "written cannot be scored here" in said.err
    assert "electra_jax[generation]" in said.err


def test_a_metric_that_is_computed_in_two_ways_is_not_compared():
    tasks = [
        SimpleNamespace(signatures=lambda _, way=way: {"bleu": f"tok:{way}"}) for way in ("en", "en", "de")
    ]
    assert compare._signature("bleu", "w", tasks[:2], []) == {"signature": "tok:en"}
    assert compare._signature("chrf", "w", tasks, []) == {}
    with pytest.raises(
        UserError, match=r"bleu of w is computed as tok:de and tok:en: set finetune\.tasks\.w\."
    ):
        compare._signature("bleu", "w", tasks, [])


def _other_file(runs, change):
    lines = (runs / "texts.csv").read_text().splitlines()
    (runs / "other.csv").write_text("\n".join(change(lines)) + "\n")
    for file in ("b/config.yaml", "b/seed-3/config.yaml"):
        text = (runs / file).read_text()
        assert "dev: texts.csv" in text
        (runs / file).write_text(text.replace("dev: texts.csv", "dev: other.csv"))


def _fewer(runs):
    _other_file(runs, lambda lines: lines[:-1])


def _other_ids(runs):
    _other_file(runs, lambda lines: [lines[0], *(f"9{line}" for line in lines[1:])])


def _other_labels(runs):
    _other_file(runs, lambda lines: [*lines[:4], lines[4].replace(",yes", ",no"), *lines[5:]])


def _other_candidates(runs):
    lines = (runs / "ranked.jsonl").read_text()
    (runs / "fewer.jsonl").write_text(lines.replace('["a", "b", "c"]', '["a", "b", "c", "d"]'))
    for file in ("b/config.yaml", "b/seed-3/config.yaml"):
        text = (runs / file).read_text()
        (runs / file).write_text(text.replace("dev: ranked.jsonl", "dev: fewer.jsonl"))


def _relabelled_since(runs):
    lines = (runs / "texts.csv").read_text().splitlines()
    (runs / "texts.csv").write_text(
        "\n".join([*lines[:4], lines[4].replace(",yes", ",no"), *lines[5:]]) + "\n"
    )


def _cut_since(runs):
    (runs / "texts.csv").write_text("\n".join((runs / "texts.csv").read_text().splitlines()[:-1]) + "\n")


def _one_task(runs):
    shutil.rmtree(runs / "b")
    write_fine_tuning(runs / "b", runs / "a" / "seed-0" / "tokenizer", wrong={0: 1}, names=["tags"])


def _other_positive(runs):
    file = runs / "b" / "seed-3" / "config.yaml"
    file.write_text(file.read_text().replace("positive: null", "positive: no", 1))
    (runs / "b" / "seed-3" / RESULT).write_text('{"seed": 3, "steps": 1, "scores": {}}')


def _unfinished(runs):
    (runs / "b" / "results.json").unlink()


def _seed_unfinished(runs):
    (runs / "b" / "seed-3" / RESULT).unlink()


def _no_predictions(runs):
    (runs / "b" / "seed-3" / "predictions" / "texts.dev.jsonl").unlink()


def _other_predictions(runs):
    file = runs / "b" / "seed-3" / "predictions" / "texts.dev.jsonl"
    file.write_text(file.read_text().replace('"label"', '"value"'))


TEXTS = ("a", "b", "--task", "texts")


@pytest.mark.parametrize(
    ("before", "arguments", "words"),
    [
        (None, ("a", "b"), "several tasks: choose one by --task, of texts, numbers"),
        (None, ("a", "b", "--task", "mrpc"), "not both the task 'mrpc': a has texts, numbers"),
        (_one_task, ("a", "b", "--task", "texts"), "b has tags"),
        (None, ("a", "gone"), "gone is not a work directory"),
        (None, (*TEXTS, "--metric", "bleu"), "no metric 'bleu' of texts; there are: f1, accuracy"),
        (
            None,
            (*TEXTS, "--split", "train2"),
            "texts has no train2 examples in a/seed-0; there are: train, dev, test",
        ),
        (None, (*TEXTS, "--split", "train"), "a/seed-0 has no predictions for texts's train examples"),
        (
            None,
            ("a", "b", "--task", "numbers", "--split", "test", "--samples", 99),
            "hidden, so nothing can be scored; they are known of: dev",
        ),
        (None, (*TEXTS, "--samples", "0"), "--samples 0 must be at least 1"),
        (None, (*TEXTS, "--seed", "-1"), "--seed -1 must not be negative"),
        (_fewer, TEXTS, "not the same in a/seed-0 and b/seed-3: 12 and 11"),
        (_other_ids, TEXTS, "number 1 has the id '0' in one, '90' in the other"),
        (_other_labels, TEXTS, "the right answer of '3' is 'yes' in one, 'no' in the other"),
        (
            _other_candidates,
            ("a", "b", "--task", "ranked"),
            "'0' is chosen among others in one than in the other",
        ),
        (_relabelled_since, TEXTS, "restore the examples, or delete the seed's result.json"),
        (_cut_since, TEXTS, "has 12 predictions, but texts now has 11 dev examples"),
        (_other_positive, TEXTS, "f1 of texts is that of 'no' and 'yes'"),
        (_unfinished, TEXTS, "b is not finished, as it has no results.json"),
        (_seed_unfinished, TEXTS, "b/seed-3 is not finished, as it has no result.json"),
        (_no_predictions, TEXTS, "b/seed-3 has no predictions for texts's dev examples"),
        (_other_predictions, TEXTS, "texts.dev.jsonl cannot be scored (KeyError: 'label')"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(before, arguments, words, runs, command):
    if before is not None:
        before(runs)
    there = contents(runs)
    said = command(compare.main, *arguments)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert words in said.err
    assert said.err.count("\n") == 1
    assert contents(runs) == there


def test_a_pre_trained_run_predicts_no_examples(finished, runs, command):
    said = command(compare.main, "a", finished / "work")
    assert (said.status, "holds no fine-tuning but " in said.err) == (2, True)
