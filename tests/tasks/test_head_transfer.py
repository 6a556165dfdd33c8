"""Heads taken over from fine-tuned models: which fit, by what their outputs mean, and what is done to them."""

import numpy as np
import pytest
from small_run import small_config
from task_sections import task_section

from electra_jax.config.schema import Config
from electra_jax.tasks.decoder_start import FineTuningStart
from electra_jax.tasks.head_transfer import HeadTransfer
from electra_jax.tasks.settings import TaskSettings, write_settings
from electra_jax.training.checkpoints import RunIdentity
from electra_jax.training.initialisation import InitialCheckpoint

WIDTH = 4


def _shapes(style, outputs):
    """Of a head for classes or numbers."""
    shapes = {"heads/mine/prediction/kernel": (WIDTH, outputs), "heads/mine/prediction/bias": (outputs,)}
    if style == "huggingface":
        shapes |= {"heads/mine/dense/kernel": (WIDTH, WIDTH), "heads/mine/dense/bias": (WIDTH,)}
    return shapes


def _classes(*names, **more):
    return TaskSettings(kind="classification", labels=names, classes=names, **more)


def test_a_head_of_one_class_is_not_one_of_any_number(tmp_path):
    one, any_number = _classes("a", "b"), _classes("a", "b", multi_label=True)
    for theirs, ours in ((one, any_number), (any_number, one)):
        adaptation, wanted = _transfer(tmp_path, theirs, ours)
        assert adaptation.reinitialized == set(wanted)
        assert "multi_label is" in adaptation.notes[0]
    adaptation, _ = _transfer(tmp_path, any_number, any_number)
    assert not adaptation.reinitialized


def _tags(*names):
    return TaskSettings(kind="tagging", labels=names, classes=names, scheme="plain")


def _numbers(low, high):
    return TaskSettings(kind="regression", low=low, high=high)


def _transfer(tmp_path, theirs, ours, saved=None, wanted=None):
    """What is done with the head ``mine`` of a checkpoint that has one."""
    if theirs is not None:
        write_settings(tmp_path, {"mine": theirs})
    outputs = [max(1, len(settings.classes)) for settings in (theirs or ours, ours)]
    saved = _shapes("huggingface", outputs[0]) if saved is None else saved
    wanted = _shapes("huggingface", outputs[1]) if wanted is None else wanted
    origin = InitialCheckpoint(3, tmp_path / "checkpoints", RunIdentity(None, None, {}), Config())
    return HeadTransfer({"mine": ours})(origin, saved, wanted), wanted


def _taken(adaptation, wanted, arrays):
    assert not adaptation.reinitialized
    assert set(adaptation.transforms) <= set(wanted)
    return {
        name: np.asarray(adaptation.transforms.get(name, lambda array: array)(array))
        for name, array in arrays.items()
    }


@pytest.mark.parametrize("style", ["reference", "huggingface"])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (_classes("no", "yes"), _classes("yes", "no")),
        (_classes("a", "b", "c", "d"), _classes("c", "a", "d", "b")),
        (_tags("DET", "NOUN", "VERB"), _tags("VERB", "DET", "NOUN")),
    ],
    ids=["binary", "several", "tags"],
)
def test_classes_keep_their_logits_whatever_their_order(tmp_path, style, theirs, ours):
    shapes = _shapes(style, len(ours.classes))
    adaptation, wanted = _transfer(tmp_path, theirs, ours, shapes, shapes)
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    taken = _taken(adaptation, wanted, arrays)
    state = rng.standard_normal(WIDTH, np.float32)

    def logits(parameters, classes):
        prediction = "heads/mine/prediction/"
        values = state @ parameters[f"{prediction}kernel"] + parameters[f"{prediction}bias"]
        return dict(zip(classes, values.tolist(), strict=True))

    assert logits(taken, ours.classes) == pytest.approx(logits(arrays, theirs.classes))
    for name in shapes:
        if "/dense/" in name:
            np.testing.assert_array_equal(taken[name], arrays[name])
    assert adaptation.notes == (
        "the head of mine is taken over, its classes put in this run's order by their names",
    )


def test_the_same_classes_are_taken_as_they_are(tmp_path):
    adaptation, _ = _transfer(tmp_path, _classes("a", "b", "c"), _classes("a", "b", "c"))
    assert (adaptation.reinitialized, adaptation.transforms) == (frozenset(), {})
    assert adaptation.notes == ("the head of mine is taken over with its 3 classes",)


@pytest.mark.parametrize(("old", "new"), [((0.0, 5.0), (1.0, 5.0)), ((0.0, 1.0), (0.0, 100.0))])
def test_a_number_stays_the_same_number_on_another_scale(tmp_path, old, new):
    adaptation, wanted = _transfer(tmp_path, _numbers(*old), _numbers(*new))
    kernel, bias = np.float32([[0.2], [0.1], [-0.4], [0.3]]), np.float32([0.5])
    arrays = {"heads/mine/prediction/kernel": kernel, "heads/mine/prediction/bias": bias}
    taken = _taken(adaptation, wanted, arrays)
    state = np.float32([1.0, -2.0, 0.5, 3.0])
    before, after = (
        float((state @ p["heads/mine/prediction/kernel"] + p["heads/mine/prediction/bias"])[0])
        for p in (arrays, taken)
    )
    assert after * (new[1] - new[0]) + new[0] == pytest.approx(before * (old[1] - old[0]) + old[0], rel=1e-5)


_JOINT = {"heads/mine/start/kernel": (WIDTH, 1), "heads/mine/end/kernel": (512, 1)}
_SPAN = {"heads/mine/prediction/kernel": (WIDTH, 2)}
_QUESTIONS = TaskSettings(kind="question_answering")
_BI, _CROSS = {"heads/mine/log_scale": ()}, {"heads/mine/prediction/kernel": (WIDTH, 1)}
_RANKING = TaskSettings(kind="ranking")


