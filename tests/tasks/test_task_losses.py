"""Losses of fine-tuning against recorded ones, out of recorded logits and labels; and against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.tasks.losses import (
    in_range,
    question_answering_loss,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
    span_loss,
    squared_error,
    tagging_loss,
    weighted_mean,
)

RECORDINGS = [
    f"tiny_finetune_{mode}_{end}" for mode in ("train", "predict") for end in ("joint", "independent")
]


@pytest.fixture(scope="module", params=RECORDINGS)
def reference(request, shared):
    return dict(np.load(shared / "golden" / "tf" / f"{request.param}.npz"))


def _reference_losses(golden):
    # Predicting jointly, the original records end logits of 0 and the loss of those.
    return {
        "mnli": softmax_cross_entropy(golden["out/mnli/logits"], golden["in/mnli_label_ids"]),
        "sts": squared_error(golden["out/sts/predictions"], golden["in/sts_targets"]),
        "squad": question_answering_loss(
            golden["out/squad/start_logits"],
            golden["out/squad/end_logits"],
            golden["out/squad/answerable_logit"],
            golden["in/squad_start_positions"],
            golden["in/squad_end_positions"],
            golden["in/squad_is_impossible"],
        ),
        "chunk": tagging_loss(
            golden["out/chunk/logits"], golden["in/chunk_labels"], golden["in/chunk_labels_mask"]
        ),
    }


@pytest.mark.shared_data
def test_reference_losses(reference, within):
    losses = _reference_losses(reference)
    for task, loss in losses.items():
        relative = np.abs(np.asarray(loss) / reference[f"out/{task}/loss"] - 1).max()
        within("TensorFlow's losses of recorded logits, every example (relative)", relative, 1e-5)
    # The loss of a batch: the sum over its examples of the loss of the example's own task.
    total = sum((loss * (reference["in/task_id"] == i)).sum() for i, loss in enumerate(losses.values()))
    relative = abs(float(total) / float(reference["out/loss"]) - 1)
    within("TensorFlow's losses of recorded logits, the batch (relative)", relative, 1e-5)


@pytest.mark.shared_data
def test_reference_predictions_are_the_greatest_logits(reference):
    for task in ("mnli", "chunk"):
        np.testing.assert_array_equal(
            np.argmax(reference[f"out/{task}/logits"], -1), reference[f"out/{task}/predictions"]
        )


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["seqcls", "seqreg", "tokcls", "mc", "qa"])
def test_huggingface_losses(name, shared, within):
    golden = dict(np.load(shared / "golden" / "hf" / f"tiny_{name}.npz"))
    if name == "qa":
        positions = golden["in/start_positions"], golden["in/end_positions"]
        logits = golden["out/start_logits"], golden["out/end_logits"]
        loss = span_loss(*logits, *positions).mean()
    elif name == "seqreg":
        loss = weighted_mean(squared_error(golden["out/logits"][:, 0], golden["in/labels"]), np.ones(4))
    else:
        logits, labels = golden["out/logits"], golden["in/labels"]
        loss = weighted_mean(softmax_cross_entropy(logits, labels), in_range(labels, logits.shape[-1]))
    relative = abs(float(loss) / float(golden["out/loss"]) - 1)
    within("Hugging Face's losses of recorded logits (relative)", relative, 1e-5)


def _logits(*shape, seed=0):
    return np.random.default_rng(seed).normal(scale=3, size=shape).astype(np.float32)


def test_softmax_cross_entropy_is_the_negative_log_probability():
    logits, labels = _logits(5, 4), np.array([0, 3, 1, 2, 2])
    probabilities = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(-1, keepdims=True)
    expected = -np.log(probabilities[np.arange(5), labels])
    np.testing.assert_allclose(softmax_cross_entropy(logits, labels), expected, rtol=1e-5)


def test_labels_outside_the_classes_cost_nothing_and_have_no_gradient():
    logits, labels = _logits(4, 3), np.array([-100, 3, 1, -1])
    losses = softmax_cross_entropy(logits, labels)
    assert (np.asarray(losses) > 0).tolist() == [False, False, True, False]
    assert in_range(labels, 3).tolist() == [0.0, 0.0, 1.0, 0.0]
    gradient = jax.grad(lambda x: softmax_cross_entropy(x, labels).sum())(logits)
    assert np.asarray(gradient).any(-1).tolist() == [False, False, True, False]


def test_cross_entropy_of_bfloat16_logits_is_computed_in_float32():
    logits, labels = jnp.asarray(_logits(6, 50), jnp.bfloat16), np.arange(6)
    losses = softmax_cross_entropy(logits, labels)
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(losses, softmax_cross_entropy(logits.astype(jnp.float32), labels), rtol=1e-6)


def test_sigmoid_cross_entropy():
    logits, labels = np.array([-2.0, 0.0, 3.0, 1.0], np.float32), np.array([0, 1, 1, 0])
    p = 1 / (1 + np.exp(-logits.astype(float)))
    expected = -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    np.testing.assert_allclose(sigmoid_cross_entropy(logits, labels), expected, rtol=1e-5)
    far = np.array([1000.0, -1000.0], np.float32)
    np.testing.assert_array_equal(sigmoid_cross_entropy(far, np.array([0, 1])), [1000.0, 1000.0])


def test_tagging_sums_over_the_words_that_count():
    logits, labels = _logits(2, 3, 4), np.array([[0, 1, 2], [3, 0, 0]])
    weights = np.array([[1, 1, 0], [1, 0, 0]], np.float32)
    single = np.asarray(softmax_cross_entropy(logits, labels))
    expected = [single[0, 0] + single[0, 1], single[1, 0]]
    np.testing.assert_allclose(tagging_loss(logits, labels, weights), expected, rtol=1e-6)


def test_question_answering_without_the_answerable_classifier_is_the_span_loss():
    start, end = _logits(3, 7), _logits(3, 7, seed=1)
    positions, impossible = (np.array([1, 2, 0]), np.array([3, 2, 0])), np.array([0, 0, 1])
    spans = span_loss(start, end, *positions)
    np.testing.assert_array_equal(
        question_answering_loss(start, end, None, *positions, impossible), np.asarray(spans)
    )
    answerable = _logits(3, seed=2)
    np.testing.assert_allclose(
        question_answering_loss(start, end, answerable, *positions, impossible, answerable_weight=2.0),
        spans + 2.0 * sigmoid_cross_entropy(answerable, impossible),
        rtol=1e-6,
    )


def test_reductions():
    losses, weights = np.array([1.0, 2.0, 5.0]), np.array([1.0, 1.0, 0.0])
    assert float(weighted_mean(losses, weights)) == 1.5
    assert float(weighted_mean(losses, np.zeros(3))) == 0.0
    assert np.isfinite(jax.grad(lambda x: weighted_mean(x, jnp.zeros(3)))(jnp.asarray(losses))).all()
