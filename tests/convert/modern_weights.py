"""Weights with model.block=modern, of random numbers."""

import numpy as np
from small_run import SmallVocabulary, small_config

from electra_jax.convert.flat_parameters import expected_shapes
from electra_jax.convert.weights import Weights

MODEL = {
    "block": "modern",
    "embedding_size": None,
    "num_layers": 3,
    "rope_theta": 100.0,
    "rope_theta_global": 1000.0,
    "local_attention": {"window": 6, "global_every": 2},
}


def random_weights(tokenizer=None, **sections):
    """Weights of a tiny model; the LayerNorm of the first block, which is never read, is ones."""
    config = small_config(**{"model": MODEL, **sections})
    rng, parameters = np.random.default_rng(0), {}
    for name, shape in expected_shapes(config, SmallVocabulary.vocab_size).items():
        mean = 1.0 if "norm" in name else 0.0
        parameters[name] = (mean + 0.15 * rng.normal(size=shape)).astype(np.float32)
        if name.endswith("encoder/layers/0/attention_layer_norm/scale"):
            parameters[name] = np.ones(shape, np.float32)
    return Weights(config, parameters, SmallVocabulary.vocab_size, tokenizer)
