"""The embedding layer, which both networks share by default, its LayerNorm included."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from electra_jax.model.block import EmbeddingsConfig
from electra_jax.model.dropout import dropout
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import Initializer, LayerNorm, truncated_normal
from electra_jax.model.local_init import sinusoidal_init
from electra_jax.partitioning.constraints import constrain


class Table(nn.Module):
    """A float32 matrix of embeddings, ``embedding`` ``[rows, features]``."""

    rows: int
    features: int
    initializer: Initializer

    def setup(self) -> None:  # noqa: D102
        self.embedding = self.param("embedding", self.initializer, (self.rows, self.features))

    def __call__(self, ids: Array) -> Array:
        """Look up int ``[...]`` → float32 ``[..., features]``."""
        return jnp.take(self.embedding, ids, axis=0)


class Embeddings(nn.Module):
    """Word + token type + position → LayerNorm → dropout, at the embedding size; words only for modern blocks."""

    config: EmbeddingsConfig

    def setup(self) -> None:  # noqa: D102
        config = self.config
        size, init = config.embedding_size, truncated_normal(config.initializer_range, config.initializer_cut)
        self.word = Table(config.vocab_rows, size, _zeros_below(config.vocab_size, init))
        if not config.words_only:
            position_init = sinusoidal_init(config.initializer_range) if config.starts_local else init
            self.position = Table(config.max_positions, size, position_init)
            self.token_type = Table(config.type_vocab_size, size, init)
        self.layer_norm = LayerNorm(config.layer_norm_epsilon, config.dtype, use_bias=not config.words_only)

    def look_up(self, inputs: EncoderInputs) -> Array:
        """Return the sum of the tables' rows, float32 ``[batch, length, embedding_size]``."""
        x = self.word(inputs.input_ids)
        if not self.config.words_only:
            x = x + self.token_type(inputs.token_type_ids) + self.position(inputs.position_ids)
        return x

    def __call__(self, inputs: EncoderInputs, rng: Array | None, base: Array | None = None) -> Array:
        """Embed ``inputs`` → ``[batch, length, embedding_size]``; ``rng`` None means no dropout.

        Args:
            inputs: Tokens, positions, token types.
            rng: A key.
            base: Other tables' `look_up`, to which these are the difference.
        """
        x = self.look_up(inputs)
        if base is not None:
            x = base + x
        x = constrain(x, "batch", "length", "activation")
        return dropout(self.layer_norm(x), self.config.dropout, rng)

    def word_table(self) -> Array:
        """Return the word table ``[vocab_rows, embedding_size]``, which is also the generator's output matrix."""
        return self.word.embedding


def _zeros_below(rows: int, init: Initializer) -> Initializer:
    """Apply ``init`` to the first ``rows`` rows, and fill the others with zeros.

    Those only round a table up; training keeps them 0.
    """

    def padded(key: Array, shape: tuple[int, int]) -> Array:
        return jnp.where(jnp.arange(shape[0])[:, None] < rows, init(key, shape), 0.0)

    return padded
