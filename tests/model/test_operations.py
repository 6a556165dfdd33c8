"""Operations and their gradients: closed forms, and the set for CPUs against what JAX derives from the plain one."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import small_config

from electra_jax.model.cpu_gradients import CPU_OPERATIONS, call_without_inlining
from electra_jax.model.network_config import network_config
from electra_jax.model.operations import PLAIN_OPERATIONS

SETS = pytest.mark.parametrize("operations", [PLAIN_OPERATIONS, CPU_OPERATIONS], ids=["plain", "cpu"])


def _exact(x):
    """x · Φ(x) and its derivative in double precision."""
    cdf = 0.5 * math.erfc(-x / math.sqrt(2.0))
    return x * cdf, cdf + x * math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


@SETS
def test_gelu_and_its_gradient_are_the_exact_ones(operations):
    gelu = operations.gelu
    x = np.linspace(-8, 8, 641, dtype=np.float32)
    values, slopes = np.array([_exact(float(v)) for v in x]).T
    np.testing.assert_allclose(gelu(jnp.asarray(x)), values, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(gelu))(jnp.asarray(x)), slopes, atol=1e-6)


@SETS
def test_gelu_of_a_narrow_type_is_the_wide_one_rounded(operations):
    gelu = operations.gelu
    x = jnp.linspace(-8, 8, 641, dtype=jnp.bfloat16)
    np.testing.assert_array_equal(gelu(x), gelu(x.astype(jnp.float32)).astype(jnp.bfloat16))
    slopes = jax.vmap(jax.grad(gelu))
    np.testing.assert_array_equal(slopes(x), slopes(x.astype(jnp.float32)).astype(jnp.bfloat16))


@pytest.mark.parametrize("features", [3, 7, 11])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 5, 7)])
def test_the_gradient_of_a_product_is_what_jax_derives(shape, features):
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = jax.random.normal(keys[0], shape), jax.random.normal(keys[1], (7, features))
    y, back = jax.vjp(CPU_OPERATIONS.matmul, x, kernel)
    expected, expected_back = jax.vjp(lambda x, kernel: x @ kernel, x, kernel)
    np.testing.assert_array_equal(y, expected)
    gradient = jax.random.normal(keys[2], y.shape)
    for ours, theirs in zip(back(gradient), expected_back(gradient), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("features", "outputs"), [(3, 7), (7, 3), (5, 5)])
def test_the_narrower_operand_comes_first_in_the_gradient_of_a_kernel(features, outputs):
    x, kernel = jnp.ones((2, 5, features)), jnp.ones((features, outputs))
    backward = jax.make_jaxpr(jax.grad(lambda kernel: CPU_OPERATIONS.matmul(x, kernel).sum()))(kernel)
    (by_kernel,) = [
        product
        for called in backward.eqns
        if "jaxpr" in called.params
        for product in called.params["jaxpr"].eqns
        if product.primitive.name == "dot_general"
    ]
    widths = [operand.aval.shape[-1] for operand in by_kernel.invars]
    assert widths == sorted((features, outputs))


def test_what_is_called_stays_a_call_when_it_is_compiled():
    def thrice(x):
        return 3.0 * x.T

    def compiled(function):
        return jax.jit(lambda x: function(jnp.sin(x))).lower(jnp.ones((5, 7))).compile().as_text()

    assert " call(" in compiled(lambda x: call_without_inlining(thrice, x))
    assert " call(" not in compiled(jax.jit(thrice))
    np.testing.assert_array_equal(
        call_without_inlining(thrice, jnp.arange(6.0).reshape(2, 3))[:, 1], [9.0, 12.0, 15.0]
    )


@SETS
def test_softmax_and_its_gradient_are_the_exact_ones(operations):
    scores, gradient = np.random.default_rng(0).normal(size=(2, 3, 11))
    scores[0, 4] = -10000.0  # masked
    exact = np.exp(scores - scores.max(-1, keepdims=True))
    exact /= exact.sum(-1, keepdims=True)
    jacobian = exact[:, :, None] * (np.eye(11) - exact[:, None, :])
    y, back = jax.vjp(operations.softmax, jnp.float32(scores))
    np.testing.assert_allclose(y, exact, atol=1e-6)
    np.testing.assert_allclose(
        back(jnp.float32(gradient))[0], np.einsum("bij,bi->bj", jacobian, gradient), atol=1e-6
    )


def test_gradients_of_parts_are_put_together():
    x = jnp.arange(12.0).reshape(3, 2, 2)
    parts, back = jax.vjp(CPU_OPERATIONS.unstack, x)
    np.testing.assert_array_equal(parts, x)
    (by_x,) = back([jnp.full((2, 2), float(n)) for n in (5, 6, 7)])
    np.testing.assert_array_equal(by_x[:, 0, 0], [5.0, 6.0, 7.0])
    lowered = (
        jax.jit(jax.grad(lambda x: sum(part.sum() for part in CPU_OPERATIONS.unstack(x)))).lower(x).as_text()
    )
    assert "concatenate" in lowered
    assert "stablehlo.pad" not in lowered


def _same_gradients(ours, plain, *arrays, rtol=1e-5):
    y, back = jax.vjp(ours, *arrays)
    expected, expected_back = jax.vjp(plain, *arrays)
    np.testing.assert_allclose(y, expected, rtol=rtol, atol=rtol)
    gradient = jax.random.normal(jax.random.key(9), y.shape, y.dtype)
    for own, other in zip(back(gradient), expected_back(gradient), strict=True):
        assert own.dtype == other.dtype
        np.testing.assert_allclose(
            own.astype(jnp.float32), other.astype(jnp.float32), rtol=rtol, atol=10 * rtol
        )


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("bfloat16", 1e-2)])
def test_gradients_of_attentions_products_are_what_jax_derives(dtype, rtol):
    query, key, weights = (
        jax.random.normal(jax.random.key(i), shape).astype(dtype)
        for i, shape in enumerate([(2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 5, 6)])
    )

    _same_gradients(CPU_OPERATIONS.attention_scores, PLAIN_OPERATIONS.attention_scores, query, key, rtol=rtol)
    _same_gradients(CPU_OPERATIONS.weighted_values, PLAIN_OPERATIONS.weighted_values, weights, key, rtol=rtol)


def test_gradients_of_the_vocabularys_logits_are_what_jax_derives():
    x, table, bias = (
        jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(2, 5, 4), (9, 4), (9,)])
    )
    _same_gradients(CPU_OPERATIONS.vocabulary_logits, PLAIN_OPERATIONS.vocabulary_logits, x, table, bias)
    _same_gradients(PLAIN_OPERATIONS.vocabulary_logits, lambda x, t, b: x @ t.T + b, x, table, bias)


def test_a_gelu_keeps_only_what_it_read():
    """Neither set keeps Φ(x) for the backward pass: one array a GELU, in its own narrow type."""
    x = jnp.ones((64, 64), jnp.bfloat16)
    for operations in (PLAIN_OPERATIONS, CPU_OPERATIONS):
        _, back = jax.vjp(operations.gelu, x)
        kept = [leaf for leaf in jax.tree.leaves(back) if leaf.size == x.size]
        assert [leaf.dtype for leaf in kept] == [x.dtype]


@pytest.mark.parametrize(
    ("platform", "operations"),
    [("cpu", CPU_OPERATIONS), ("tpu", PLAIN_OPERATIONS), ("gpu", PLAIN_OPERATIONS)],
)
def test_a_cpu_has_its_own(platform, operations):
    config = small_config(model={"attention_dropout": 0.1}, compute={"attention": "xla"})
    assert network_config(config, 10, platform).encoder.block.operations == operations
