"""An initialisation in which attention heads start out looking at neighbouring tokens.

With the reference's initialisation attention starts out uniform, and a network must find by chance that neighbours
matter before it learns anything from context: that is the plateau at the start of every run. A very small network on a
small budget may never leave it, since the same noise that hides the signal drives its hidden states together. Starting
with sinusoidal positions, and with heads that rotate a position's sinusoids into those of its neighbour, removes the
search. Only the start differs: every parameter is learned, and their shapes are the same.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from electra_jax.model.layers import Dtype, Initializer, truncated_normal

# How much higher than others the neighbour scores that a head looks at: a quarter of its attention at length 64.
PEAK_SCORE = 4.0
# Share of the positions in the variance after the first LayerNorm: word and token type have the rest.
POSITION_SHARE = 1 / 3


def _frequencies(features: int) -> np.ndarray:
    """Return ``[features / 2]`` frequencies evenly over (0, π).

    Sinusoids of two positions are nearly orthogonal then.
    """
    count = features // 2
    return np.pi * (np.arange(count) + 0.5) / count


def sinusoidal_init(stddev: float) -> Initializer:
    """Return an initialiser of positions ``[rows, features]``: sines and cosines of the row number.

    Args:
        stddev: Standard deviation of the result.
    """

    def init(key: Array, shape: tuple[int, int], dtype: Dtype = jnp.float32) -> Array:
        del key
        angles = jnp.arange(shape[0])[:, None] * _frequencies(shape[1])
        return (stddev * math.sqrt(2) * jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)).astype(
            dtype
        )

    return init


def head_offset(head: int) -> int:
    """Return where a head looks: -1, 1, -2, 2, ... for heads 0, 1, 2, 3, ..."""
    distance = head // 2 + 1
    return distance if head % 2 else -distance


def query_key_init(stddev: float, num_heads: int, *, role: str) -> Initializer:
    """Return an initialiser of query or key kernels ``[hidden, hidden]``, under which heads look at neighbours.

    Each head selects its share of the sinusoids. Its key is rotated by the head's offset, so that query i and key j
    agree where j - i is the offset.

    Args:
        stddev: Of the truncated normal noise that is added, as elsewhere.
        num_heads: Attention heads.
        role: "query" or "key".
    """

    def init(key: Array, shape: tuple[int, int], dtype: Dtype = jnp.float32) -> Array:
        hidden, per_head = shape[0], shape[1] // num_heads // 2
        gain = math.sqrt(PEAK_SCORE / POSITION_SHARE / math.sqrt(2 * per_head))
        frequencies = _frequencies(hidden)
        # Heads get frequencies at random: those of a regular choice would be periodic after a few positions.
        frequencies_of_heads = np.random.RandomState(0).permutation(hidden // 2).reshape(num_heads, per_head)
        kernel = np.zeros(shape, np.float32)
        for head, chosen in enumerate(frequencies_of_heads):
            angle = frequencies[chosen] * head_offset(head) if role == "key" else np.zeros(per_head)
            sine, cosine = chosen, chosen + hidden // 2
            out_sine = 2 * per_head * head + np.arange(per_head)
            out_cosine = out_sine + per_head
            kernel[sine, out_sine], kernel[cosine, out_sine] = np.cos(angle), -np.sin(angle)
            kernel[sine, out_cosine], kernel[cosine, out_cosine] = np.sin(angle), np.cos(angle)
        return jnp.asarray(gain * kernel, dtype) + truncated_normal(stddev)(key, shape, dtype)

    return init


def can_start_local(embedding_size: int, hidden_size: int, num_heads: int) -> bool:
    """Return whether an encoder can start that way.

    Positions must reach its heads unprojected, and heads must be of even width.
    """
    return embedding_size == hidden_size and hidden_size % (2 * num_heads) == 0
