"""Dense, and dropout of extreme rates."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.model.dropout import dropout
from electra_jax.model.layers import Dense


def test_the_gradient_of_a_bias_is_summed_in_float32():
    dtype = jnp.dtype("bfloat16")
    layer = Dense(2, dtype, jax.nn.initializers.ones)
    x, params = jnp.ones((4095, 2), dtype), layer.init(jax.random.key(0), jnp.ones((1, 2), dtype))
    y, back = jax.vjp(lambda x, params: layer.apply(params, x), x, params)
    assert y.dtype == dtype
    by_x, by_params = back(jnp.full(x.shape, 1.0078125, dtype))
    by_bias = by_params["params"]["bias"]
    assert by_x.dtype == dtype
    np.testing.assert_allclose(by_bias, 4095 * 1.0078125, rtol=1e-6)  # 4126.99; bfloat16 has 4096 and 4128


@pytest.mark.parametrize("rate", [1e-12, 0.1, 0.999])
def test_dropout_of_an_extreme_rate_keeps_the_mean(rate):
    kept = np.asarray(dropout(jnp.ones((1000, 1000)), rate, jax.random.key(0))) * (1 - rate)
    assert kept.mean() == pytest.approx(1 - rate, abs=4 * math.sqrt(rate * (1 - rate) / 1e6) + 1e-6)
