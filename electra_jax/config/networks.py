"""Sections on the networks: the encoder, which is the discriminator, and the generator beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import model_validator

from electra_jax.config.blocks import MODERN_DEFAULTS, LocalAttentionConfig, block_problem
from electra_jax.config.fields import MAX_LAYERS, MAX_SIZE, LocalPath, Section, field


class ModelConfig(Section):
    """The discriminator: the encoder that is kept, fine-tuned and exported."""

    block: Literal["bert", "modern"] = field(
        "bert",
        "bert: the original's, LayerNorm after the residual, learned positions; modern: ModernBERT's, LayerNorm before "
        "attention and feed-forward, rotary positions, GeGLU, no biases, no token types. Of both networks.",
    )
    hidden_size: int = field(256, "Width of the encoder.", ge=1, le=MAX_SIZE)
    num_layers: int = field(12, "Transformer blocks.", ge=1, le=MAX_LAYERS)
    num_heads: int = field(4, "Attention heads; must divide hidden_size.", ge=1, le=MAX_SIZE)
    intermediate_size: int | None = field(
        None,
        "Width of the feed-forward layer; null: 4 x hidden_size, with block modern 8/3 x, up to a multiple of 64.",
        ge=1,
        le=MAX_SIZE,
    )
    embedding_size: int | None = field(
        None,
        "Width of the embeddings; null: hidden_size, which block modern asks for.",
        ge=1,
        le=MAX_SIZE,
    )
    max_positions: int = field(
        512,
        "The longest sequence the model can read; with block bert each position is learned.",
        ge=1,
        le=MAX_SIZE,
    )
    rope_theta: float = field(
        10_000.0,
        "block modern only: base of the wavelengths of rotary positions; larger for longer rows.",
        gt=1.0,
    )
    rope_theta_global: float | None = field(
        None, "With a window: rope_theta of the layers that are global; null: rope_theta.", gt=1.0
    )
    local_attention: LocalAttentionConfig = LocalAttentionConfig()
    type_vocab_size: int = field(2, "block bert only: token types (segments A and B).", ge=1, le=MAX_SIZE)
    hidden_dropout: float = field(
        0.1,
        "Dropout on embeddings and block outputs, both networks; 0 where block modern is set and this is not.",
        ge=0.0,
        lt=1.0,
    )
    attention_dropout: float = field(
        0.1,
        "Dropout on attention probabilities, both networks; 0 where block modern is set and this is not.",
        ge=0.0,
        lt=1.0,
    )
    initializer_range: float = field(0.02, "Standard deviation of the truncated-normal initialiser.", gt=0.0)
    attention_init: Literal["normal", "local"] = field(
        "normal",
        "Where attention starts: normal, uniform, as in the reference; local, heads look at neighbouring tokens, "
        "which spares very small models the search (an encoder as wide as its embeddings; else normal).",
    )
    layer_norm_epsilon: float = field(
        1e-12, "Epsilon of every LayerNorm; 1e-5 where block modern is set and this is not.", gt=0.0
    )
    vocab_multiple: int = field(
        128,
        "Rows of the embedding table are rounded up to a multiple of this, so that they can be sharded.",
        ge=1,
        le=MAX_SIZE,
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        """Fill in defaults that follow from the block."""
        if isinstance(values, Mapping) and values.get("block") == "modern":
            return {**MODERN_DEFAULTS, **values}
        return values

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not divisible by num_heads {self.num_heads}")
        if problem := block_problem(self):
            raise ValueError(problem)
        return self


class GeneratorConfig(Section):
    """The generator, as fractions of the discriminator, and what the two share."""

    size_fraction: float = field(0.25, "Generator width as a fraction of model.hidden_size.", gt=0.0, le=1.0)
    layers_fraction: float = field(1.0, "Generator depth as a fraction of model.num_layers.", gt=0.0, le=1.0)
    sharing: Literal["embeddings", "gdes", "none", "all"] = field(
        "embeddings",
        "embeddings: one embedding layer for both; gdes: the discriminator's tables are the generator's, through which "
        "its gradient does not go, and a difference of its own (DeBERTaV3; electra alone); none: the generator has its "
        "own, at its own width; "
        "all: the generator is the discriminator's encoder with another head (size_fraction must be 1).",
    )
    frozen_from: LocalPath | None = field(
        None,
        "Run whose generator, or masked language model, is taken and not trained: a work directory, or a checkpoint of "
        "one, with the same vocabulary; sharing must be none or gdes.",
        kinds=("electra",),
    )
    hidden_size: int | None = field(
        None, "Generator width; null: model.hidden_size x size_fraction, rounded.", ge=1, le=MAX_SIZE
    )
    num_layers: int | None = field(
        None, "Generator depth; null: model.num_layers x layers_fraction, rounded.", ge=1, le=MAX_LAYERS
    )
    num_heads: int | None = field(
        None, "Generator heads; null: its width / 64, at least 1, as in the reference.", ge=1, le=MAX_SIZE
    )
    intermediate_size: int | None = field(
        None,
        "Width of the generator's feed-forward layer; null: from its width, as model.intermediate_size.",
        ge=1,
        le=MAX_SIZE,
    )
    embedding_size: int | None = field(
        None,
        "Width of the generator's own embeddings, with sharing 'none' only; null: its width, as in the reference.",
        ge=1,
        le=MAX_SIZE,
    )

    @model_validator(mode="after")
    def _check(self) -> GeneratorConfig:
        sizes = ("hidden_size", "num_layers", "num_heads", "intermediate_size")
        if self.sharing == "all":
            if self.size_fraction != 1.0 or self.layers_fraction != 1.0:
                raise ValueError(
                    "sharing 'all' makes both networks one: size_fraction and layers_fraction must be 1.0"
                )
            if given := [name for name in sizes if getattr(self, name) is not None]:
                raise ValueError(
                    f"sharing 'all' makes both networks one: {', '.join(given)} must be null, as model.* decides"
                )
        if self.frozen_from is not None and self.sharing not in ("none", "gdes"):
            raise ValueError(
                f"frozen_from does not go with sharing {self.sharing!r}, where training the discriminator would change "
                "the generator: set sharing to none or gdes"
            )
        if self.embedding_size is not None and self.sharing != "none":
            raise ValueError(
                f"sharing {self.sharing!r} gives the generator no embeddings of its own: embedding_size must be null"
            )
        return self
