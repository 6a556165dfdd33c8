"""Texts with any number of labels: targets, loss and outputs row by row, and thresholds."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from task_sections import task_section

from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.tasks.batches import BatchPlan, make_batch
from electra_jax.tasks.build import build_task, learn_settings
from electra_jax.tasks.multi_label import THRESHOLDS, MultiLabelTask
from electra_jax.tasks.protocol import TextExample
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abc"]


@pytest.fixture(scope="module")
def tokenizer():
    """A word is a letter."""
    return WordPieceTokenizer("\n".join(TOKENS).encode(), lowercase=True, strip_accents=True)


def _task(tokenizer, **options):
    values = {"name": "mine", "labels": ("x", "y", "z"), "tokenizer": tokenizer, "max_length": 16}
    shared = {"head_style": "reference", "head_dropout": 0.1, "dtype": jnp.float32}
    return MultiLabelTask(**{**values, **shared, **options})


def _examples(*labels):
    return [TextExample(str(number), "a b", label=some) for number, some in enumerate(labels)]


def _predicted(task, *probabilities):
    examples = _examples(*[None] * len(probabilities))
    rows = task.encode(examples, training=False)
    return task.predictions(examples, rows, {"probabilities": np.array(probabilities, np.float32)})


def test_targets_loss_and_outputs_row_by_row(tokenizer, within):
    task = _task(tokenizer)
    rows = task.encode(_examples(("z", "x"), (), ("y",)), training=True)
    np.testing.assert_array_equal(rows.targets["labels"], [[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    batch = make_batch("mine", rows, BatchPlan(8, np.array([2, 0, 1, -1])), 0, targets=True)
    np.testing.assert_array_equal(batch.targets["labels"], [[0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0]])
    states = jax.random.normal(jax.random.key(1), (4, 8, 6))
    params = nn.init(lambda head: task.loss(head, states, batch, None), task.head())(jax.random.key(0))[
        "params"
    ]
    params["prediction"]["bias"] += 0.5
    head = task.head().bind({"params": params})
    kernel, bias = (np.asarray(params["prediction"][name], np.float64) for name in ("kernel", "bias"))
    shares = expit(np.asarray(states, np.float64)[:, 0] @ kernel + bias)
    right = np.where(batch.targets["labels"] == 1, shares, 1 - shares)
    losses, outputs = task.loss(head, states, batch, None), task.outputs(head, states, batch)
    within("multi-label: loss of a row", np.abs(losses + np.log(right).mean(-1)).max(), 1e-5)
    within("multi-label: probabilities", np.abs(outputs["probabilities"] - shares).max(), 1e-6)


def test_pairs_in_both_orders_have_the_same_targets(tokenizer):
    examples = [TextExample("1", "a", "b", ("x",)), TextExample("2", "c", None, ("y",))]
    rows = _task(tokenizer, swap_pairs=True).encode(examples, training=True)
    np.testing.assert_array_equal(rows.targets["labels"], [[1, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_what_cannot_be_trained_on(tokenizer):
    with pytest.raises(UserError, match="'1' has no labels to train on"):
        _task(tokenizer).encode(_examples((), None), training=True)
    assert not _task(tokenizer).encode(_examples((), None), training=False).targets
    with pytest.raises(UserError, match="'0' has the label 'w', which is not known; the labels are: x, y, z"):
        _task(tokenizer).encode(_examples(("x", "w"), None), training=False)
    with pytest.raises(UserError, match="nothing to learn"):
        _task(tokenizer, labels=())
    with pytest.raises(
        UserError, match="metric is 'accuracy', but for multi-label classification it must be one of"
    ):
        _task(tokenizer, chosen_metric="accuracy")
    assert _task(tokenizer, labels=("x",)).head().num_labels == 1  # one class by itself is a question too


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [(None, [["x", "z"], [], ["y"]]), (0.4, [["x", "z"], ["y"], ["y"]]), (0.95, [[], [], []])],
)
def test_labels_at_least_as_probable_as_the_threshold(tokenizer, threshold, labels):
    task = _task(tokenizer, threshold=threshold)
    answers = _predicted(task, [0.9, 0.1, 0.5], [0.1, 0.45, 0.2], [0.3, 0.9, 0.3])
    assert [answer["labels"] for answer in answers] == labels
    assert answers[0]["probabilities"] == pytest.approx({"x": 0.9, "y": 0.1, "z": 0.5})
    assert all("label" not in answer and "truncated" not in answer for answer in answers)


def test_a_text_that_is_cut_says_so(tokenizer):
    task = _task(tokenizer, max_length=4)
    examples = [TextExample("1", "a b c"), TextExample("2", "a b")]
    rows = task.encode(examples, training=False)
    answers = task.predictions(examples, rows, {"probabilities": np.zeros((2, 3))})
    assert ["truncated" in answer for answer in answers] == [True, False]


@pytest.mark.parametrize("metric", [None, "macro_f1", "exact_match", "mean_average_precision"])
def test_the_best_threshold_is_found_and_kept(tokenizer, metric):
    task = _task(tokenizer, chosen_metric=metric, tune_threshold=True)
    gold = _examples(("x",), ("y", "z"), (), ("z",))
    rare = _predicted(task, [0.04, 0.01, 0.01], [0.01, 0.05, 0.03], [0.01, 0.02, 0.01], [0.02, 0.01, 0.06])
    assert not any(answer["labels"] for answer in rare)
    threshold = task.find_threshold(gold, rare)
    assert 0.02 < threshold <= 0.03
    scores = task.score(gold, rare)
    assert next(iter(scores)) == task.metric == (metric or "micro_f1")
    assert set(scores.values()) == {100.0}
    assert _task(tokenizer, chosen_metric="micro_f1").score(gold, rare)["micro_f1"] == 0.0
    tuned = task.tune(gold, rare)
    assert (tuned.learned_settings, f"at least {threshold} probable" in tuned.note) == (
        {"threshold": threshold},
        True,
    )
    assert tuned.task.score(gold, rare)["exact_match"] == 100.0
    fixed = _task(tokenizer, threshold=0.3)
    assert (fixed.tune(gold, rare).task, fixed.tune(gold, rare).note) == (fixed, None)
    # Of equals the nearest to the middle.
    sure = _predicted(task, [0.9, 0.1, 0.1], [0.1, 0.9, 0.9], [0.1, 0.1, 0.1], [0.1, 0.1, 0.9])
    assert task.find_threshold(gold, sure) == 0.5
    assert 0.5 in THRESHOLDS


def test_probabilities_of_a_training_that_diverged_are_scored(tokenizer):
    task = _task(tokenizer, tune_threshold=True)
    answers = _predicted(task, [np.nan] * 3, [np.nan] * 3)
    scores = task.score(_examples(("x",), ("y",)), answers)
    assert (scores["micro_f1"], scores["exact_match"]) == (0.0, 0.0)


def test_from_configuration_to_task(tokenizer):
    splits = {"train": _examples(("b",), ("c", "a")), "dev": _examples(())}

    def built(**options):
        task = task_section(kind="classification", multi_label=True, **options)
        config = Config().model_copy(
            update={"finetune": Config().finetune.model_copy(update={"tasks": {"mine": task}})}
        )
        settings, _ = learn_settings("mine", config.finetune.tasks["mine"], splits)
        return settings, build_task("mine", settings, config, tokenizer)

    settings, task = built()
    assert (settings.labels, settings.multi_label, settings.threshold) == (("a", "b", "c"), True, None)
    assert (task.labels, task.metric, task.tune_threshold) == (("a", "b", "c"), "micro_f1", False)
    settings, task = built(threshold=0.3, labels=["c", "b", "a", "never"], metric="exact_match")
    assert (settings.threshold, task.threshold, task.metric) == (0.3, 0.3, "exact_match")
    assert task.labels == ("c", "b", "a", "never")
    settings, task = built(threshold="tune")
    assert (settings.threshold, task.threshold, task.tune_threshold) == (None, None, True)
