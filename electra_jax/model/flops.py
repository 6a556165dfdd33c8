"""FLOPs of networks, counted analytically.

Counted are matrix products only, 2 FLOPs a multiply-add; what is recomputed does not count (model FLOPs, not hardware
FLOPs: Chowdhery et al., "PaLM: Scaling Language Modeling with Pathways", 2022, appendix B).
"""

from electra_jax.model.sizes import EncoderSizes


def encoder_flops(sizes: EncoderSizes, embedding_size: int, length: int) -> float:
    """Count the forward FLOPs of an encoder for one row of ``length`` tokens."""
    hidden = sizes.hidden_size
    projections = 2 * length * (4 * hidden * hidden + 2 * hidden * sizes.intermediate_size)
    attention = 2 * 2 * length * length * hidden
    project = 2 * length * embedding_size * hidden if embedding_size != hidden else 0
    return sizes.num_layers * (projections + attention) + project


def masked_lm_head_flops(hidden_size: int, embedding_size: int, vocab_size: int, positions: int) -> float:
    """Count the forward FLOPs of the generator's head at ``positions`` tokens of a row."""
    return 2 * positions * embedding_size * (hidden_size + vocab_size)


def discriminator_head_flops(hidden_size: int, length: int) -> float:
    """Count the forward FLOPs of the discriminator's head for one row of ``length`` tokens."""
    return 2 * length * hidden_size * (hidden_size + 1)
