"""What a decoder keeps of the tokens it has read, so that each further token costs one token's work."""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.attention.multi_head import KeysValues


@struct.dataclass
class Cache:
    """Keys and values of a decoder's layers; every array has the rows first.

    Rows are filled from the left and need not be equally long: there is no padding on the left, and a token's position
    is its slot.

    Attributes:
        layers: Keys and values of each layer, ``[rows, heads, slots, head_dim]``.
        used: int32 ``[rows]``, how many slots of a row are filled; what stands in the others is never read.
    """

    layers: tuple[KeysValues, ...]
    used: Array

    @property
    def slots(self) -> int:
        """How many tokens of a row there is room for."""
        return self.layers[0].key.shape[2]

    def mask_with_next(self) -> AttentionMask:
        """Return the mask of one query a row, the token that is written to the row's next slot."""
        slots = jnp.arange(self.slots)[None, :]
        queries = jnp.ones((self.used.shape[0], 1), jnp.int32)
        return AttentionMask(queries, (slots <= self.used[:, None]).astype(jnp.int32))


def with_room(made: KeysValues, slots: int) -> KeysValues:
    """Return keys and values with room for ``slots`` tokens a row."""
    room = ((0, 0), (0, 0), (0, slots - made.key.shape[2]), (0, 0))
    return jax.tree.map(lambda x: jnp.pad(x, room), made)


def write_next(kept: KeysValues, made: KeysValues, used: Array) -> KeysValues:
    """Write the keys and values of one token a row, ``[rows, heads, 1, head_dim]``, to slot ``used`` of each row."""

    def write(row: Array, one: Array, slot: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(row, one, slot, axis=1)

    return jax.tree.map(lambda x, y: jax.vmap(write)(x, y, used), kept, made)
