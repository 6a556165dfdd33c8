"""A few figures of the original kept in the repository, so that parity is checked wherever the tests run."""

import jax
import numpy as np
import optax
import pytest
from kept_figures import KEPT, SETTINGS
from replayed_draws import reference_config, replayed

from electra_jax.convert.flat_parameters import flatten, unflatten
from electra_jax.convert.names import tensorflow_table
from electra_jax.optim import build_optimizer


def _tree(golden, prefix):
    table = tensorflow_table()
    named = {n.removeprefix(prefix): a for n, a in golden.items() if n.startswith(prefix)}
    return unflatten({table.to_ours(name).ours: array for name, array in named.items()}, vocab_multiple=1)


@pytest.fixture(scope="module")
def case():
    golden = dict(np.load(KEPT))
    return replayed(golden, reference_config(SETTINGS, "embeddings"), _tree(golden, "weights/"))


def test_logits_of_both_networks_and_what_lies_between(case):
    golden, objective, params, inputs, _, _ = case
    np.testing.assert_array_equal(inputs.masked.input_ids, golden["out/masked_input_ids"])
    logits, corruption = jax.jit(objective.run_generator)(params, inputs)
    np.testing.assert_allclose(logits, golden["out/gen_logits"], rtol=0, atol=2e-5)
    np.testing.assert_array_equal(corruption.input_ids, golden["out/disc_input_ids"])
    np.testing.assert_array_equal(corruption.labels, golden["out/disc_labels"])
    scores = jax.jit(objective.run_discriminator)(params, inputs, corruption)
    np.testing.assert_allclose(scores, golden["out/disc_logits"], rtol=0, atol=2e-5)


def test_losses_and_the_norm_of_every_gradient(case):
    golden, objective, params, _, value_and_grad, _config = case
    (loss, sums), gradients = value_and_grad(params)
    metrics = objective.summarize(jax.device_get(sums))
    assert float(loss) == pytest.approx(float(golden["out/total_loss"]), rel=1e-5)
    assert metrics["masked_lm_loss"] == pytest.approx(float(golden["out/mlm_loss"]), rel=1e-5)
    assert metrics["disc_loss"] == pytest.approx(float(golden["out/disc_loss"]), rel=1e-5)
    assert float(optax.tree.norm(gradients)) == pytest.approx(float(golden["grad_global_norm"]), rel=1e-5)
    table = tensorflow_table()
    norms = {table.to_foreign(n).foreign: np.linalg.norm(g) for n, g in flatten(gradients, 200).items()}
    recorded = {n.removeprefix("gradnorm/"): a for n, a in golden.items() if n.startswith("gradnorm/")}
    assert norms.keys() == recorded.keys()
    for name, norm in norms.items():
        # a key's bias has no gradient but rounding
        slack = 1e-4 * float(golden["grad_global_norm"]) if name.endswith("key/bias") else 0.0
        assert norm == pytest.approx(float(recorded[name]), rel=1e-4, abs=slack), name


def test_parameters_after_three_updates(case):
    golden, _objective, params, _, value_and_grad, config = case
    optimizer = build_optimizer(config.optimizer, params, total_steps=config.train.total_steps)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for _ in range(3):
        updates, state = update(value_and_grad(params)[1], state, params)
        params = jax.tree.map(lambda p, u: p + u, params, updates)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5),
        params,
        _tree(golden, "step3/"),
    )
