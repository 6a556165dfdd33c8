"""Multiple choice: rows token by token, a loss over the options of an example, and predictions one by one."""

import numpy as np
import pytest
from tiny_task import assert_same_gradient, tiny_task

from electra_jax.errors import UserError
from electra_jax.tasks.choice_rows import cut_pair
from electra_jax.tasks.protocol import ChoiceExample
from electra_jax.tasks.rank_metrics import rank_measures, rank_of

EXAMPLES = [
    ChoiceExample("a", "abcdefghabcdefgh", ("ab", "cde"), "", 1),  # cut at its start
    ChoiceExample("b", "ba", ("a", "b", "cd"), "", 0),
    ChoiceExample("c", "cab", ("e", "fgh"), "hg", 1),
    *(ChoiceExample(str(n), "dddabc"[: n + 1], ("a", "h", "ce"[: n % 2 + 1]), "", n % 3) for n in range(5)),
]


@pytest.fixture(scope="module")
def chooser():
    return tiny_task({"kind": "multiple_choice"}, EXAMPLES)


def test_rows_token_by_token_the_context_losing_its_start(chooser):
    rows = chooser.task.encode(EXAMPLES[:3], training=False)
    tokenizer = chooser.task.tokenizer
    shown = [
        "".join({2: "<", 3: "|"}.get(i, tokenizer.token(i)) for i in row.tolist()) for row in rows.input_ids
    ]
    assert [text.replace("▁", " ") for text in shown] == [
        *("<fghabcdefgh|ab|", "<ghabcdefgh|cde|"),
        *("<ba|a|", "<ba|b|", "<ba|cd|"),
        *("<cab|hg e|", "<cab|hg fgh|"),
    ]
    assert rows.details == [True, True, False, False, False, False, False]
    assert rows.example_index.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert rows.token_type_ids[4].tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_what_follows_a_context_is_whole_up_to_half_of_the_room():
    assert cut_pair("abcdef", "xy", 6) == ("cdef", "xy")
    assert cut_pair("abcdef", "uvwxyz", 6) == ("def", "uvw")
    assert cut_pair("a", "uvwxyz", 6) == ("a", "uvwxy")
    assert cut_pair("", "uvwxyz", 4) == ("", "uvwx")
    assert cut_pair("abc", "", 2) == ("bc", "")


def test_options_of_an_example_are_one_row_and_missing_ones_are_padding(chooser):
    batch = chooser.batch(EXAMPLES, rows=[0, 1, -1])
    assert batch.inputs.input_ids.shape == (3, 3, 16)
    assert batch.inputs.segment_ids.any(axis=-1).tolist() == [[True, True, False], [True] * 3, [False] * 3]
    assert batch.inputs.position_ids[1, 0, :8].tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert batch.targets["label"].tolist() == [1, 0, 0]
    assert batch.weights.tolist() == [1, 1, 0]


def test_the_loss_is_the_cross_entropy_of_the_options_scored_one_by_one(chooser):
    predictions, _ = chooser.predict(EXAMPLES)
    right = [p["probabilities"][e.answer] for p, e in zip(predictions, EXAMPLES, strict=True)]
    loss, _ = chooser.gradient(chooser.batch(EXAMPLES), data=1)
    np.testing.assert_allclose(loss, -np.log(right).mean(), rtol=1e-5)
    assert min(right) < 0.3 < 0.5 < max(right)  # not all alike


@pytest.mark.parametrize(("pieces", "axes"), [(1, {"data": 8}), (2, {"data": 2, "fsdp": 2})])
def test_microbatches_and_devices_give_the_loss_and_gradient_of_the_whole_batch(chooser, pieces, axes):
    batch = chooser.batch(EXAMPLES, rows=[*range(7), -1])
    assert_same_gradient(chooser.gradient(batch, pieces, **axes), chooser.gradient(batch, data=1))


def test_predictions_say_which_option_and_do_not_depend_on_devices_or_other_rows(chooser):
    predictions, outputs = chooser.predict(EXAMPLES)
    again, _ = chooser.predict(EXAMPLES, devices=8, buckets=(16,))
    (alone,), _ = chooser.predict(EXAMPLES[:1])
    first = predictions[0]
    logits = outputs["logit"][:2].astype(float)
    np.testing.assert_allclose(first["probabilities"], np.exp(logits) / np.exp(logits).sum(), rtol=1e-6)
    assert first["option"] == EXAMPLES[0].options[first["label"]]
    assert first["probability"] == max(first["probabilities"])
    assert [p.get("truncated", False) for p in predictions] == [True, *[False] * 7]
    for ours, theirs in [*zip(again, predictions, strict=True), (alone, first)]:
        assert ours["label"] == theirs["label"]
        assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-5)


def test_metrics_follow_from_the_rank_of_the_right_option(chooser):
    examples = [ChoiceExample(str(n), "a", ("a", "b", "c"), "", n) for n in range(3)]
    predictions = [
        {"probabilities": shares} for shares in ([0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2])
    ]
    scores = chooser.task.score(examples, predictions)
    assert list(scores) == ["accuracy", "recall@2", "mrr"]
    assert list(scores.values()) == pytest.approx([100 / 3, 200 / 3, 100 * (1 + 1 / 2 + 1 / 3) / 3])
    measure = chooser.task.measures(examples, predictions, ["mrr"])["mrr"]
    assert measure(np.array([2, 2])) == pytest.approx(100 / 3)


def test_of_equal_options_the_first_is_chosen_and_no_number_never_wins():
    assert [rank_of(np.array([0.5, 0.5]), right) for right in (0, 1)] == [1, 2]
    assert rank_of(np.array([np.nan, 0.5, 0.2]), 1) == 2
    assert rank_of(np.array([np.nan, np.nan, np.nan]), 0) == 3
    assert rank_measures(np.array([1, 11]), ["recall@10"])["recall@10"](np.arange(2)) == 50


def test_what_cannot_be_trained_on(chooser):
    with pytest.raises(UserError, match="the example 'x' has no label to train on"):
        chooser.task.encode([ChoiceExample("x", "a", ("a", "b"))], training=True)
    with pytest.raises(
        UserError, match=r"metric is 'f1', but for multiple choice it must be one of: accuracy"
    ):
        tiny_task({"kind": "multiple_choice", "metric": "f1"}, EXAMPLES)
