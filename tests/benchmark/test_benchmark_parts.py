"""What a benchmark is made of besides its exam: probes, comparisons, costs, the data file and the table."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from electra_jax.benchmark import minimal_pairs
from electra_jax.benchmark.costs import Costs, seconds_of
from electra_jax.benchmark.logistic import fit_logistic, logits, softmax
from electra_jax.benchmark.measured import Measured, compare
from electra_jax.benchmark.minimal_pairs import first_of_each_group, mean_over_groups
from electra_jax.benchmark.probes import some_of, spread_layers
from electra_jax.benchmark.report import Examined, as_json, as_table
from electra_jax.benchmark.suite import chosen_parts, read_exam_data
from electra_jax.benchmark.tasks_of_data import task_config
from electra_jax.data.batch_sizes import BatchSizes
from electra_jax.errors import UserError
from electra_jax.inference.pairs import Pair
from electra_jax.inference.scoring import TextScore
from electra_jax.tasks.measures import mean_of
from electra_jax.tasks.protocol import TextExample


def test_logistic_regression_is_at_its_minimum():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 5))
    labels = (features @ rng.normal(size=(5, 3)) + 0.5 * rng.normal(size=(200, 3))).argmax(axis=1)
    weights = fit_logistic(features, labels, 3)
    error = softmax(logits(features, weights)) - np.eye(3)[labels]
    gradient = features.T @ error / 200 + 1e-3 * weights[:-1]
    assert abs(gradient).max() < 1e-3
    assert abs(error.mean(axis=0)).max() < 1e-3  # that of the bias
    assert (logits(features, weights).argmax(axis=1) == labels).mean() > 0.8


@pytest.mark.parametrize(
    ("depth", "most", "layers"), [(1, 4, [1]), (4, 4, [1, 2, 3, 4]), (12, 4, [3, 6, 9, 12]), (7, 3, [2, 5, 7])]
)  # fmt: skip
def test_layers_are_spread_up_to_the_last(depth, most, layers):
    assert spread_layers(depth, most) == layers


def test_examples_of_a_probe_are_of_all_classes_whatever_the_order_of_the_file():
    by_class = [TextExample(str(n), f"text {n}", label="good" if n < 500 else "bad") for n in range(1000)]
    some = some_of(by_class, 200)
    assert some == [example for example in by_class if example in some]
    # Of 200 out of 1,000, a half of them good, 100 are expected with a standard deviation of 6.3.
    assert len(some) == 200
    assert 75 < sum(example.label == "good" for example in some) < 125
    assert some_of(by_class[::-1], 200) == some[::-1]
    assert some_of(by_class, 1000) == some_of(by_class, 5000) == by_class


def test_figures_of_other_items_are_not_compared():
    first = Measured("accuracy", [mean_of(np.array([1, 0, 1, 0])), mean_of(np.array([1, 1, 1, 0]))], 4, "abc")
    second = Measured("accuracy", [mean_of(np.ones(4))], 4, "abc")
    assert (first.by_seed, first.value) == ([50.0, 75.0], 62.5)
    assert first.deviation == pytest.approx(17.678, abs=1e-3)
    assert second.deviation is None
    assert compare(first, second, 50).difference == 37.5
    assert compare(first, first, 50).p == 1.0
    assert compare(first, Measured("accuracy", second.measures, 4, "other"), 50) is None


def test_groups_weigh_alike_and_are_cut_to_their_first_pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        "".join(f'{{"uid": "{uid}", "good": "{n}", "bad": "b"}}\n' for n, uid in enumerate("aabab"))
    )
    pairs = first_of_each_group(path, 2)
    assert [(pair.group, pair.good) for pair in pairs] == [("a", "0"), ("a", "1"), ("b", "2"), ("b", "4")]
    three = [Pair("x", "y", group) for group in "aab"]
    measure = mean_over_groups(np.array([1.0, 0.0, 1.0]), three)
    assert measure(np.arange(3)) == 75.0
    assert measure(np.array([0, 0, 1])) == pytest.approx(200 / 3)


def test_pairs_are_known_by_their_texts_and_say_what_was_cut(monkeypatch):
    """A good text of three is too long; a pair without a token on either side is a tie."""
    scores = {"good": 1.0, "bad": 0.0, "": math.nan}

    def score_texts(model, texts, method, cut):
        cut += [text == "good" for text in texts]
        return [TextScore(scores[text], 1) for text in texts]

    monkeypatch.setattr(minimal_pairs, "score_texts", score_texts)
    monkeypatch.setattr(minimal_pairs, "usable_methods", lambda *_: ("rtd",))
    model = SimpleNamespace(config=SimpleNamespace(objective=None), _params=None)
    pairs = [Pair("good", "bad"), Pair("", ""), Pair("bad", "good")]
    (found,) = minimal_pairs.pairs_accuracies(model, "mine", pairs)
    assert (found.value, found.truncated) == (50.0, 2)
    (again,) = minimal_pairs.pairs_accuracies(model, "mine", list(pairs))
    (others,) = minimal_pairs.pairs_accuracies(model, "mine", pairs[::-1])
    assert found.of_what == again.of_what != others.of_what


def test_seconds_are_those_of_the_steps_that_were_logged():
    records = [
        {"step": 10, "split": "train", "sequences_per_second": 5.0},
        {"step": 10, "split": "eval"},
        {"step": 20, "split": "train", "sequences_per_second": 10.0},
        {"step": 30, "split": "train", "sequences_per_second": 1.0},
    ]
    assert seconds_of(records, BatchSizes.constant(8), 20) == 10 * 8 / 5 + 10 * 8 / 10
    records[1] = {"step": 15, "split": "train", "sequences_per_second": None}
    assert seconds_of(records, BatchSizes.constant(8), 20) == pytest.approx(
        (10 * 8 / 5 + 5 * 8 / 10) * 20 / 15
    )
    assert seconds_of(records, BatchSizes.constant(8), 25) == pytest.approx(
        (10 * 8 / 5 + 5 * 8 / 10) * 25 / 15
    )
    assert seconds_of([], BatchSizes.constant(8), 20) is None


def test_paths_begin_where_the_file_is(tmp_path):
    (tmp_path / "benchmark.yaml").write_text(
        "exam: text.txt\npairs: {zorro: z.jsonl}\nerrors: {fce: f.tsv}\nprobes:\n  cola: {data: glue/CoLA}\n"
        "finetune:\n  mrpc: {data: 'tfds:glue/mrpc', weight: 2.0}\n"
        "  mt: {train: {source_file: a.en, target_file: [a.de, b.de]}}\nsettings: [train.batch_size=16]\n"
    )
    data = read_exam_data(tmp_path)
    assert (data.exam, data.pairs) == (tmp_path / "text.txt", {"zorro": tmp_path / "z.jsonl"})
    assert data.errors == {"fce": tmp_path / "f.tsv"}
    assert data.probes == {"cola": {"data": str(tmp_path / "glue/CoLA")}}
    parallel = {
        "source_file": str(tmp_path / "a.en"),
        "target_file": [str(tmp_path / "a.de"), str(tmp_path / "b.de")],
    }
    assert data.finetune == {"mrpc": {"data": "tfds:glue/mrpc", "weight": 2.0}, "mt": {"train": parallel}}
    assert (data.settings, data.missing()) == (("train.batch_size=16",), [])


@pytest.mark.parametrize("name", ["an 😀", "é", "a\\ud83d\\ude00", "line\u2028separator", 'a "quote"'])
def test_a_path_may_have_any_character_in_it(name):
    section = {
        "kind": "classification",
        "train": f"{name}.csv",
        "dev": "b.csv",
        "text": "text",
        "label": "label",
    }
    config = task_config(Path("runs") / name, "mine", section, [])
    assert config.init_from == f"runs/{name}"
    assert config.finetune.tasks["mine"].train == f"{name}.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "examen: a.txt",
            "has the key 'examen'; it names data by the keys exam, errors, pairs, probes, finetune, settings",
        ),
        ("- a.txt", "has no keys"),
        ("exam: [a]", "exam is .*, but must be the path of a text"),
        ("pairs: z.jsonl", "pairs must have a name for each of its parts"),
        ("probes: {cola: glue}", r"probes\.cola is 'glue', but must be a section"),
        ("settings: {a: 1}", "settings must be a list of overrides"),
        ("exam: 'a", "not valid YAML"),
    ],
)
def test_what_is_no_data_file_is_refused(tmp_path, text, message):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_exam_data(tmp_path / "data.yaml")


def test_parts_without_data_are_left_out(tmp_path):
    (tmp_path / "data.yaml").write_text("exam: a.txt\n")
    data = read_exam_data(tmp_path / "data.yaml")
    assert data.missing() == ["errors", "pairs", "probes", "finetune"]
    assert chosen_parts(None, data) == ["exam"]
    with pytest.raises(
        UserError, match="--only 'exams' is no part; there are exam, errors, pairs, probes, finetune"
    ):
        chosen_parts("exam,exams", data)
    with pytest.raises(UserError, match="names nothing for pairs, so there is nothing to run"):
        chosen_parts("pairs", data)


def test_what_is_not_defined_is_null_in_json():
    """An area without a wrong word, on all sentences or in every draw; NaN is no JSON."""
    nothing = Measured("area", [lambda _: float("nan")] * 2, 4, "abc")
    costs = Costs(parameters=1, kept=1, tokens=None, flops=None, seconds=None)
    runs = [Examined(name, name, None, costs, [nothing], {}) for name in "ab"]
    results = json.loads(json.dumps(as_json(runs, samples=5), allow_nan=False))
    score = results["runs"][0]["scores"]["area"]
    assert (score["value"], score["deviation"], score["by_seed"]) == (None, None, [None, None])
    assert [results["comparisons"][0][name] for name in ("difference", "low", "high")] == [None] * 3
    assert as_table(results).splitlines()[-1].split() == ["area", "-", "-"]


def test_the_table_has_a_line_a_figure_and_a_column_a_run():
    costs = {"parameters": 1_420_000, "kept": 900, "tokens": None, "flops": 4.6e13, "seconds": 90.0}
    first = {"value": 61.25, "deviation": None, "truncated": None}
    second = {"value": 70.0, "deviation": 1.0, "truncated": 2}
    runs = [
        {"label": "a", **costs, "scores": {"x": first}, "skipped": {}},
        {"label": "b", **costs, "scores": {"x": second}, "skipped": {"exam": "no"}},
    ]
    sure = {"run": "b", "measure": "x", "low": 1.0, "high": 9.0}
    lines = as_table({"runs": runs, "comparisons": [sure]}).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["a", "b"],
        ["parameters", "1.42M", "1.42M"],
        ["of", "these", "kept", "900", "900"],
    ]
    assert [line.split() for line in lines[3:7]] == [
        ["tokens", "-", "-"],
        ["FLOPs", "4.60e+13", "4.60e+13"],
        ["minutes", "of", "steps", "1.5", "1.5"],
        ["x", "61.2", "70.0", "±", "1.0*"],
    ]
    assert lines[7:] == [
        "* differs from a: 0 is not in the 95 % interval of the difference",
        "b cut 2 texts of x, which are longer than it reads",
        "b skipped exam: no",
    ]
