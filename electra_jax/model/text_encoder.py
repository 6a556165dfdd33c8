"""The encoder that is kept after pre-training, fine-tuned and exported: embeddings and a stack of blocks."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from electra_jax.model.attention.mask import Direction
from electra_jax.model.block import EncoderConfig
from electra_jax.model.embeddings import Embeddings
from electra_jax.model.encoder import Encoder
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import split_or_none
from electra_jax.model.modern_encoder import ModernEncoder
from electra_jax.model.network_config import NetworkConfig
from electra_jax.model.sizes import NetworkSizes


def build_encoder(config: EncoderConfig, direction: Direction = "both") -> Encoder:
    """Return an encoder of the kind its blocks are of."""
    return (ModernEncoder if config.block.kind == "modern" else Encoder)(config, direction)


class TextEncoder(nn.Module):
    """Parameters ``embeddings`` and ``encoder``; the networks of pre-training add what their objective needs.

    Call it by its methods.
    """

    config: NetworkConfig

    def setup(self) -> None:  # noqa: D102
        self.embeddings = Embeddings(self.config.embeddings)
        self.encoder = build_encoder(self.config.encoder)

    @property
    def sizes(self) -> NetworkSizes:
        """Shapes of all parameters."""
        return self.config.sizes

    def encode(self, inputs: EncoderInputs, rng: Array | None = None) -> Array:
        """Return the hidden states ``[batch, length, hidden]``; dropout unless ``rng`` is None."""
        embedding_rng, encoder_rng = split_or_none(rng, 2)
        return self.encoder(self.embeddings(inputs, embedding_rng), inputs, encoder_rng)

    def __call__(self, inputs: EncoderInputs, positions: Array) -> Any:
        """Run the whole network, so that all parameters are created; ``positions`` int ``[batch, masked]``."""
        del positions
        return self.encode(inputs)


def init_params(network: TextEncoder, rng: Array) -> Any:
    """Initialise fresh float32 parameters; trace it with ``jax.eval_shape`` or jit to shard them as they are made."""
    ids = jnp.ones((1, 8), jnp.int32)
    inputs = EncoderInputs(ids, jnp.zeros_like(ids), jnp.zeros_like(ids), ids)
    return network.init(rng, inputs, jnp.zeros((1, 1), jnp.int32))["params"]
