"""A batch in microbatches is the same batch, however unevenly its tokens are spread over them."""

import jax
import numpy as np
import optax
import pytest
from small_run import SmallVocabulary, small_config
from tiny import compiled, padded_rows

from electra_jax.objectives import build_objective
from electra_jax.training.state import TrainState, init_state
from electra_jax.training.step import make_eval_step, make_train_step

LOG_EVERY = 4


def _step(pieces, usual_rows=None, **model):
    """The state and report after one step of plain gradient descent at rate 1: the change is the gradient."""
    config = small_config(model={"num_layers": 1, "hidden_dropout": 0.0, "attention_dropout": 0.0, **model})
    objective, optimizer = build_objective(config, SmallVocabulary()), optax.sgd(1.0)
    shapes = jax.eval_shape(lambda: init_state(objective, optimizer, padded_rows(), jax.random.key(0)))
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda s: rng.normal(0, 0.05, s.shape).astype(s.dtype), shapes)
    step = make_train_step(
        objective,
        optimizer,
        optax.constant_schedule(1.0),
        seed=0,
        accumulation_steps=pieces,
        log_every=LOG_EVERY,
        usual_rows=usual_rows,
    )
    after, report = compiled(step, state, padded_rows())(state, padded_rows())
    gradient = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), state.params, after.params)
    return gradient, jax.device_get(report), jax.device_get(after.metric_sums)


@pytest.fixture(scope="module")
def whole():
    return _step(1)


@pytest.mark.parametrize("pieces", [4])
def test_microbatches_give_the_gradient_and_the_metrics_of_the_whole_batch(pieces, whole):
    real = (padded_rows() != SmallVocabulary.pad_id).sum(axis=1)
    weight_of_piece = real.reshape(8 // pieces, pieces).sum(axis=0)
    assert weight_of_piece.max() > 1.5 * weight_of_piece.min()  # a mean of means would be another gradient

    gradient, report, metric_sums = _step(pieces)
    expected, expected_report, expected_window = whole
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    for name, value in expected_report.items():
        np.testing.assert_allclose(report[name], value, rtol=1e-5, err_msg=name)
    for name, sums in expected_window.items():
        np.testing.assert_allclose(metric_sums[name], sums, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", ["electra", "electric", "causal_lm"])
def test_evaluation_in_microbatches_has_the_sums_of_the_whole_batch(kind):
    config = small_config(objective={"kind": kind}, model={"num_layers": 1})
    objective = build_objective(config, SmallVocabulary())
    params = jax.jit(objective.init)(jax.random.key(0))
    whole, some = (
        compiled(step, params, padded_rows(), np.int32(3))(params, padded_rows(), np.int32(3))
        for step in (make_eval_step(objective, seed=0, pieces=pieces) for pieces in (1, 4))
    )
    assert whole.keys() == some.keys()
    for name, sums in jax.device_get(whole).items():
        np.testing.assert_allclose(some[name], sums, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_batch_that_has_grown_is_computed_in_more_microbatches_of_the_usual_size():
    """So that it takes no more memory: 8 rows where 4 are usual in 2 microbatches are 4 microbatches of 2."""
    grown, expected = _step(2, usual_rows=4), _step(4)
    jax.tree.map(np.testing.assert_array_equal, grown, expected)


def test_microbatches_drop_out_other_units_each():
    """With dropout two equal microbatches differ, so that their mean is not the gradient of either."""
    config = small_config(model={"num_layers": 1, "hidden_dropout": 0.5})
    objective = build_objective(config, SmallVocabulary())
    seen = []

    class Watched:
        """The objective, telling which dropout keys it is traced with."""

        draw_inputs, loss_normalizers, subnetworks = objective.draw_inputs, objective.loss_normalizers, ()

        @staticmethod
        def loss(params, inputs, normalizers, rng):
            jax.debug.callback(lambda data: seen.append(tuple(np.asarray(data))), jax.random.key_data(rng))
            weight = inputs.masked.weights.sum()
            return (params["x"] * weight) / normalizers[0], {
                "masked_lm_loss": jax.numpy.stack([weight, weight])
            }

    optimizer = optax.sgd(1.0)
    step = make_train_step(
        Watched, optimizer, optax.constant_schedule(1.0), seed=0, accumulation_steps=4, log_every=LOG_EVERY
    )
    params = {"x": np.float32(1)}
    state = TrainState(
        step=np.int32(0),
        params=params,
        opt_state=optimizer.init(params),
        metric_sums={"masked_lm_loss": np.zeros(2, np.float32)},
    )
    for _ in range(2):
        state, _ = jax.jit(step)(state, padded_rows())
    jax.effects_barrier()
    assert len(seen) == 8
    assert len(set(seen)) == 8  # every microbatch of every step has its own
