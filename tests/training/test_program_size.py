"""What the step is made of, counted in its jaxpr: scanned layers and microbatches are there once, however many."""

import jax
import numpy as np
from small_run import SmallVocabulary, small_config

from electra_jax.objectives import build_objective
from electra_jax.optim import build_optimizer
from electra_jax.training.state import init_state
from electra_jax.training.step import make_eval_step, make_train_step


def _primitives(jaxpr):
    """Names of all operations, those of inner programs too."""
    names = []
    for equation in jaxpr.eqns:
        names.append(equation.primitive.name)
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                names += _primitives(inner)
    return names


def _step(layers, *, pieces=1, **compute):
    config = small_config(model={"num_layers": layers}, compute=compute)
    objective, batch = build_objective(config, SmallVocabulary()), np.zeros((8, 16), np.int32)
    optimizer = build_optimizer(
        config.optimizer,
        jax.eval_shape(objective.init, jax.random.key(0)),
        total_steps=config.train.total_steps,
    )
    state = jax.eval_shape(lambda: init_state(objective, optimizer, batch, jax.random.key(0)))
    step = make_train_step(
        objective, optimizer, lambda step: 1e-3, seed=0, accumulation_steps=pieces, log_every=4
    )
    return _primitives(jax.make_jaxpr(step)(state, batch).jaxpr)


def test_scanned_layers_make_no_larger_program_and_unrolled_ones_do():
    two, six = (_step(layers, scan_layers=True) for layers in (2, 6))
    assert sorted(two) == sorted(six)
    two, six = (_step(layers, scan_layers=False) for layers in (2, 6))
    assert len(six) > 1.5 * len(two)


def test_microbatches_make_no_larger_program():
    assert sorted(_step(2, pieces=2)) == sorted(_step(2, pieces=4))


def _largest(jaxpr):
    """The number of elements of the largest array anywhere in a program."""
    sizes = [int(np.prod(out.aval.shape)) for equation in jaxpr.eqns for out in equation.outvars]
    for equation in jaxpr.eqns:
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                sizes.append(_largest(inner))
    return max(sizes)


def test_evaluation_needs_no_more_room_for_logits_than_a_microbatch_of_training():
    objective = build_objective(small_config(), SmallVocabulary())
    params = jax.eval_shape(objective.init, jax.random.key(0))

    def largest(pieces):
        step = make_eval_step(objective, seed=0, pieces=pieces)
        return _largest(jax.make_jaxpr(step)(params, np.zeros((64, 16), np.int32), np.int32(0)).jaxpr)

    assert largest(8) < largest(1) / 3


def test_what_is_recomputed_is_there_twice():
    """exp is the softmax's; dots keeps the products with parameters, but not those of attention, batch by batch."""
    plain, dots, full = (_step(2, remat=remat) for remat in ("none", "dots", "full"))
    assert plain.count("exp") < dots.count("exp") == full.count("exp")
    assert plain.count("dot_general") < dots.count("dot_general") < full.count("dot_general")
