"""Two one-directional towers joined so that a position sees every token but its own.

Clark et al., "Pre-Training Transformers as Energy-Based Cloze Models", EMNLP 2020: the generator of Electric.
"""

import jax.numpy as jnp
from jax import Array


def shift_in_segment(hidden: Array, segment_ids: Array, offset: int) -> Array:
    """What the neighbour ``offset`` columns to the left holds (right, if negative); 0 where there is none.

    Args:
        hidden: ``[batch, length, width]``.
        segment_ids: int ``[batch, length]``, 0 for padding; a neighbour in another segment is none.
        offset: 1 or -1.
    """
    column = jnp.arange(segment_ids.shape[1]) - offset
    inside = (column >= 0) & (column < segment_ids.shape[1])
    same = inside & (segment_ids != 0) & (jnp.roll(segment_ids, offset, axis=1) == segment_ids)
    return jnp.where(same[..., None], jnp.roll(hidden, offset, axis=1), jnp.zeros((), hidden.dtype))


def join_towers(left_to_right: Array, right_to_left: Array, segment_ids: Array, *, wrap: bool) -> Array:
    """Hidden states that know all of a segment but the token itself, ``[batch, length, 2 · width]``.

    Args:
        left_to_right: ``[batch, length, width]``; column t has seen the tokens up to t.
        right_to_left: ``[batch, length, width]``; column t has seen the tokens from t on.
        segment_ids: int ``[batch, length]``.
        wrap: the original's way. It rolls the whole row, so the first token gets what stands at the row's other
            end, and [SEP] what stands at the padding or the document after it.
    """
    if wrap:
        before, after = jnp.roll(left_to_right, 1, axis=1), jnp.roll(right_to_left, -1, axis=1)
    else:
        before = shift_in_segment(left_to_right, segment_ids, 1)
        after = shift_in_segment(right_to_left, segment_ids, -1)
    return jnp.concatenate([before, after], axis=-1)
