"""Model FLOPs of a training step, counted analytically.

Counted are matrix products only, 2 FLOPs a multiply-add, the backward pass as twice the forward; what is
recomputed does not count (model FLOPs, not hardware FLOPs: Chowdhery et al. 2022, appendix B).
"""

from electra_jax.config.schema import Config, FinetuneObjective
from electra_jax.model.sizes import EncoderSizes, NetworkSizes
from electra_jax.objectives.masking import max_masked


def encoder_flops(sizes: EncoderSizes, embedding_size: int, length: int) -> float:
    """Forward FLOPs of an encoder for one row of ``length`` tokens."""
    hidden = sizes.hidden_size
    projections = 2 * length * (4 * hidden * hidden + 2 * hidden * sizes.intermediate_size)
    attention = 2 * 2 * length * length * hidden
    project = 2 * length * embedding_size * hidden if embedding_size != hidden else 0
    return sizes.num_layers * (projections + attention) + project


def train_step_flops(config: Config, sizes: NetworkSizes) -> float:
    """Model FLOPs of one update over the whole batch, forward and backward."""
    length = config.data.sequence_length
    if isinstance(config.objective, FinetuneObjective):  # rows of the full length; the heads are left out
        return (
            3.0 * config.train.batch_size * encoder_flops(sizes.discriminator, sizes.embedding_size, length)
        )
    slots = max_masked(config.objective.mask_rate, length)

    def masked_lm(encoder: EncoderSizes, embedding: int) -> float:
        head = 2 * slots * embedding * (encoder.hidden_size + sizes.vocab_size)
        return encoder_flops(encoder, embedding, length) + head

    def two_towers() -> float:
        # Both towers over the whole row, and a head over their joined states at every position.
        generator, embedding = sizes.generator, sizes.embedding_size
        head = 2 * length * embedding * (2 * generator.hidden_size + sizes.vocab_size)
        return 2 * encoder_flops(generator, embedding, length) + head

    if config.objective.kind == "masked_lm":
        row = masked_lm(sizes.discriminator, sizes.embedding_size)
    else:
        hidden = sizes.discriminator.hidden_size
        if config.objective.kind == "electric":
            row = two_towers()
        else:
            row = masked_lm(sizes.generator, sizes.generator_embedding_size)
        row += encoder_flops(sizes.discriminator, sizes.embedding_size, length)
        row += 2 * length * hidden * (hidden + 1)
    return 3.0 * row * config.train.batch_size
