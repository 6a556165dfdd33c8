"""What an encoder reads, and how packed rows of token ids become it."""

import jax.numpy as jnp
from flax import struct
from jax import Array, lax


@struct.dataclass
class EncoderInputs:
    """What an encoder reads: four int32 arrays ``[batch, length]``.

    Attributes:
        input_ids: Token ids.
        token_type_ids: BERT's segments A and B inside one document, 0 and 1.
        position_ids: Positions, from 0 on in every document.
        segment_ids: 0 for padding and 1, 2, … for the documents packed in a row; attention stays inside each.
    """

    input_ids: Array
    token_type_ids: Array
    position_ids: Array
    segment_ids: Array


def packed_inputs(input_ids: Array, *, pad_id: int, cls_id: int, sep_id: int) -> EncoderInputs:
    """Derive segments, positions and token types of packed rows from their ids ``[batch, length]``.

    Every [CLS] starts a segment, and positions start again there; what follows the first [SEP] of a segment is its
    second sentence, of type 1.
    """
    real = input_ids != pad_id
    starts = input_ids == cls_id
    segment_ids = jnp.cumsum(starts, axis=1, dtype=jnp.int32) * real
    column = lax.broadcasted_iota(jnp.int32, input_ids.shape, 1)
    start_column = lax.cummax(jnp.where(starts, column, 0), axis=1)
    separators = jnp.cumsum(input_ids == sep_id, axis=1, dtype=jnp.int32)
    # separators strictly before this token, counted from its segment's start (a [CLS] is never a [SEP])
    before = separators - (input_ids == sep_id)
    before_segment = lax.cummax(jnp.where(starts, separators, 0), axis=1)
    return EncoderInputs(
        input_ids=input_ids,
        token_type_ids=jnp.where(real, jnp.minimum(before - before_segment, 1), 0),
        position_ids=jnp.where(real, column - start_column, 0),
        segment_ids=segment_ids,
    )
