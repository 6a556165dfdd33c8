"""Electric's networks: two one-directional towers that see every token but a position's own, and a discriminator.

Clark et al., "Pre-Training Transformers as Energy-Based Cloze Models", EMNLP 2020. Parameters, beside ``embeddings``
and ``encoder`` (layers stacked on a leading axis)::

    discriminator_head/{dense,prediction}
    generator_ltr/{embeddings_project, layers/…}, generator_rtl/…
    cloze_head/{dense,layer_norm,output_bias}
"""

from typing import Any

import jax.numpy as jnp
from flax import struct
from jax import Array

from electra_jax.model.heads import DiscriminatorHead, MaskedLMHead
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import split_or_none
from electra_jax.model.operations import Operations
from electra_jax.model.text_encoder import TextEncoder, build_encoder
from electra_jax.model.vocabulary_loss import TokenLosses, vocabulary_loss


@struct.dataclass
class ClozeOutputs:
    """The cloze model's distributions as the product they come from: logits are states · tableᵀ + bias.

    Attributes:
        states: ``[batch, positions, features]``.
        table: ``[rows, features]``.
        bias: float32 ``[rows]``.
        operations: Whose products are used.
    """

    states: Array
    table: Array
    bias: Array
    operations: Operations = struct.field(pytree_node=False)

    def at(self, positions: Array) -> "ClozeOutputs":
        """Return those at int ``[batch, slots]``."""
        states = jnp.take_along_axis(self.states, positions[..., None], axis=1)
        return ClozeOutputs(states, self.table, self.bias, self.operations)

    def logits(self) -> Array:
        """Return float32 ``[batch, positions, rows]``; for few positions, or small vocabularies."""
        return self.operations.vocabulary_logits(self.states, self.table, self.bias)

    def losses(self, ids: Array, weights: Array) -> tuple[Array, TokenLosses]:
        """Return Σ w · nll of tokens ``[batch, positions]``, and what is known of each; see `vocabulary_loss`."""
        return vocabulary_loss(self.states, self.table, self.bias, ids, weights, self.operations)

    def log_ratio(self, ids: Array, others: Array) -> Array:
        """Return log q(ids) - log q(others), both int ``[batch, positions]``, float32: no sum over the vocabulary."""
        table = self.table[ids].astype(jnp.float32) - self.table[others].astype(jnp.float32)
        product = (self.states.astype(jnp.float32) * table).sum(axis=-1)
        return product + self.bias[ids] - self.bias[others]


class Electric(TextEncoder):
    """Two generator towers over the shared embeddings, and the discriminator; call it by `cloze` and `discriminate`.

    Attributes:
        wrap: Whether towers are joined as the original does; see `join_towers`.
    """

    wrap: bool = False

    def setup(self) -> None:  # noqa: D102
        super().setup()
        config = self.config
        self.generator_ltr = build_encoder(config.generator_encoder, "left_to_right")
        self.generator_rtl = build_encoder(config.generator_encoder, "right_to_left")
        self.cloze_head = MaskedLMHead(self.sizes.vocab_size, config.generator_encoder.block)
        self.discriminator_head = DiscriminatorHead(config.encoder.block)

    def cloze(self, inputs: EncoderInputs, rng: Array | None = None) -> ClozeOutputs:
        """Return the cloze model's distributions at every position of unmasked rows.

        Those at position t do not depend on the token there, but on all others of its document.
        """
        rngs = split_or_none(rng, 4)
        ltr = self.generator_ltr(self.embeddings(inputs, rngs[0]), inputs, rngs[1])
        rtl = self.generator_rtl(self.embeddings(inputs, rngs[2]), inputs, rngs[3])
        joined = join_towers(ltr, rtl, inputs.segment_ids, wrap=self.wrap)
        operations = self.config.encoder.block.operations
        outputs: Any = self.cloze_head(
            joined,
            self.embeddings.word_table(),
            lambda states, table, bias: ClozeOutputs(states, table, bias, operations),
        )
        return outputs  # type: ignore[no-any-return]

    def discriminate(self, inputs: EncoderInputs, rng: Array | None = None) -> Array:
        """Return the energies, float32 ``[batch, length]``."""
        return self.discriminator_head(self.encode(inputs, rng))

    def __call__(self, inputs: EncoderInputs, positions: Array) -> Any:
        """Run both networks, so that all parameters are created."""
        del positions
        return self.cloze(inputs), self.discriminate(inputs)


def shift_in_segment(hidden: Array, segment_ids: Array, offset: int) -> Array:
    """Return the states of the neighbour ``offset`` columns to the left (right, if negative); 0 where there is none.

    Args:
        hidden: ``[batch, length, width]``.
        segment_ids: int ``[batch, length]``, 0 for padding; a neighbour in another segment does not count.
        offset: 1 or -1.
    """
    column = jnp.arange(segment_ids.shape[1]) - offset
    inside = (column >= 0) & (column < segment_ids.shape[1])
    same = inside & (segment_ids != 0) & (jnp.roll(segment_ids, offset, axis=1) == segment_ids)
    return jnp.where(same[..., None], jnp.roll(hidden, offset, axis=1), jnp.zeros((), hidden.dtype))


def join_towers(left_to_right: Array, right_to_left: Array, segment_ids: Array, *, wrap: bool) -> Array:
    """Join the towers' states into states that know all of a segment but the token itself.

    Args:
        left_to_right: ``[batch, length, width]``; column t has seen the tokens up to t.
        right_to_left: ``[batch, length, width]``; column t has seen the tokens from t on.
        segment_ids: int ``[batch, length]``.
        wrap: The original's way. It rolls the whole row, so the first token gets what stands at the row's other end,
            and [SEP] what stands at the padding or the document after it.

    Returns:
        ``[batch, length, 2 · width]``.
    """
    if wrap:
        before, after = jnp.roll(left_to_right, 1, axis=1), jnp.roll(right_to_left, -1, axis=1)
    else:
        before = shift_in_segment(left_to_right, segment_ids, 1)
        after = shift_in_segment(right_to_left, segment_ids, -1)
    return jnp.concatenate([before, after], axis=-1)
