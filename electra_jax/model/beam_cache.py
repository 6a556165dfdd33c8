"""What a decoder keeps of texts that are beams: every key stays where it was written, whoever goes on from whom."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from electra_jax.model.attention.multi_head import KeysValues, MultiHeadAttention
from electra_jax.model.rotary import Rotation


@struct.dataclass
class BeamCache:
    """Keys and values of a decoder's layers, for several texts (beams) of each row that are equally long.

    A beam may go on from another one, so that tokens of a text were written by several. Instead of copying their keys
    each query meets those of all beams of its row, and the mask leaves it what belongs to its text: ``beams`` times
    the scores, and no key is moved or read twice. A prompt is kept once for all its beams.

    Attributes:
        prompts: Of each layer, keys ``[rows, heads, head_dim, prompt_slots]``, as products of few queries are fastest,
            and values ``[rows, heads, prompt_slots, head_dim]``.
        lengths: int32 ``[rows]``, how many of these slots are filled.
        layers: What was written, in the same way, with ``room * beams`` slots: beam b wrote token t to t * beams + b.
        writers: int32 ``[rows, beams, room]``, which beam wrote each token of a text.
        written: int32, tokens of each text.
    """

    prompts: tuple[KeysValues, ...]
    lengths: Array
    layers: tuple[KeysValues, ...]
    writers: Array
    written: Array

    @classmethod
    def behind(cls, prompts: tuple[KeysValues, ...], lengths: Array, beams: int, room: int) -> BeamCache:
        """Return the cache of ``beams`` texts behind each prompt that have room for so many tokens.

        Keys and values of prompts are ``[rows, heads, prompt_slots, head_dim]``.
        """
        rows, heads, _, head_dim = prompts[0].key.shape
        dtype, slots = prompts[0].key.dtype, room * beams
        empty = KeysValues(
            jnp.zeros((rows, heads, head_dim, slots), dtype), jnp.zeros((rows, heads, slots, head_dim), dtype)
        )
        return cls(
            prompts=tuple(_keys_turned(prompt) for prompt in prompts),
            lengths=lengths,
            layers=(empty,) * len(prompts),
            writers=jnp.zeros((rows, beams, room), jnp.int32),
            written=jnp.int32(0),
        )

    @property
    def beams(self) -> int:
        """How many texts of each row there are."""
        return self.writers.shape[1]

    @property
    def used(self) -> Array:
        """How long prompt and text are, int32 ``[rows * beams]``."""
        return jnp.repeat(self.lengths + self.written, self.beams)

    def of_parents(self, parents: Array) -> BeamCache:
        """Return the cache in which each beam has the text of another, int32 ``[rows, beams]``."""
        return self._replaced(writers=jnp.take_along_axis(self.writers, parents[:, :, None], axis=1))

    def queries(self, x: Array) -> Array:
        """Lay ``[rows * beams, 1, hidden]`` as the queries of a row, ``[rows, beams, hidden]``."""
        return x.reshape(-1, self.beams, x.shape[-1])

    def with_next(self) -> BeamCache:
        """Return the cache in which each text has a token more, written by its own beam; its keys are not there yet."""
        room = jnp.arange(self.writers.shape[2])
        own = jnp.arange(self.beams, dtype=jnp.int32)[:, None]
        return self._replaced(
            writers=jnp.where(room == self.written, own, self.writers), written=self.written + 1
        )

    def mask(self) -> tuple[Array, Array]:
        """Return who may attend to prompts and to what was written, bool ``[rows, 1, 1 or beams, keys]``."""
        rows, beams, room = self.writers.shape
        slots = jnp.arange(self.prompts[0].value.shape[2])
        prompt = (slots < self.lengths[:, None])[:, None, None, :]
        own = self.writers[..., None] == jnp.arange(beams)  # [rows, beams, room, writers]
        own &= (jnp.arange(room) < self.written)[:, None]
        return prompt, own.reshape(rows, 1, beams, room * beams)

    def write(self, number: int, made: KeysValues) -> KeysValues:
        """Return a layer's keys and values with the last token's, ``[rows, heads, beams, head_dim]``."""
        kept, made = self.layers[number], _keys_turned(made)
        put, at = jax.lax.dynamic_update_slice_in_dim, (self.written - 1) * self.beams
        return KeysValues(put(kept.key, made.key, at, axis=3), put(kept.value, made.value, at, axis=2))

    def attend(
        self,
        attention: MultiHeadAttention,
        x: Array,
        number: int,
        kept: KeysValues,
        mask: tuple[Array, Array],
        rotation: Rotation | None = None,
    ) -> Array:
        """Let ``[rows, beams, hidden]`` attend to a layer's prompts and texts; the result has its shape."""
        return attention.attend_to_parts(x, (self.prompts[number], kept), mask, rotation)

    def with_layers(self, layers: tuple[KeysValues, ...]) -> BeamCache:
        """Return the cache with these keys and values of the texts."""
        return self._replaced(layers=layers)

    def _replaced(self, **fields: Any) -> BeamCache:
        return self.replace(**fields)  # type: ignore[attr-defined, no-any-return]


def _keys_turned(of: KeysValues) -> KeysValues:
    return KeysValues(of.key.swapaxes(2, 3), of.value)
