"""What a decoder keeps of the tokens it has read, so that each further token costs one token's work."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.attention.multi_head import KeysValues, MultiHeadAttention
from electra_jax.model.beam_cache import BeamCache
from electra_jax.model.rotary import Rotation


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

    def with_beams(self, beams: int, room: int) -> BeamCache:
        """Return the cache of ``beams`` texts of each row that go on for ``room`` tokens at most."""
        return BeamCache.behind(self.layers, self.used, beams, room)

    def queries(self, x: Array) -> Array:
        """Lay ``[rows, 1, hidden]`` as the queries of a row: as they are."""
        return x

    def with_next(self) -> Cache:
        """Return the cache in which each row has a token more; its keys are not there yet."""
        return Cache(self.layers, self.used + 1)

    def mask(self) -> AttentionMask:
        """Return the mask of one query a row, its last token."""
        slots = jnp.arange(self.slots)[None, :]
        queries = jnp.ones((self.used.shape[0], 1), jnp.int32)
        return AttentionMask(queries, (slots < self.used[:, None]).astype(jnp.int32))

    def write(self, number: int, made: KeysValues) -> KeysValues:
        """Return a layer's keys and values with the last token's, ``[rows, heads, 1, head_dim]``."""

        def write(row: Array, one: Array, slot: Array) -> Array:
            return jax.lax.dynamic_update_slice_in_dim(row, one, slot, axis=1)

        last = self.used - 1
        return jax.tree.map(lambda x, y: jax.vmap(write)(x, y, last), self.layers[number], made)

    def attend(
        self,
        attention: MultiHeadAttention,
        x: Array,
        number: int,
        kept: KeysValues,
        mask: AttentionMask,
        rotation: Rotation | None = None,
    ) -> Array:
        """Let ``[rows, 1, hidden]`` attend to what is kept of a layer; the result has its shape."""
        return attention.attend(x, kept, mask, None, rotation)

    def with_layers(self, layers: tuple[KeysValues, ...]) -> Cache:
        """Return the cache with these keys and values."""
        return Cache(layers, self.used)


def with_room(made: KeysValues, slots: int) -> KeysValues:
    """Return keys and values with room for ``slots`` tokens a row."""
    room = ((0, 0), (0, 0), (0, slots - made.key.shape[2]), (0, 0))
    return jax.tree.map(lambda x: jnp.pad(x, room), made)
