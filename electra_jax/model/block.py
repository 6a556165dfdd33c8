"""Settings of a transformer block, of a stack of blocks and of the embedding layer, each as one frozen value."""

from dataclasses import dataclass
from typing import Literal

from jax.typing import DTypeLike

from electra_jax.model.operations import Operations

Backend = Literal["xla", "blocked", "cudnn", "splash"]
Remat = Literal["none", "dots", "full"]
# "bert": post-LN, biases, learned positions (`encoder`). "modern": ModernBERT's (`modern_encoder`).
BlockKind = Literal["bert", "modern"]


@dataclass(frozen=True)
class BlockConfig:
    """One transformer block: attention and feed-forward, each with residual and LayerNorm.

    Attributes:
        kind: Which block it is.
        hidden_size: Width of input and output.
        num_heads: Attention heads; they divide the width.
        intermediate_size: Width of the feed-forward layer.
        hidden_dropout: Dropout rate of the outputs of attention and feed-forward.
        attention_dropout: Dropout rate of the attention probabilities.
        initializer_range: Standard deviation of the truncated normal that kernels start from.
        initializer_cut: How many deviations from its mean that normal is cut at.
        output_initializer_range: The standard deviation of kernels whose products are added to the residual.
        starts_local: Whether heads start out looking at neighbouring tokens (`local_init`).
        layer_norm_epsilon: Epsilon of both LayerNorms.
        dtype: Of activations and products; parameters are float32.
        attention: The attention back end.
        operations: Products, GELU and softmax, with gradients that suit the devices.
    """

    kind: BlockKind
    hidden_size: int
    num_heads: int
    intermediate_size: int
    hidden_dropout: float
    attention_dropout: float
    initializer_range: float
    initializer_cut: float
    output_initializer_range: float
    starts_local: bool
    layer_norm_epsilon: float
    dtype: DTypeLike
    attention: Backend
    operations: Operations

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.hidden_size // self.num_heads

    @property
    def biases(self) -> bool:
        """Whether products and LayerNorms have one, in the block and in the heads of pre-training."""
        return self.kind == "bert"


@dataclass(frozen=True)
class EncoderConfig:
    """A stack of identical blocks.

    Attributes:
        block: Each of them.
        embedding_size: Width of what the first reads; it is projected where it is not the blocks'.
        num_layers: How many there are.
        scan_layers: Whether to compile one layer and loop over it.
        remat: What of a block is recomputed in the backward pass.
        rope_theta: Base of the wavelengths of rotary positions, which modern blocks have.
        rope_theta_global: That of global layers, if there are local ones.
        window: How many columns away on either side local layers see; None is no local layer. Modern blocks only.
        global_every: Layers 0, this, twice this … are global.
    """

    block: BlockConfig
    embedding_size: int
    num_layers: int
    scan_layers: bool
    remat: Remat
    rope_theta: float = 10_000.0
    rope_theta_global: float = 10_000.0
    window: int | None = None
    global_every: int = 1

    @property
    def thetas(self) -> tuple[float, float]:
        """Bases of the wavelengths of local layers and of global ones."""
        return self.rope_theta, self.rope_theta if self.window is None else self.rope_theta_global

    def window_of(self, number: int) -> int | None:
        """Return how many columns away on either side layer ``number`` sees; None if it is global."""
        return None if number % self.global_every == 0 else self.window


@dataclass(frozen=True)
class EmbeddingsConfig:
    """The embedding layer.

    Attributes:
        vocab_size: Entries of the vocabulary.
        vocab_rows: Rows of the word table, ``vocab_size`` rounded up so that it can be sharded.
        words_only: Whether there are neither positions nor token types, nor a bias in the LayerNorm (modern blocks).
        embedding_size: Width.
        max_positions: Learned positions.
        type_vocab_size: Token types.
        dropout: Dropout rate of the result.
        initializer_range: Standard deviation of the truncated normal that the tables start from.
        initializer_cut: How many deviations from its mean that normal is cut at.
        starts_local: Whether positions start as sinusoids (`local_init`).
        layer_norm_epsilon: Epsilon of the LayerNorm.
        dtype: Of the result.
    """

    vocab_size: int
    vocab_rows: int
    words_only: bool
    embedding_size: int
    max_positions: int
    type_vocab_size: int
    dropout: float
    initializer_range: float
    initializer_cut: float
    starts_local: bool
    layer_norm_epsilon: float
    dtype: DTypeLike
