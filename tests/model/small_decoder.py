"""A decoder small enough for tests."""

import jax.numpy as jnp

from electra_jax.model.block import BlockConfig, EncoderConfig
from electra_jax.model.decoder import Decoder
from electra_jax.model.operations import PLAIN_OPERATIONS


def small_decoder(
    hidden=8, *, intermediate=16, layers=2, source=False, embedding=None, dtype=jnp.float32, scan=False
):
    """Two heads, and parameters large enough that everything a state depends on is seen in it."""
    block = BlockConfig(
        kind="bert",
        hidden_size=hidden,
        num_heads=2,
        intermediate_size=intermediate,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        initializer_range=0.5,
        initializer_cut=2.0,
        output_initializer_range=0.5,
        starts_local=False,
        layer_norm_epsilon=1e-12,
        dtype=dtype,
        attention="xla",
        operations=PLAIN_OPERATIONS,
    )
    return Decoder(EncoderConfig(block, embedding or hidden, layers, scan, "none"), reads_source=source)
