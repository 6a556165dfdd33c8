"""The pre-training network: generator and discriminator, and what they share.

Parameter tree (layers stacked on a leading axis)::

    embeddings/{word,position,token_type}/embedding, embeddings/layer_norm
    encoder/{embeddings_project, layers/…}       the discriminator's encoder, the one that is kept
    discriminator_head/{dense,prediction}
    generator_embeddings/…                       only with generator.sharing=none
    generator_encoder/…                          absent with generator.sharing=all
    generator_head/{dense,layer_norm,output_bias}

The masked-LM objective trains ``embeddings``, ``encoder`` and ``generator_head`` alone. Electric has two generator
towers over the shared embeddings instead of one::

    generator_ltr/{embeddings_project, layers/…}, generator_rtl/…
    cloze_head/{dense,layer_norm,output_bias}
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.config.schema import Config, ElectricObjective
from electra_jax.model.attention_choice import choose_attention
from electra_jax.model.attention_xla import Direction
from electra_jax.model.embeddings import Embeddings
from electra_jax.model.encoder import Encoder
from electra_jax.model.heads import DiscriminatorHead, MaskedLMHead
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layer_loop import loops_over_layers
from electra_jax.model.layers import split_or_none
from electra_jax.model.sizes import EncoderSizes, NetworkSizes, network_sizes
from electra_jax.model.two_tower import join_towers


class Electra(nn.Module):
    """Both networks in one module; call it by its methods.

    `generate` and `discriminate` are ELECTRA's; Electric has `cloze` in place of `generate`.
    """

    config: Config
    sizes: NetworkSizes

    def setup(self) -> None:  # noqa: D102
        model, compute = self.config.model, self.config.compute
        dtype = jnp.dtype(compute.dtype)
        # Training has chosen both for the devices of its mesh before (`settle_attention`, `settle_layers`).
        backend = compute.attention
        if backend == "auto":
            backend = choose_attention(self.config, jax.default_backend()).backend
        scan_layers = loops_over_layers(self.config, jax.default_backend())

        def embeddings(size: int) -> Embeddings:
            return Embeddings(
                vocab_size=self.sizes.vocab_size,
                vocab_rows=self.sizes.vocab_rows,
                embedding_size=size,
                max_positions=self.sizes.max_positions,
                type_vocab_size=self.sizes.type_vocab_size,
                initializer_range=model.initializer_range,
                local_attention=model.attention_init == "local",
                layer_norm_epsilon=model.layer_norm_epsilon,
                dropout_rate=model.hidden_dropout,
                dtype=dtype,
            )

        def encoder(sizes: EncoderSizes, direction: Direction = "both") -> Encoder:
            return Encoder(
                sizes=sizes,
                hidden_dropout=model.hidden_dropout,
                attention_dropout=model.attention_dropout,
                initializer_range=model.initializer_range,
                local_attention=model.attention_init == "local",
                layer_norm_epsilon=model.layer_norm_epsilon,
                dtype=dtype,
                scan_layers=scan_layers,
                remat=compute.remat,
                backend=backend,
                direction=direction,
            )

        head = MaskedLMHead(self.sizes.vocab_size, model.initializer_range, model.layer_norm_epsilon, dtype)
        sharing = self.config.generator.sharing
        if self.config.objective.kind == "masked_lm":
            sharing = "all"  # one encoder, with the generator's head
        self.embeddings = embeddings(self.sizes.embedding_size)
        self.encoder = encoder(self.sizes.discriminator)
        if self.config.objective.kind == "electric":
            self.generator_ltr = encoder(self.sizes.generator, "left_to_right")
            self.generator_rtl = encoder(self.sizes.generator, "right_to_left")
            self.cloze_head = head
        else:
            if sharing == "none":
                self.generator_embeddings = embeddings(self.sizes.generator_embedding_size)
            if sharing != "all":
                self.generator_encoder = encoder(self.sizes.generator)
            self.generator_head = head
        self.discriminator_head = DiscriminatorHead(model.initializer_range, dtype)
        self.sharing = sharing

    def encode(self, inputs: EncoderInputs, rng: Array | None = None) -> Array:
        """The discriminator's hidden states ``[batch, length, hidden]``."""
        embedding_rng, encoder_rng = split_or_none(rng, 2)
        return self.encoder(self.embeddings(inputs, embedding_rng), inputs, encoder_rng)

    def generate(self, inputs: EncoderInputs, positions: Array, rng: Array | None = None) -> Array:
        """The generator's logits, float32 ``[batch, masked, vocab_rows]``, at ``positions`` ``[batch, masked]``.

        Positions are gathered before the head, so the vocabulary is met only where a token was masked.
        """
        if self.sharing == "all":
            hidden = self.encode(inputs, rng)
            table = self.embeddings.word_table()
        else:
            embedding_rng, encoder_rng = split_or_none(rng, 2)
            embeddings = self.generator_embeddings if self.sharing == "none" else self.embeddings
            hidden = self.generator_encoder(embeddings(inputs, embedding_rng), inputs, encoder_rng)
            table = embeddings.word_table()
        gathered = jnp.take_along_axis(hidden, positions[:, :, None], axis=1)
        return self.generator_head(gathered, table)

    def cloze(self, inputs: EncoderInputs, rng: Array | None = None) -> Array:
        """The two towers' logits, float32 ``[batch, length, vocab_rows]``, at every position of unmasked rows.

        Those at position t do not depend on the token there, but on all others of its document.
        """
        rngs = split_or_none(rng, 4)
        ltr = self.generator_ltr(self.embeddings(inputs, rngs[0]), inputs, rngs[1])
        rtl = self.generator_rtl(self.embeddings(inputs, rngs[2]), inputs, rngs[3])
        objective = self.config.objective
        wrap = isinstance(objective, ElectricObjective) and objective.reference_quirks
        joined = join_towers(ltr, rtl, inputs.segment_ids, wrap=wrap)
        return self.cloze_head(joined, self.embeddings.word_table())

    def discriminate(self, inputs: EncoderInputs, rng: Array | None = None) -> Array:
        """The discriminator's logits, float32 ``[batch, length]``; > 0 says 'replaced'. Electric's energies."""
        return self.discriminator_head(self.encode(inputs, rng))

    def __call__(self, inputs: EncoderInputs, positions: Array) -> Any:
        """Runs what the objective trains; used to create the parameters."""
        kind = self.config.objective.kind
        logits = self.cloze(inputs) if kind == "electric" else self.generate(inputs, positions)
        return logits if kind == "masked_lm" else (logits, self.discriminate(inputs))


def build_electra(config: Config, vocab_size: int) -> Electra:
    """The network of ``config`` over a vocabulary of ``vocab_size`` entries."""
    return Electra(config=config, sizes=network_sizes(config, vocab_size))


def init_params(network: Electra, rng: Array) -> Any:
    """Fresh float32 parameters; trace with ``jax.eval_shape`` or jit to shard them as they are made."""
    ids = jnp.ones((1, 8), jnp.int32)
    inputs = EncoderInputs(ids, jnp.zeros_like(ids), jnp.zeros_like(ids), ids)
    return network.init(rng, inputs, jnp.zeros((1, 1), jnp.int32))["params"]
