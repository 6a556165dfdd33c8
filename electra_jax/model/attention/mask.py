"""Who may attend to whom: one value that every back end understands."""

from typing import Literal

import jax.numpy as jnp
from flax import struct
from jax import Array

# "left_to_right": a token sees itself and what is before it; "right_to_left": itself and what is after it.
Direction = Literal["both", "left_to_right", "right_to_left"]


@struct.dataclass
class AttentionMask:
    """Which keys each query may attend to.

    A key must be real, of the query's segment, on the side that ``direction`` allows, and at most ``window`` columns
    away. Query i stands at column ``first_query`` + i, key j at column j. Padding queries (segment 0) see every real
    key that direction and window allow, as in the reference; their results are finite, and never used.

    Attributes:
        query_segments: int ``[batch, queries]``, 0 for padding.
        key_segments: int ``[batch, keys]``, 0 for padding.
        first_query: The column of the first query: an int, or an int array ``[batch]`` where rows differ, as when a
            cache of keys is filled row by row.
        direction: Which side a query sees; other than "both", columns of queries and keys must mean the same.
        window: How many columns away on either side a key may be; None is any.
    """

    query_segments: Array
    key_segments: Array
    first_query: int | Array = 0
    direction: Direction = struct.field(pytree_node=False, default="both")
    window: int | None = struct.field(pytree_node=False, default=None)

    @classmethod
    def within(
        cls, segment_ids: Array, direction: Direction = "both", window: int | None = None
    ) -> "AttentionMask":
        """Return the mask of self-attention inside segments ``[batch, length]``."""
        return cls(segment_ids, segment_ids, direction=direction, window=window)

    def allowed(self) -> Array:
        """Return the whole mask, bool ``[batch, 1, queries, keys]``."""
        query, key = self.query_segments[:, None, :, None], self.key_segments[:, None, None, :]
        mask = (key != 0) & ((query == key) | (query == 0))
        if self.direction == "both" and self.window is None:
            return mask
        first = self.first_query
        first = first if jnp.ndim(first) == 0 else jnp.asarray(first)[:, None, None, None]
        row = first + jnp.arange(self.query_segments.shape[1])[:, None]
        column = jnp.arange(self.key_segments.shape[1])[None, :]
        if self.direction != "both":
            mask &= column <= row if self.direction == "left_to_right" else column >= row
        if self.window is not None:
            mask &= jnp.abs(row - column) <= self.window
        return mask

    def of_queries(self, query_segments: Array, offset: int | Array) -> "AttentionMask":
        """Return the mask of consecutive queries ``[batch, some]`` of it, the first of which is query ``offset``."""
        return self.replace(query_segments=query_segments, first_query=self.first_query + offset)  # type: ignore[attr-defined]
