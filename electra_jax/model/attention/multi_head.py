"""Multi-head attention: of a sequence to itself, to another one, or to keys and values that are kept."""

from collections.abc import Sequence

import flax.linen as nn
from flax import struct
from jax import Array

from electra_jax.model.attention.attend import attend
from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.attention.plain import attention_to_parts
from electra_jax.model.block import BlockConfig
from electra_jax.model.layers import Dense, truncated_normal
from electra_jax.model.local_init import query_key_init
from electra_jax.model.rotary import Rotation, rotate


@struct.dataclass
class KeysValues:
    """What queries attend to: keys and values ``[batch, heads, length, head_dim]``."""

    key: Array
    value: Array


class MultiHeadAttention(nn.Module):
    """Multi-head attention with its output projection (no residual, no normalisation)."""

    block: BlockConfig

    def setup(self) -> None:  # noqa: D102
        block = self.block

        def projection(role: str) -> Dense:
            stddev = block.output_initializer_range if role == "output" else block.initializer_range
            kernel_init = truncated_normal(stddev, block.initializer_cut)
            if block.starts_local and role in ("query", "key"):
                kernel_init = query_key_init(block.initializer_range, block.num_heads, role=role)
            return Dense(block.hidden_size, block.dtype, kernel_init, block.operations, block.biases)

        self.query = projection("query")
        self.key = projection("key")
        self.value = projection("value")
        self.output = projection("output")

    def keys_values(self, x: Array, rotation: Rotation | None = None) -> KeysValues:
        """Project states ``[batch, length, width]`` to keys, which ``rotation`` turns, and values."""
        return KeysValues(_rotated(self._heads(self.key(x)), rotation), self._heads(self.value(x)))

    def attend(
        self,
        x: Array,
        source: KeysValues,
        mask: AttentionMask,
        rng: Array | None,
        rotation: Rotation | None = None,
    ) -> Array:
        """Let the queries of ``x`` ``[batch, length, hidden]`` attend to ``source``; the result has its shape.

        The probabilities get dropout unless ``rng`` is None; ``rotation`` turns the queries.
        """
        block = self.block
        context = attend(
            block.attention,
            _rotated(self._heads(self.query(x)), rotation),
            source.key,
            source.value,
            mask,
            rate=block.attention_dropout,
            rng=rng,
            operations=block.operations,
        )
        return self.output(context.transpose(0, 2, 1, 3).reshape(x.shape))

    def attend_to_parts(
        self,
        x: Array,
        parts: Sequence[KeysValues],
        masks: Sequence[Array],
        rotation: Rotation | None = None,
    ) -> Array:
        """Let the queries of ``x`` attend to keys that lie in several arrays, as if they were one.

        Args:
            x: ``[batch, length, hidden]``.
            parts: Keys ``[batch, heads, head_dim, keys]``, turned, and values ``[batch, heads, keys, head_dim]``.
            masks: bool, as ``[batch, heads, length, keys]`` of each part.
            rotation: Turns the queries.

        Returns:
            The shape of ``x``.
        """
        query, operations = _rotated(self._heads(self.query(x)), rotation), self.block.operations
        context = attention_to_parts(query, [(p.key, p.value) for p in parts], masks, operations)
        return self.output(context.transpose(0, 2, 1, 3).reshape(x.shape))

    def __call__(
        self, x: Array, mask: AttentionMask, rng: Array | None, rotation: Rotation | None = None
    ) -> Array:
        """Let ``x`` ``[batch, length, hidden]`` attend to itself."""
        return self.attend(x, self.keys_values(x, rotation), mask, rng, rotation)

    def _heads(self, y: Array) -> Array:
        return y.reshape(*y.shape[:2], self.block.num_heads, -1).transpose(0, 2, 1, 3)


def _rotated(heads: Array, rotation: Rotation | None) -> Array:
    return heads if rotation is None else rotate(heads, rotation)
