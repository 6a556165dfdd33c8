"""The small files of a fine-tuning: any bytes give what was written, or one sentence."""

import json
import re
from dataclasses import asdict

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from electra_jax.config.finetuning import FinetuneConfig
from electra_jax.errors import UserError
from electra_jax.tasks.inputs import ContentHash, FineTuningInputs, read_inputs, write_inputs
from electra_jax.tasks.results import (
    BEST,
    RESULT,
    print_table,
    read_best,
    read_predictions,
    read_result,
    summarize_seeds,
)
from electra_jax.tasks.settings import FILE, TaskSettings, read_settings, write_settings
from electra_jax.training.checkpoints import find_checkpoint
from electra_jax.training.seed_selection import RESULTS, best_seed, run_directory, select_run

PREDICTIONS = "mine.test.jsonl"
INPUTS = FineTuningInputs(
    {"mine.train": ContentHash("3 examples", "ab")}, {"mine": ("a", "b")}, ContentHash("x", "cd")
)
SETTINGS = {"mine": TaskSettings(kind="classification", labels=("a", "b"), classes=("a", "b"))}
SCORES = {"mine": {"dev": {"accuracy": 50.0, "f1": float("nan")}}}
SUMMARY = {
    "seeds": [0, 1, 2],
    "tasks": {"mine": {"dev": {"accuracy": {"values": [float("nan"), 70.0, 50.0], "mean": 60.0}}}},
}
READERS = {
    FILE: (read_settings, {name: asdict(value) for name, value in SETTINGS.items()}),
    "inputs.json": (read_inputs, asdict(INPUTS)),
    RESULT: (read_result, {"seed": 0, "steps": 3, "scores": SCORES}),
    BEST: (read_best, {"step": 3, "value": 50.0}),
    RESULTS: (best_seed, SUMMARY),
    PREDICTIONS: (lambda folder: read_predictions(folder / PREDICTIONS), {"id": "1", "label": "a"}),
}

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def _mutated(value, draw):
    """The value with one part of it replaced, removed or added."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: _mutated(value[key], draw)}
    if isinstance(value, list | tuple) and value and draw(st.booleans()):
        return [_mutated(value[0], draw), *value[1:]]
    if isinstance(value, dict) and draw(st.booleans()):
        return dict(list(value.items())[1:]) | draw(
            st.dictionaries(st.text(max_size=5), _SCALARS, max_size=1)
        )
    return draw(_VALUES)


@st.composite
def _contents(draw, written):
    text = json.dumps(_mutated(written, draw))
    kind = draw(st.sampled_from(["bytes", "shape", "cut", "flip"]))
    if kind == "bytes":
        return draw(st.binary(max_size=60))
    content = text.encode("utf-8", "surrogatepass")
    place = draw(st.integers(0, len(content)))
    if kind == "cut":
        return content[:place]
    return content[:place] + draw(st.binary(max_size=2)) + content[place + 1 :] if kind == "flip" else content


@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_read_or_refused_in_one_sentence(name, tmp_path):
    read, written = READERS[name]

    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(_contents(written))
    @example(b"")
    @example(b"[" * 3000 + b"]" * 3000)
    @example(b'{"a":' * 900 + b"1" + b"}" * 900)
    @example(b"9" * 5000)
    @example(b"\xef\xbb\xbf" + json.dumps(written).encode())
    def check(content):
        (tmp_path / name).write_bytes(content)
        try:
            read(tmp_path)
        except UserError as error:
            message = str(error)
            assert name in message
            assert message.isprintable()

    check()


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused(name, tmp_path):
    read, _ = READERS[name]
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path)


def test_what_was_written_is_read(tmp_path):
    write_settings(tmp_path, SETTINGS)
    write_inputs(tmp_path, INPUTS)
    assert read_settings(tmp_path) == SETTINGS
    assert read_inputs(tmp_path) == INPUTS
    for name in (RESULT, BEST):
        read, written = READERS[name]
        (tmp_path / name).write_text(json.dumps(written))
        assert json.dumps(read(tmp_path)) == json.dumps(written)
    (tmp_path / PREDICTIONS).write_text('{"id": "1"}\n{"id": "2"}\n')
    assert [line["id"] for line in read_predictions(tmp_path / PREDICTIONS)] == ["1", "2"]


def test_settings_of_a_version_that_knew_one_label_only_are_read(tmp_path):
    known = {"kind": "classification", "labels": ["a", "b"], "classes": ["a", "b"], "low": 0.0, "high": 1.0}
    known |= {"scheme": "", "learned": "BIOES", "no_answer_threshold": None}
    (tmp_path / FILE).write_text(json.dumps({"mine": known}))
    settings = read_settings(tmp_path)["mine"]
    assert (settings.labels, settings.multi_label, settings.threshold) == (("a", "b"), False, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "guessing"},
        {"kind": "tagging", "scheme": "ABC"},
        {"kind": "tagging", "spelling": "O B+TYPE"},
        {"kind": "tagging", "learned": "plain"},
        {"kind": "classification", "labels": ["a", "a"], "classes": ["a", "b"]},
        {"kind": "regression", "low": 2.0, "high": 1.0},
        {"kind": "regression", "low": float("nan")},
        {"kind": "regression", "low": "0"},
        {"kind": "regression", "colour": "red"},
        {"kind": "regression", "multi_label": True},
        {"kind": "classification", "multi_label": True, "threshold": 1.5},
        {"kind": "classification", "multi_label": True, "threshold": float("nan")},
        {},
        [],
    ],
    ids=str,
)
def test_settings_that_nobody_wrote(wrong, tmp_path):
    (tmp_path / FILE).write_text(json.dumps({"mine": wrong}))
    with pytest.raises(UserError, match=r"tasks\.json is not what was written there"):
        read_settings(tmp_path)


def _root(tmp_path, seeds=(0, 1, 2), best=()):
    """A finished fine-tuning, as far as paths tell."""
    (tmp_path / RESULTS).write_text(json.dumps(SUMMARY))
    for seed in seeds:
        folder = tmp_path / f"seed-{seed}"
        (folder / "checkpoints" / "9").mkdir(parents=True)
        (folder / "config.yaml").touch()
        if seed in best:
            (folder / "best" / "checkpoints" / "4").mkdir(parents=True)
    return tmp_path


def test_a_root_means_its_best_seed_and_there_the_best_parameters(tmp_path):
    root = _root(tmp_path)
    assert best_seed(root) == 1  # a value that is no number is worse than any
    assert find_checkpoint(root) == (9, root / "seed-1" / "checkpoints")
    (root / "seed-1" / "best" / "checkpoints" / "4").mkdir(parents=True)
    assert select_run(root) == (root / "seed-1", root / "seed-1" / "best")
    for path in (root, root / "seed-1", root / "seed-1" / "best"):
        assert find_checkpoint(path) == (4, root / "seed-1" / "best" / "checkpoints")
    assert find_checkpoint(root / "seed-1" / "checkpoints" / "9") == (9, root / "seed-1" / "checkpoints")
    assert find_checkpoint(root / "seed-0") == (9, root / "seed-0" / "checkpoints")


def test_table_and_root_choose_the_same_seed():
    results = [
        {"seed": seed, "steps": 1, "scores": {"mine": {"dev": {"f1": value}}}}
        for seed, value in ((3, float("nan")), (4, 20.0), (5, 30.0))
    ]
    table = summarize_seeds(None, FinetuneConfig(), results)["tasks"]["mine"]["dev"]["f1"]
    assert (table["best"], table["best_seed"]) == (30.0, 5)


def test_the_table_says_which_class_f1_is_of(capsys):
    scores = {"f1": 50.0, "accuracy": 60.0}
    results = [{"seed": 0, "steps": 1, "scores": {"a": {"dev": scores}, "b": {"dev": scores}}}]
    summary = summarize_seeds(None, FinetuneConfig(), results, {"a": "no\nne"})
    assert summary["f1_of"] == {"a": "no\nne"}
    print_table(summary)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [re.split("  +", line)[2] for line in lines] == [r"f1 of 'no\nne'", "accuracy", "f1", "accuracy"]


def test_a_seed_scored_by_other_metrics_is_refused():
    results = [
        {"seed": seed, "steps": 1, "scores": {"mine": {"dev": {metric: 1.0}}}}
        for seed, metric in ((0, "f1"), (1, "accuracy"))
    ]
    with pytest.raises(
        UserError, match=r"seed 1 was scored by other metrics than seed 0.*delete result\.json"
    ):
        summarize_seeds(None, FinetuneConfig(), results)


def test_a_run_that_holds_a_file_of_that_name_is_still_itself(tmp_path):
    (tmp_path / "checkpoints" / "9").mkdir(parents=True)
    (tmp_path / RESULTS).write_text("somebody's notes")
    assert find_checkpoint(tmp_path) == (9, tmp_path / "checkpoints")


def test_checkpoints_belong_to_a_run(tmp_path):
    root = _root(tmp_path, best=(1,))
    assert run_directory(root / "seed-1" / "checkpoints") == root / "seed-1"
    assert run_directory(root / "seed-1" / "best" / "checkpoints") == root / "seed-1"
    (root / "best").mkdir()
    (root / "best" / "config.yaml").touch()  # a run that happens to be called so
    assert run_directory(root / "best" / "checkpoints") == root / "best"


def test_a_root_that_is_not_finished_says_which_path_to_give(tmp_path):
    root = _root(tmp_path)
    (root / RESULTS).unlink()
    with pytest.raises(UserError, match=r"not all of its seeds are finished.*seed-0, .*seed-1, .*seed-2"):
        find_checkpoint(root)


def test_a_best_seed_that_is_gone(tmp_path):
    with pytest.raises(UserError, match=r"names seed 1 as the best, and there is no .*seed-1"):
        find_checkpoint(_root(tmp_path, seeds=(0, 2)))
