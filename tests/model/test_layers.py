"""GELU and Dense: values and gradients against closed forms and against what JAX derives by itself."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.model.encoder import unstack
from electra_jax.model.layers import add_bias, dropout, gelu, softmax
from electra_jax.model.products import (
    apart,
    attention_scores,
    dense_product,
    vocabulary_logits,
    weighted_values,
)


def _exact(x):
    """x · Φ(x) and its derivative in double precision."""
    cdf = 0.5 * math.erfc(-x / math.sqrt(2.0))
    return x * cdf, cdf + x * math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def test_gelu_and_its_gradient_are_the_exact_ones():
    x = np.linspace(-8, 8, 641, dtype=np.float32)
    values, slopes = np.array([_exact(float(v)) for v in x]).T
    np.testing.assert_allclose(gelu(jnp.asarray(x)), values, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(gelu))(jnp.asarray(x)), slopes, atol=1e-6)


def test_gelu_of_a_narrow_type_is_the_wide_one_rounded():
    x = jnp.linspace(-8, 8, 641, dtype=jnp.bfloat16)
    np.testing.assert_array_equal(gelu(x), gelu(x.astype(jnp.float32)).astype(jnp.bfloat16))
    slopes = jax.vmap(jax.grad(gelu))
    np.testing.assert_array_equal(slopes(x), slopes(x.astype(jnp.float32)).astype(jnp.bfloat16))


@pytest.mark.parametrize("features", [3, 7, 11])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 5, 7)])
def test_the_gradient_of_a_product_is_what_jax_derives(shape, features):
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = jax.random.normal(keys[0], shape), jax.random.normal(keys[1], (7, features))
    y, back = jax.vjp(dense_product, x, kernel)
    expected, expected_back = jax.vjp(lambda x, kernel: x @ kernel, x, kernel)
    np.testing.assert_array_equal(y, expected)
    gradient = jax.random.normal(keys[2], y.shape)
    for ours, theirs in zip(back(gradient), expected_back(gradient), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("features", "outputs"), [(3, 7), (7, 3), (5, 5)])
def test_the_narrower_operand_comes_first_in_the_gradient_of_a_kernel(features, outputs):
    x, kernel = jnp.ones((2, 5, features)), jnp.ones((features, outputs))
    backward = jax.make_jaxpr(jax.grad(lambda kernel: dense_product(x, kernel).sum()))(kernel)
    elsewhere = [
        equation.params["branches"][1] for equation in backward.eqns if equation.primitive.name == "cond"
    ]
    (by_kernel,) = [
        product for branch in elsewhere for product in branch.eqns if product.primitive.name == "dot_general"
    ]
    widths = [operand.aval.shape[-1] for operand in by_kernel.invars]
    assert widths == sorted((features, outputs))


def test_what_is_apart_stays_a_call_when_it_is_compiled():
    def thrice(x):
        return 3.0 * x.T

    def compiled(function):
        return jax.jit(lambda x: function(jnp.sin(x))).lower(jnp.ones((5, 7))).compile().as_text()

    assert " call(" in compiled(lambda x: apart(thrice, x))
    assert " call(" not in compiled(jax.jit(thrice))
    np.testing.assert_array_equal(apart(thrice, jnp.arange(6.0).reshape(2, 3))[:, 1], [9.0, 12.0, 15.0])


def test_softmax_and_its_gradient_are_the_exact_ones():
    scores, gradient = np.random.default_rng(0).normal(size=(2, 3, 11))
    scores[0, 4] = -10000.0  # masked
    exact = np.exp(scores - scores.max(-1, keepdims=True))
    exact /= exact.sum(-1, keepdims=True)
    jacobian = exact[:, :, None] * (np.eye(11) - exact[:, None, :])
    y, back = jax.vjp(softmax, jnp.float32(scores))
    np.testing.assert_allclose(y, exact, atol=1e-6)
    np.testing.assert_allclose(
        back(jnp.float32(gradient))[0], np.einsum("bij,bi->bj", jacobian, gradient), atol=1e-6
    )


def test_gradients_of_parts_are_put_together():
    x = jnp.arange(12.0).reshape(3, 2, 2)
    parts, back = jax.vjp(unstack, x)
    np.testing.assert_array_equal(parts, x)
    (by_x,) = back([jnp.full((2, 2), float(n)) for n in (5, 6, 7)])
    np.testing.assert_array_equal(by_x[:, 0, 0], [5.0, 6.0, 7.0])
    lowered = jax.jit(jax.grad(lambda x: sum(part.sum() for part in unstack(x)))).lower(x).as_text()
    assert "concatenate" in lowered
    assert "stablehlo.pad" not in lowered


def test_the_gradient_of_a_bias_is_summed_in_float32():
    dtype = jnp.dtype("bfloat16")
    x, bias = jnp.ones((4095, 2), dtype), jnp.zeros(2)
    y, back = jax.vjp(add_bias, x, bias)
    assert y.dtype == dtype
    by_x, by_bias = back(jnp.full(x.shape, 1.0078125, dtype))
    assert by_x.dtype == dtype
    np.testing.assert_allclose(by_bias, 4095 * 1.0078125, rtol=1e-6)  # 4126.99; bfloat16 has 4096 and 4128


@pytest.mark.parametrize("rate", [1e-12, 0.1, 0.999])
def test_dropout_of_an_extreme_rate_keeps_the_mean(rate):
    kept = np.asarray(dropout(jnp.ones((1000, 1000)), rate, jax.random.key(0))) * (1 - rate)
    assert kept.mean() == pytest.approx(1 - rate, abs=4 * math.sqrt(rate * (1 - rate) / 1e6) + 1e-6)


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

    def plain_scores(q, k):
        return jnp.einsum("bhqd,bhkd->bhqk", q, k, preferred_element_type=jnp.float32)

    _same_gradients(attention_scores, plain_scores, query, key, rtol=rtol)
    _same_gradients(
        weighted_values, lambda w, v: jnp.einsum("bhqk,bhkd->bhqd", w, v), weights, key, rtol=rtol
    )


def test_gradients_of_the_vocabularys_logits_are_what_jax_derives():
    x, table, bias = (
        jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(2, 5, 4), (9, 4), (9,)])
    )
    _same_gradients(vocabulary_logits, lambda x, t, b: x @ t.T + b, x, table, bias)
