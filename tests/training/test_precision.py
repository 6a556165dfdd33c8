"""Under compute.dtype=bfloat16: what the step computes in float32 all the same, read off its jaxpr."""

import jax
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.config.machines import MeshConfig
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.program import build_program

# exp: softmax; rsqrt: LayerNorm (and Adam's clipping); log: the losses' log-softmax and softplus; sums: all of them.
IN_FLOAT32 = ("exp", "exp2", "log", "log1p", "rsqrt", "sqrt", "reduce_sum", "reduce_max", "argmax")


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)


@pytest.fixture(scope="module", params=["xla", "blocked"])
def step(request):
    config = small_config(compute={"dtype": "bfloat16", "attention": request.param})
    program = build_program(config, SmallVocabulary(), make_mesh(MeshConfig(), jax.devices()[:1]))
    with program.on_mesh():
        jaxpr = program.train_step.trace(program.abstract, np.zeros((8, 16), np.int32)).jaxpr
    return list(_equations(jaxpr.jaxpr))


def test_softmax_layer_norm_and_losses_are_float32(step):
    found = {
        (equation.primitive.name, str(equation.invars[0].aval.dtype))
        for equation in step
        if equation.primitive.name in IN_FLOAT32
    }
    assert ("exp", "float32") in found
    assert ("rsqrt", "float32") in found
    assert not {name for name, dtype in found if dtype == "bfloat16"}


def test_products_of_layers_are_bfloat16_and_logits_float32(step):
    products = [equation for equation in step if equation.primitive.name == "dot_general"]
    operands = {str(x.aval.dtype) for equation in products for x in equation.invars}
    assert "bfloat16" in operands
    vocabulary = 104  # 100 rounded up to a multiple of 8
    logits = [
        equation.outvars[0].aval
        for equation in products
        if equation.outvars[0].aval.shape[-1:] == (vocabulary,) and equation.outvars[0].aval.ndim == 3
    ]
    assert logits
    assert {str(aval.dtype) for aval in logits} == {"float32"}


def test_parameters_and_moments_stay_float32():
    config = small_config(compute={"dtype": "bfloat16"})
    program = build_program(config, SmallVocabulary(), make_mesh(MeshConfig(), jax.devices()[:1]))
    with program.on_mesh():
        state = jax.eval_shape(program.train_step, program.abstract, jax.ShapeDtypeStruct((8, 16), np.int32))[
            0
        ]
    floats = [leaf.dtype for leaf in jax.tree.leaves(state) if jax.numpy.issubdtype(leaf.dtype, np.floating)]
    assert floats
    assert set(floats) == {np.dtype(np.float32)}
