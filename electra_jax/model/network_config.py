"""From the configuration to frozen values that describe the networks, and nothing else of the run."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import jax
import jax.numpy as jnp

from electra_jax.config.networks import ModelConfig
from electra_jax.config.schema import Config
from electra_jax.config.seq2seq import DecoderConfig
from electra_jax.model.attention.choice import choose_attention
from electra_jax.model.block import BlockConfig, EmbeddingsConfig, EncoderConfig
from electra_jax.model.cpu_gradients import CPU_OPERATIONS
from electra_jax.model.disentangled import is_disentangled
from electra_jax.model.operations import PLAIN_OPERATIONS
from electra_jax.model.scan_layers import resolve_scan_layers
from electra_jax.model.sizes import EncoderSizes, NetworkSizes, decoder_sizes, network_sizes
from electra_jax.model.text_decoder import TextDecoderConfig


@dataclass(frozen=True)
class NetworkConfig:
    """All networks of a pre-training run; an objective builds those it trains.

    Attributes:
        sizes: Shapes of all parameters.
        embeddings: The embedding layer, which the networks share by default.
        encoder: The discriminator's encoder, the one that is kept.
        generator_embeddings: The generator's own, for sharing "none" and "gdes".
        generator_encoder: The generator's, for sharing other than "all".
        sharing: What generator and discriminator share.
        generator_frozen: Whether the generator is not trained.
    """

    sizes: NetworkSizes
    embeddings: EmbeddingsConfig
    encoder: EncoderConfig
    generator_embeddings: EmbeddingsConfig
    generator_encoder: EncoderConfig
    sharing: Literal["embeddings", "gdes", "none", "all"]
    generator_frozen: bool = False


def network_config(config: Config, vocab_size: int, platform: str | None = None) -> NetworkConfig:
    """Resolve sizes, attention back end and the loop over layers for the devices.

    Args:
        config: Sections ``model``, ``generator``, ``compute``, and of ``data`` the length of rows.
        vocab_size: Entries of the vocabulary.
        platform: Of the devices it will run on (cpu, gpu, tpu); None takes JAX's default.

    Raises:
        UserError: compute.attention names a back end that cannot do what the configuration asks.
    """
    platform = platform or jax.default_backend()
    model, compute = config.model, config.compute
    sizes = network_sizes(config.model, config.generator, vocab_size)
    dtype = jnp.dtype(compute.dtype)
    modern, starts_local = model.block == "modern", model.attention_init == "local"
    cut = 3.0 if modern else 2.0  # as ModernBERT
    attention = choose_attention(config, platform).backend
    scan_layers = resolve_scan_layers(compute.scan_layers, model.num_layers, platform)

    def embeddings(size: int) -> EmbeddingsConfig:
        return EmbeddingsConfig(
            vocab_size=sizes.vocab_size,
            vocab_rows=sizes.vocab_rows,
            words_only=modern,
            embedding_size=size,
            max_positions=sizes.max_positions,
            type_vocab_size=sizes.type_vocab_size,
            dropout=model.hidden_dropout,
            initializer_range=model.initializer_range,
            initializer_cut=cut,
            starts_local=starts_local,
            layer_norm_epsilon=model.layer_norm_epsilon,
            dtype=dtype,
        )

    def encoder(encoder_sizes: EncoderSizes, embedding_size: int) -> EncoderConfig:
        block = BlockConfig(
            kind=model.block,
            hidden_size=encoder_sizes.hidden_size,
            num_heads=encoder_sizes.num_heads,
            intermediate_size=encoder_sizes.intermediate_size,
            hidden_dropout=model.hidden_dropout,
            attention_dropout=model.attention_dropout,
            initializer_range=model.initializer_range,
            initializer_cut=cut,
            output_initializer_range=output_initializer_range(model, encoder_sizes.num_layers),
            starts_local=starts_local,
            layer_norm_epsilon=model.layer_norm_epsilon,
            dtype=dtype,
            attention=attention,
            operations=CPU_OPERATIONS if platform == "cpu" else PLAIN_OPERATIONS,
        )
        window = model.local_attention.window
        return EncoderConfig(
            block=block,
            embedding_size=embedding_size,
            num_layers=encoder_sizes.num_layers,
            scan_layers=scan_layers,
            remat=compute.remat,
            rope_theta=model.rope_theta,
            rope_theta_global=model.rope_theta_global or model.rope_theta,
            window=None if window is None else window // 2,
            global_every=1 if window is None else model.local_attention.global_every,
        )

    own = embeddings(sizes.embedding_size)
    if is_disentangled(config):
        own = replace(own, initializer_range=0.0)  # differences to the generator's
    return NetworkConfig(
        sizes=sizes,
        embeddings=own,
        encoder=encoder(sizes.discriminator, sizes.embedding_size),
        generator_embeddings=embeddings(sizes.generator_embedding_size),
        generator_encoder=encoder(sizes.generator, sizes.generator_embedding_size),
        sharing=config.generator.sharing,
        generator_frozen=config.generator.frozen_from is not None,
    )


def output_initializer_range(model: ModelConfig, num_layers: int) -> float:
    """Return the standard deviation that kernels of the residual, and hidden layers of heads, start with.

    With modern blocks it is ModernBERT's, "full_megatron": σ / √(2 layers).

    Args:
        model: The section.
        num_layers: Of the encoder.
    """
    residual = 1 / math.sqrt(2 * num_layers) if model.block == "modern" else 1.0
    return model.initializer_range * residual


def text_decoder_config(config: Config, decoder: DecoderConfig, vocab_size: int) -> TextDecoderConfig:
    """Resolve a decoder behind the encoder, for the devices that JAX takes by default.

    Args:
        config: As for `network_config`.
        decoder: The section ``decoder`` of a task.
        vocab_size: Entries of the vocabulary.

    Raises:
        UserError: compute.attention names a back end that cannot do what the configuration asks.
    """
    networks = network_config(config, vocab_size)
    sizes = decoder_sizes(config.model, decoder)
    block = replace(
        networks.encoder.block,
        hidden_size=sizes.hidden_size,
        num_heads=sizes.num_heads,
        intermediate_size=sizes.intermediate_size,
        attention="xla",  # targets are short, and no fused back end is causal and padded alike
    )
    layers = replace(networks.encoder, block=block, num_layers=sizes.num_layers)
    return TextDecoderConfig(
        networks.embeddings,
        layers,
        networks.sizes.vocab_size,
        networks.encoder.block.hidden_size,
        copies=decoder.copy_mechanism,
    )