@pytest.mark.parametrize(
    ("theirs", "ours", "saved", "wanted", "words"),
    [
        (_classes("a", "b"), _classes("a", "c"), None, None, "only there: b; only here: c"),
        (_classes("a", "b"), _classes("a", "b", "c"), None, None, "only here: c"),
        (_classes("a", "b"), _tags("b", "a"), None, None, "of kind classification, not tagging"),
        (
            _classes("a", "b"),
            _classes("b", "a"),
            _shapes("reference", 2),
            None,
            "another shape (finetune.head_style",
        ),
        (_classes("a", "b"), _classes("a", "b"), None, _shapes("reference", 2), "dense/bias (4,), not there"),
        (_QUESTIONS, _QUESTIONS, _JOINT, _SPAN, "another shape"),
        (_RANKING, _RANKING, _BI, _CROSS, "encoder and codes of a ranker"),
        (None, _classes("a", "b"), None, None, "no tasks.json"),
    ],
    ids=["others", "more", "kind", "to theirs", "to ours", "questions", "rankers", "unknown"],
)
def test_what_does_not_fit_starts_anew_as_a_whole_and_says_why(tmp_path, theirs, ours, saved, wanted, words):
    adaptation, wanted = _transfer(tmp_path, theirs, ours, saved, wanted)
    assert adaptation.reinitialized == set(wanted)
    assert adaptation.transforms == {}
    (note,) = adaptation.notes
    assert note.startswith("the head of mine starts anew: in ")
    assert words in note


@pytest.mark.parametrize(
    ("theirs", "ours", "why"),
    [
        ({}, {}, None),
        ({"scale": 5.0}, {}, None),
        ({"scale": 5.0}, {"scale": 5.0}, None),
        ({"temperature": 0.05}, {"temperature": 0.05}, None),
        ({}, {"similarity": "cosine"}, "similarity is cosine, and was dot"),
        ({}, {"scale": 5.0}, "scale is 5.0, and was null"),
        ({"scale": 5.0}, {"scale": 20.0}, "scale is 20.0, and was 5.0"),
        ({"temperature": 0.05}, {"temperature": 0.1}, "temperature is 0.1, and was 0.05"),
    ],
)
def test_a_rankers_scale_starts_anew_where_it_was_of_something_else(tmp_path, theirs, ours, why):
    write_settings(tmp_path, {"mine": TaskSettings(kind="ranking")})
    there = small_config(
        objective={"kind": "finetune"}, finetune={"tasks": {"mine": {"kind": "ranking", **theirs}}}
    )
    origin = InitialCheckpoint(3, tmp_path / "checkpoints", RunIdentity(None, None, {}), there)
    shapes = {"heads/mine/log_scale": (), "heads/mine/codes/embedding": (2, WIDTH)}
    start = FineTuningStart(
        HeadTransfer({"mine": TaskSettings(kind="ranking")}),
        {"mine": task_section(kind="ranking", **ours)},
    )
    adaptation = start(origin, shapes, shapes)
    assert adaptation.reinitialized == (set() if why is None else {"heads/mine/log_scale"})
    more = "" if why is None else f", but its scale starts anew: {why}"
    assert adaptation.notes == (f"the head of mine is taken over{more}",)


def test_a_cross_encoder_has_no_scale_that_could_start_anew(tmp_path):
    write_settings(tmp_path, {"mine": TaskSettings(kind="ranking")})
    there = small_config(
        objective={"kind": "finetune"},
        finetune={"tasks": {"mine": {"kind": "ranking", "similarity": "cosine"}}},
    )
    origin = InitialCheckpoint(3, tmp_path / "checkpoints", RunIdentity(None, None, {}), there)
    shapes = _shapes("reference", 1)
    sections = {"mine": task_section(kind="ranking", encoder="cross")}
    adaptation = HeadTransfer({"mine": TaskSettings(kind="ranking")})(origin, shapes, shapes, sections)
    assert not adaptation.reinitialized


def test_a_head_of_another_name_is_named(tmp_path):
    write_settings(tmp_path, {"theirs": _classes("a", "b")})
    origin = InitialCheckpoint(3, tmp_path / "checkpoints", RunIdentity(None, None, {}), Config())
    saved = {"heads/theirs/prediction/bias": (2,)}
    adaptation = HeadTransfer({"mine": _classes("a", "b")})(origin, saved, _shapes("huggingface", 2))
    (note,) = adaptation.notes
    assert "heads of other tasks, theirs among them" in note
    assert not adaptation.reinitialized  # the checkpoint has no such names
    assert not adaptation.source_names


def test_a_head_that_came_from_elsewhere_is_called_after_its_kind(tmp_path):
    write_settings(tmp_path, {"classification": _classes("a", "b")})
    origin = InitialCheckpoint(3, tmp_path / "checkpoints", RunIdentity(None, None, {}), Config())
    shapes = _shapes("huggingface", 2)
    saved = {name.replace("/mine/", "/classification/"): shape for name, shape in shapes.items()}
    adaptation = HeadTransfer({"mine": _classes("b", "a")})(origin, saved, shapes)
    assert adaptation.source_names == {name: name.replace("/mine/", "/classification/") for name in shapes}
    assert set(adaptation.transforms) == {f"heads/mine/prediction/{leaf}" for leaf in ("kernel", "bias")}
    two = {"mine": _classes("b", "a"), "other": _classes("a", "b")}
    adaptation = HeadTransfer(two)(origin, saved, shapes)
    assert not adaptation.source_names  # which of them is meant is not known
    assert all("classification among them" in note for note in adaptation.notes)
