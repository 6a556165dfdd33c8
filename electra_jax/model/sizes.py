"""Sizes of the two encoders, computed from the configuration (google-research/electra, util/training_utils.py)."""

from dataclasses import dataclass

from electra_jax.config.blocks import default_decoder_heads, default_heads, default_intermediate
from electra_jax.config.networks import GeneratorConfig, ModelConfig
from electra_jax.config.seq2seq import DecoderConfig


@dataclass(frozen=True)
class EncoderSizes:
    """Sizes of one transformer encoder."""

    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int


@dataclass(frozen=True)
class NetworkSizes:
    """Everything that decides the shapes of the parameters of both networks."""

    vocab_size: int
    vocab_rows: int  # vocab_size rounded up, so that the table can be sharded
    embedding_size: int
    generator_embedding_size: int
    max_positions: int
    type_vocab_size: int
    discriminator: EncoderSizes
    generator: EncoderSizes


def round_up(n: int, multiple: int) -> int:
    """Return the smallest multiple of ``multiple`` that is at least ``n``."""
    return -(-n // multiple) * multiple


def network_sizes(model: ModelConfig, generator: GeneratorConfig, vocab_size: int) -> NetworkSizes:
    """Resolve fractions and defaults of the configuration.

    The generator's width is round(hidden x size_fraction), its depth round(layers x layers_fraction); heads are
    max(1, width // 64) (see `default_heads`), feed-forward layers as `default_intermediate` says.
    """
    hidden = model.hidden_size
    embedding = model.embedding_size or hidden
    wide = model.intermediate_size or default_intermediate(hidden, model.block)
    discriminator = EncoderSizes(hidden, model.num_layers, model.num_heads, wide)
    if generator.sharing == "all":
        small = discriminator
    else:
        width = generator.hidden_size or max(1, round(hidden * generator.size_fraction))
        depth = generator.num_layers or max(1, round(model.num_layers * generator.layers_fraction))
        heads = generator.num_heads or default_heads(width)
        wide = generator.intermediate_size or default_intermediate(width, model.block)
        small = EncoderSizes(width, depth, heads, wide)
    own = generator.embedding_size or small.hidden_size
    return NetworkSizes(
        vocab_size=vocab_size,
        vocab_rows=round_up(vocab_size, model.vocab_multiple),
        embedding_size=embedding,
        generator_embedding_size=own if generator.sharing == "none" else embedding,
        max_positions=model.max_positions,
        type_vocab_size=model.type_vocab_size,
        discriminator=discriminator,
        generator=small,
    )


def decoder_sizes(model: ModelConfig, decoder: DecoderConfig) -> EncoderSizes:
    """Resolve the sizes of a decoder behind the encoder.

    What is not set is the encoder's; in a decoder of another width, heads are as `default_decoder_heads` says, and
    feed-forward layers in the same proportion.
    """
    hidden = decoder.hidden_size or model.hidden_size
    wide = model.intermediate_size or default_intermediate(model.hidden_size, model.block)
    return EncoderSizes(
        hidden,
        decoder.num_layers or model.num_layers,
        decoder.num_heads or default_decoder_heads(hidden, model),
        decoder.intermediate_size or max(1, round(wide * hidden / model.hidden_size)),
    )
