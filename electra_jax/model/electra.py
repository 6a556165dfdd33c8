"""ELECTRA's two networks in one module: generator and discriminator, and what they share.

Parameter tree (layers stacked on a leading axis)::

    embeddings/{word,position,token_type}/embedding, embeddings/layer_norm; with modern blocks word alone
    encoder/{embeddings_project, layers/…}       the discriminator's encoder, the one that is kept
    discriminator_head/{dense,prediction}, with modern blocks layer_norm too
    generator_embeddings/…                       only with generator.sharing=none, or gdes: then the tables of
                                                 embeddings are differences to these
    generator_encoder/…                          absent with generator.sharing=all
    generator_head/{dense,layer_norm,output_bias}
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.model.embeddings import Embeddings
from electra_jax.model.heads import DiscriminatorHead, MaskedLMHead
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import split_or_none
from electra_jax.model.text_encoder import TextEncoder, build_encoder


class MaskedLMNetwork(TextEncoder):
    """The encoder with the generator's head: plain masked-language modelling."""

    def setup(self) -> None:  # noqa: D102
        super().setup()
        self.generator_head = MaskedLMHead(self.sizes.vocab_size, self.config.encoder.block)

    def generate(self, inputs: EncoderInputs, positions: Array, rng: Array | None = None) -> Array:
        """Return the logits, float32 ``[batch, masked, vocab_rows]``, at ``positions`` ``[batch, masked]``."""
        return logits_at(
            positions, self.encode(inputs, rng), self.generator_head, self.embeddings.word_table()
        )

    def __call__(self, inputs: EncoderInputs, positions: Array) -> Any:
        """Run what the objective trains, so that all parameters are created."""
        return self.generate(inputs, positions)


class Electra(TextEncoder):
    """Generator and discriminator; call it by `generate` and `discriminate`."""

    def setup(self) -> None:  # noqa: D102
        super().setup()
        config = self.config
        if config.sharing in ("none", "gdes"):
            self.generator_embeddings = Embeddings(config.generator_embeddings)
        if config.sharing != "all":
            self.generator_encoder = build_encoder(config.generator_encoder)
        self.generator_head = MaskedLMHead(self.sizes.vocab_size, config.generator_encoder.block)
        self.discriminator_head = DiscriminatorHead(config.encoder.block)

    def generate(self, inputs: EncoderInputs, positions: Array, rng: Array | None = None) -> Array:
        """Return the generator's float32 logits [batch, masked, vocab_rows]; positions are [batch, masked].

        One that is not trained has no dropout, and no gradient flows through it.
        """
        sharing, frozen = self.config.sharing, self.config.generator_frozen
        rng = None if frozen else rng
        embeddings = self.generator_embeddings if sharing in ("none", "gdes") else self.embeddings
        encoder = self.encoder if sharing == "all" else self.generator_encoder
        embedding_rng, encoder_rng = split_or_none(rng, 2)
        hidden = encoder(embeddings(inputs, embedding_rng), inputs, encoder_rng)
        logits = logits_at(positions, hidden, self.generator_head, embeddings.word_table())
        return jax.lax.stop_gradient(logits) if frozen else logits

    def encode(self, inputs: EncoderInputs, rng: Array | None = None) -> Array:
        """Return the discriminator's hidden states ``[batch, length, hidden]``; dropout unless ``rng`` is None."""
        if self.config.sharing != "gdes":
            return super().encode(inputs, rng)
        base = jax.lax.stop_gradient(self.generator_embeddings.look_up(inputs))
        embedding_rng, encoder_rng = split_or_none(rng, 2)
        return self.encoder(self.embeddings(inputs, embedding_rng, base), inputs, encoder_rng)

    def discriminate(self, inputs: EncoderInputs, rng: Array | None = None) -> Array:
        """Return the discriminator's logits, float32 ``[batch, length]``; > 0 says 'replaced'."""
        return self.discriminator_head(self.encode(inputs, rng))

    def __call__(self, inputs: EncoderInputs, positions: Array) -> Any:
        """Run both networks, so that all parameters are created."""
        return self.generate(inputs, positions), self.discriminate(inputs)


def logits_at(positions: Array, hidden: Array, head: MaskedLMHead, word_table: Array) -> Array:
    """Apply ``head`` to the states ``[batch, length, hidden]`` at ``positions`` ``[batch, masked]``.

    States are gathered before the head, so the product with the vocabulary is computed only where a token was masked.
    """
    gathered = jnp.take_along_axis(hidden, positions[:, :, None], axis=1)
    return head(gathered, word_table)
