"""Analytic FLOPs against the matrix products that the traced program really holds."""

import math

import jax
import jax.numpy as jnp
import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.objectives import build_objective
from electra_jax.training.flops import train_step_flops


def _inner(value):
    for item in value if isinstance(value, (tuple, list)) else [value]:
        if hasattr(item, "jaxpr"):
            yield item.jaxpr
        elif hasattr(item, "eqns"):
            yield item


def traced_product_flops(jaxpr, vocab_rows):
    """2 x multiply-adds of every dot_general, with scan bodies counted as often as they run.

    The product with a row of ones that gives the vocabulary bias's gradient (`cpu_gradients.vocabulary_logits`) is a
    sum and does not count.
    """
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general" and eqn.outvars[0].aval.shape != (1, vocab_rows):
            (contracted, _), _ = eqn.params["dimension_numbers"]
            left = eqn.invars[0].aval.shape
            total += 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)
        repeats = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        for value in eqn.params.values():
            together = max if eqn.primitive.name == "cond" else sum  # one branch runs
            total += repeats * together(
                [0, *(traced_product_flops(inner, vocab_rows) for inner in _inner(value))]
            )
    return total


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"compute": {"scan_layers": True}},
        {"generator": {"sharing": "none", "size_fraction": 0.5}},
        {"generator": {"sharing": "all", "size_fraction": 1.0}},
        {"model": {"embedding_size": None, "num_layers": 3, "intermediate_size": 48}},
        {"model": {"block": "modern", "embedding_size": None, "num_layers": 3}},
        {"objective": {"kind": "masked_lm", "mask_rate": 0.3}},
        {"objective": {"kind": "causal_lm"}},
        {"objective": {"mask_rate_high": 1.0}},
        {"data": {"sequence_length": 13}, "generator": {"layers_fraction": 0.5}},
    ],
    ids=str,
)
def test_step_flops_are_the_matrix_products_of_the_traced_step(sections):
    sections = {**sections, "model": {"vocab_multiple": 4, **sections.get("model", {})}}  # no unused rows
    config = small_config(**sections)
    objective = build_objective(config, SmallVocabulary())
    batch = jnp.zeros((config.train.batch_size, config.data.sequence_length), jnp.int32)

    def step(params, key):
        inputs = objective.draw_inputs(batch, key)
        return jax.grad(lambda p: objective.loss(p, inputs, objective.loss_normalizers(inputs), None)[0])(
            params
        )

    params = jax.eval_shape(objective.init, jax.random.key(0))
    jaxpr = jax.make_jaxpr(step)(params, jax.random.key(0)).jaxpr
    rows = objective.network.sizes.vocab_rows
    assert train_step_flops(objective, *batch.shape) == traced_product_flops(jaxpr, rows)
