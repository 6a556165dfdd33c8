"""The two pre-training heads."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from electra_jax.model.block import BlockConfig
from electra_jax.model.layers import Dense, LayerNorm, truncated_normal
from electra_jax.partitioning.constraints import constrain

# The logit of rows that only round the embedding table up.
UNUSED_ROW_LOGIT = -1e9


class MaskedLMHead(nn.Module):
    """Generator head: dense(E, gelu) → LayerNorm → · word_tableᵀ + bias.

    It reads gathered positions only, except in Electric, whose two towers it reads at every position. Of ``block`` it
    uses kind, initialisation, epsilon, dtype and operations.
    """

    vocab_size: int
    block: BlockConfig

    @nn.compact
    def __call__(
        self,
        hidden: Array,
        word_table: Array,
        compute: Callable[[Array, Array, Array], Any] | None = None,
    ) -> Any:
        """Map states ``[batch, positions, hidden]`` to float32 logits ``[batch, positions, rows]``.

        Args:
            hidden: The states.
            word_table: ``[rows, embedding_size]``.
            compute: What to compute instead of logits, from (x ``[batch, positions, embedding_size]``, table, bias)
                whose logits they would be (`vocabulary_loss`).
        """
        block = self.block
        rows, embedding_size = word_table.shape
        x = block.operations.gelu(_hidden_layer(block, embedding_size)(hidden))
        x = LayerNorm(block.layer_norm_epsilon, block.dtype, block.biases, name="layer_norm")(x)
        bias = self.param("output_bias", nn.initializers.zeros, (rows,))
        # Unused rows of the table are zeros, so the bias alone is their logit.
        bias = jnp.where(jnp.arange(rows) < self.vocab_size, bias, UNUSED_ROW_LOGIT)
        table = word_table.astype(block.dtype)
        if compute is not None:
            return compute(x, table, bias)
        logits = block.operations.vocabulary_logits(x, table, bias)
        return constrain(logits, "batch", "length", "vocab_logits")


class DiscriminatorHead(nn.Module):
    """Discriminator head: dense(hidden, gelu) → dense(1); of modern blocks dense(hidden, gelu) → LayerNorm → dense(1).

    The second is Hugging Face's ModernBertForTokenClassification with one label. Of ``block`` it uses kind,
    initialisation, epsilon, dtype and operations.
    """

    block: BlockConfig

    @nn.compact
    def __call__(self, hidden: Array) -> Array:
        """Map ``[batch, length, hidden]`` to float32 logits ``[batch, length]``; > 0 says 'replaced'."""
        block = self.block
        x = block.operations.gelu(_hidden_layer(block, hidden.shape[-1])(hidden))
        init = nn.initializers.glorot_uniform()
        if block.kind == "modern":
            x = LayerNorm(block.layer_norm_epsilon, block.dtype, use_bias=False, name="layer_norm")(x)
            init = truncated_normal(hidden.shape[-1] ** -0.5, block.initializer_cut)
        return Dense(1, jnp.float32, init, block.operations, name="prediction")(x)[..., 0]


def _hidden_layer(block: BlockConfig, features: int) -> Dense:
    """Return the product that both heads begin with."""
    init = truncated_normal(block.output_initializer_range, block.initializer_cut)
    return Dense(features, block.dtype, init, block.operations, block.biases, name="dense")
