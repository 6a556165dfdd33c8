"""The initialisation, compiled with less optimization on CPUs, gives the same bits."""

import jax
import numpy as np
import pytest
from small_run import small_config

from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network


@pytest.mark.slow
def test_less_optimization_initialises_the_same_bits():
    # Waves with noise added: a product and a sum that a compiler may round once or twice.
    config = small_config(model={"attention_init": "local"})
    network = build_network(config, 300)
    lowered = jax.jit(lambda key: init_params(network, key)).lower(jax.random.key(3))

    def compiled(level):
        options = {"xla_backend_optimization_level": level, "xla_llvm_disable_expensive_passes": False}
        return jax.device_get(lowered.compile(compiler_options=options)(jax.random.key(3)))

    jax.tree.map(
        lambda full, light: np.testing.assert_array_equal(full.view(np.uint32), light.view(np.uint32)),
        compiled(3),
        compiled(1),
    )
