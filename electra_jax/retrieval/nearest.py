"""Which vectors score best: every one is looked at, a block after the other, on all devices.

The memory that is needed is that of a block, whatever the number of vectors. On CPUs a block is the file's own
pages, or that of `vectors_in_memory`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from electra_jax.model.ranking_head import scores_of_all

# Products of contexts, codes and the vectors of a block that are in memory at once.
_PRODUCTS = 1 << 24
_BLOCK_ROWS, _LEAST_ROWS = 1 << 16, 1 << 12
# Bytes; what files of NumPy have, and XLA's CPU buffers want.
_ALIGNMENT = 64
# On accelerators as much of the vectors stays there between two searches.
_KEPT_BYTES = 4 << 30


def vectors_in_memory(count: int, width: int) -> np.ndarray:
    """Return room for vectors, float32 ``[count, width]``, where XLA on CPUs reads it without a copy.

    NumPy's own arrays begin at any multiple of 16 bytes; what does not at one of 64 is copied, and blocks are kept.
    """
    room = np.empty(count * width + _ALIGNMENT // 4, np.float32)
    first = -room.ctypes.data % _ALIGNMENT // 4
    return room[first : first + count * width].reshape(count, width)


class NearestVectors:
    """Finds the best of many vectors."""

    def __init__(self, vectors: np.ndarray, codes: int, mesh: Mesh):
        """Take vectors ``[count, width]``; nothing is read yet.

        Args:
            vectors: float32, in memory or memory-mapped; none may be added later.
            codes: vectors of a context.
            mesh: over all devices of which each block is divided.
        """
        self._vectors, self._codes, self._mesh = vectors, codes, mesh
        most = max(_LEAST_ROWS, _BLOCK_ROWS // _power_of_two(codes))
        few = mesh.size * max(1, _power_of_two(-(-len(vectors) // mesh.size)))
        self._rows = min(-(-most // mesh.size) * mesh.size, few)
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._divided = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        is_free = mesh.devices.flat[0].platform == "cpu"
        self._most_kept = len(vectors) if is_free else _KEPT_BYTES // (4 * max(1, vectors.shape[1]))
        self._kept: dict[int, Array] = {}
        self._merge = _program(mesh)

    def search(self, contexts: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and numbers of the ``k`` best vectors of each context, of all where there are fewer.

        Of equal scores that of the lower number comes first.

        Args:
            contexts: float32 ``[contexts, codes, width]``.
            k: how many to find, 1 or more.

        Returns:
            float32 and int32 ``[contexts, k]``, the best first.
        """
        wanted = min(k, len(self._vectors))
        k = min(_power_of_two(k), len(self._vectors))  # so that few programs are compiled
        at_once = max(1, _PRODUCTS // (self._rows * self._codes))
        found = [self._search(contexts[i : i + at_once], k) for i in range(0, len(contexts), at_once)]
        if not found:
            return np.zeros((0, wanted), np.float32), np.zeros((0, wanted), np.int32)
        scores, numbers = zip(*found, strict=True)
        return np.concatenate(scores)[:, :wanted], np.concatenate(numbers)[:, :wanted]

    def _search(self, contexts: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        count = _power_of_two(len(contexts))  # so that few programs are compiled
        filled = np.zeros((count, *contexts.shape[1:]), np.float32)
        filled[: len(contexts)] = contexts
        asked = jax.device_put(filled, self._everywhere)
        shape = (self._mesh.size, count, k)
        best: Any = jax.device_put(
            (np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int32)), self._divided
        )
        for start, new_from, block in self._blocks():
            limits = np.array([start, new_from, len(self._vectors)], np.int32)
            before, best = best, self._merge(best, asked, block, limits)
            jax.block_until_ready(before)  # so that no more than two blocks are on their way
        scores, numbers = (np.moveaxis(np.asarray(of_all), 1, 0) for of_all in jax.device_get(best))
        scores, numbers = scores[: len(contexts)], numbers[: len(contexts)]
        scores, numbers = scores.reshape(len(contexts), -1), numbers.reshape(len(contexts), -1)
        order = np.lexsort((numbers, -scores))[:, :k]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(numbers, order, axis=1)

    def _blocks(self) -> Iterator[tuple[int, int, Array]]:
        """Yield the number of a block's first vector, that of the first not seen before, and the block.

        All blocks have the same size. The last one ends with the last vector, and so begins with some of the
        one before.
        """
        count, rows = len(self._vectors), self._rows
        for new_from in range(0, count, rows):
            start = max(0, min(new_from, count - rows))
            block = self._kept.get(start)
            if block is None:
                block = jax.device_put(self._filled(start), self._divided)
                if start + rows <= self._most_kept or count <= self._most_kept:
                    self._kept[start] = block
            yield start, new_from, block

    def _filled(self, start: int) -> np.ndarray:
        some = self._vectors[start : start + self._rows]
        if len(some) == self._rows:
            return some
        filled = np.zeros((self._rows, some.shape[1]), np.float32)
        filled[: len(some)] = some
        return filled


@cache
def _program(mesh: Mesh) -> Any:
    """Return `merge_block` on each of these devices, compiled once whatever is searched.

    Devices do not meet before the end: CPU devices that wait for each other in every block of many may wait for ever.
    """
    everywhere, divided = PartitionSpec(), PartitionSpec(mesh.axis_names)

    def on_each(
        best: tuple[Array, Array], contexts: Array, block: Array, limits: Array
    ) -> tuple[Array, Array]:
        first = limits[0] + jax.lax.axis_index(mesh.axis_names).astype(jnp.int32) * len(block)
        scores, numbers = merge_block((best[0][0], best[1][0]), contexts, block, first, limits[1], limits[2])
        return scores[None], numbers[None]

    return jax.jit(
        jax.shard_map(
            on_each,
            mesh=mesh,
            in_specs=((divided, divided), everywhere, divided, everywhere),
            out_specs=(divided, divided),
        )
    )


def merge_block(
    best: tuple[Array, Array], contexts: Array, block: Array, first: Array, new_from: Array, count: Array
) -> tuple[Array, Array]:
    """Return the best scores and numbers of those so far and of a block.

    Of equal scores the one that was there first stays first.

    Args:
        best: scores float32 and numbers int32 ``[contexts, k]``, the best first.
        contexts: ``[contexts, codes, width]``.
        block: ``[rows, width]``.
        first: number of its first vector.
        new_from: number of the first that counts.
        count: of all vectors; rows from there on are padding.
    """
    scores = scores_of_all(contexts, block)
    numbers = first + jnp.arange(len(block), dtype=jnp.int32)
    scores = jnp.where((numbers >= new_from) & (numbers < count), scores, -jnp.inf)
    k = best[0].shape[1]
    of_block, places = jax.lax.top_k(scores, min(k, len(block)))
    all_scores = jnp.concatenate([best[0], of_block], axis=1)
    all_numbers = jnp.concatenate([best[1], numbers[places]], axis=1)
    merged, chosen = jax.lax.top_k(all_scores, k)
    return merged, jnp.take_along_axis(all_numbers, chosen, axis=1)


def _power_of_two(least: int) -> int:
    return 1 << max(0, least - 1).bit_length()
