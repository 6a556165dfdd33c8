"""Causal language modelling: what is predicted, from what, and what the figures mean."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.model.inputs import packed_inputs
from electra_jax.objectives import build_objective
from electra_jax.objectives.causal_lm import next_tokens

PAD, CLS, SEP = SmallVocabulary.pad_id, SmallVocabulary.cls_id, SmallVocabulary.sep_id
# A document that ends, one that goes on in the next row, that row, and padding.
ROWS = np.array(
    [
        [CLS, 5, 6, SEP, CLS, 7, 8, 9],
        [CLS, 10, 11, 12, SEP, PAD, PAD, PAD],
    ],
    np.int32,
)


@pytest.fixture(scope="module")
def objective():
    config = small_config(
        objective={"kind": "causal_lm"},
        model={"num_layers": 1, "hidden_dropout": 0.0, "attention_dropout": 0.0, "initializer_range": 0.3},
    )
    return build_objective(config, SmallVocabulary())


@pytest.fixture(scope="module")
def params(objective):
    return jax.jit(objective.init)(jax.random.key(0))


def loss_and_sums(objective, params, rows):
    inputs = jax.jit(objective.draw_inputs)(jnp.asarray(rows), jax.random.key(0))
    return objective.loss(params, inputs, objective.loss_normalizers(inputs), None)


def test_every_token_of_a_document_is_predicted_once_and_nothing_across_documents():
    targets, weights = next_tokens(packed_inputs(jnp.array(ROWS), pad_id=PAD, cls_id=CLS, sep_id=SEP))
    predicted = [row[mask].tolist() for row, mask in zip(np.asarray(targets), weights != 0, strict=True)]
    assert predicted == [[5, 6, SEP, 7, 8, 9], [10, 11, 12, SEP]]


def test_the_loss_is_the_mean_of_the_logits_cross_entropy(objective, params):
    loss, sums = jax.jit(lambda p: loss_and_sums(objective, p, ROWS))(params)
    inputs = jax.jit(objective.draw_inputs)(jnp.array(ROWS), jax.random.key(0))
    logits = np.asarray(objective.network.apply({"params": params}, inputs.original, method="logits"))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    where = np.asarray(inputs.weights) != 0
    picked = np.take_along_axis(log_p, np.asarray(inputs.targets)[..., None], -1)[..., 0][where]
    assert float(loss) == pytest.approx(-picked.mean(), rel=1e-5)
    metrics = objective.summarize(jax.device_get(sums))
    assert metrics["loss"] == pytest.approx(float(loss), rel=1e-6)
    right = (logits.argmax(-1) == np.asarray(inputs.targets))[where]
    assert metrics["token_accuracy"] == pytest.approx(right.mean())
    assert metrics["padding_fraction"] == pytest.approx(3 / 16)


def test_a_token_is_predicted_from_those_before_it_in_its_document_alone(objective, params):
    inputs = jax.jit(objective.draw_inputs)(jnp.array(ROWS), jax.random.key(0))

    def logits(rows):
        changed = packed_inputs(rows, pad_id=PAD, cls_id=CLS, sep_id=SEP)
        return objective.network.apply({"params": params}, changed, method="logits")

    before = logits(inputs.original.input_ids)
    for column in (2, 6):
        after = logits(inputs.original.input_ids.at[0, column].set(33))
        moved = np.abs(np.asarray(after - before)[0]).max(-1) > 1e-6
        end = 4 if column == 2 else 8  # its document's
        np.testing.assert_array_equal(moved, (np.arange(8) >= column) & (np.arange(8) < end))


def test_prefill_and_steps_give_the_logits_of_whole_rows(objective, params):
    ids = jnp.array([[CLS, 5, 6, 7, 8, 9], [CLS, 10, 11, 12, 13, 14]], jnp.int32)
    inputs = packed_inputs(ids, pad_id=PAD, cls_id=CLS, sep_id=SEP)
    network, variables = objective.network, {"params": params}
    expected = np.asarray(network.apply(variables, inputs, method="logits"))
    lengths = np.array([4, 1], np.int32)
    logits, cache = network.apply(variables, ids[:, :4], jnp.array(lengths), 8, method="prefill")
    np.testing.assert_allclose(logits, expected[[0, 1], lengths - 1], rtol=1e-5, atol=1e-5)
    for step in range(2):
        column = lengths + step
        logits, cache = network.apply(variables, cache, ids[np.arange(2), column], method="step")
        np.testing.assert_allclose(logits, expected[[0, 1], column], rtol=1e-5, atol=1e-5)


def test_bits_per_byte_and_word_perplexity_are_of_the_text_and_not_of_its_tokens(objective):
    sums = {"loss": np.array([30.0, 10.0])}  # 3 nats a token
    metrics = objective.text_metrics(sums, num_targets=20, num_bytes=50, num_words=5)
    assert metrics["bits_per_byte"] == pytest.approx(3 * 20 / math.log(2) / 50)
    assert metrics["word_perplexity"] == pytest.approx(math.exp(3 * 20 / 5))
    lossy = objective.text_metrics(sums, num_targets=20, num_bytes=None, num_words=None)
    nothing = objective.text_metrics({"loss": np.zeros(2)}, num_targets=20, num_bytes=50, num_words=5)
    assert {*lossy.values(), *nothing.values()} == {None}
