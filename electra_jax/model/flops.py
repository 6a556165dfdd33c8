"""FLOPs of networks, counted analytically.

Counted are matrix products only, 2 FLOPs a multiply-add; what is recomputed does not count (model FLOPs, not hardware
FLOPs: Chowdhery et al., "PaLM: Scaling Language Modeling with Pathways", 2022, appendix B).
"""

from electra_jax.model.block import EncoderConfig


def encoder_flops(config: EncoderConfig, length: int) -> float:
    """Count the forward FLOPs of an encoder for one row of ``length`` tokens."""
    hidden, embedding_size = config.block.hidden_size, config.embedding_size
    products = 3 if config.block.kind == "modern" else 2  # of the feed-forward layer
    projections = 2 * length * (4 * hidden * hidden + products * hidden * config.block.intermediate_size)
    windows = [config.window_of(number) for number in range(config.num_layers)]
    attention = sum(2 * 2 * attended_pairs(length, window) * hidden for window in windows)
    project = 2 * length * embedding_size * hidden if embedding_size != hidden else 0
    return config.num_layers * projections + attention + project


def attended_pairs(length: int, window: int | None) -> int:
    """Count the pairs of a query and a key in a row of one document, keys at most ``window`` columns away (None: any).

    As `AttentionMask` says; a back end that multiplies more pairs, and masks them, does not count as doing more.
    """
    reach = length - 1 if window is None else min(window, length - 1)
    return length * (2 * reach + 1) - reach * (reach + 1)


def masked_lm_head_flops(hidden_size: int, embedding_size: int, vocab_size: int, positions: int) -> float:
    """Count the forward FLOPs of the generator's head at ``positions`` tokens of a row."""
    return 2 * positions * embedding_size * (hidden_size + vocab_size)


def discriminator_head_flops(hidden_size: int, length: int) -> float:
    """Count the forward FLOPs of the discriminator's head for one row of ``length`` tokens."""
    return 2 * length * hidden_size * (hidden_size + 1)
