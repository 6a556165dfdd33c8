"""The random order of training rows: a seeded permutation that needs no table of all rows.

Rows are stored in blocks that are decoded as a whole, so the order has two levels: every epoch permutes the
blocks, `BLOCKS_PER_WINDOW` consecutive ones of that order form a window, and the rows of a window are
permuted among themselves. Reading along the order decodes each block about once an epoch, and any position
of any epoch is computed directly.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

BLOCKS_PER_WINDOW = 256
_ROUNDS = 8
_MASK64 = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # splitmix64's increment and multipliers
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def derive_key(*parts: int) -> int:
    """Hash integers into one 64-bit key; other parts, or another order of them, give another key."""
    key = 0
    for part in parts:
        key = int(_mix(np.array([(key + part * 2 + 1) & _MASK64], dtype=np.uint64), _GOLDEN)[0])
    return key


def permute(indices: np.ndarray, size: int, key: int) -> np.ndarray:
    """Apply a bijection of [0, size) that is chosen by ``key``.

    A Feistel network permutes the smallest power of two that holds ``size``; results outside are sent through
    it again until they fall inside (cycle walking), which keeps it a bijection.

    Args:
        indices: integers in [0, size), any shape.
        size: of the domain, at least 1.
        key: 64-bit key.

    Returns:
        int64, shaped as ``indices``.
    """
    bits = max(1, (size - 1).bit_length())
    walking = np.asarray(indices, dtype=np.uint64).ravel()
    result = np.empty_like(walking)
    places = np.arange(walking.size)
    while walking.size:
        walking = _feistel(walking, bits, key)
        inside = walking < size
        result[places[inside]] = walking[inside]
        walking, places = walking[~inside], places[~inside]
    return result.astype(np.int64).reshape(np.shape(indices))


def rows_at(position: int, count: int, *, num_rows: int, rows_per_block: int, seed: int) -> np.ndarray:
    """Return the rows at positions [position, position + count) of the endless stream of epochs.

    Args:
        position: first place in the stream; place p is in epoch p // num_rows.
        count: how many places.
        num_rows: rows of an epoch.
        rows_per_block: rows that are stored, and decoded, together.
        seed: of the order.

    Returns:
        int64 ``[count]``.
    """
    parts = [np.empty(0, np.int64)]
    while count > 0:
        epoch, within = divmod(position, num_rows)
        window, offset = divmod(within, BLOCKS_PER_WINDOW * rows_per_block)
        part = _window_rows(num_rows, rows_per_block, seed, epoch, window)[offset : offset + count]
        parts.append(part)
        position += len(part)
        count -= len(part)
    return np.concatenate(parts)


@lru_cache(maxsize=16)
def _window_rows(num_rows: int, rows_per_block: int, seed: int, epoch: int, window: int) -> np.ndarray:
    """Return all rows of one window in their order; cached because many batches share a window."""
    start = window * BLOCKS_PER_WINDOW * rows_per_block
    size = min(BLOCKS_PER_WINDOW * rows_per_block, num_rows - start)
    places = start + permute(np.arange(size), size, derive_key(seed, epoch, 1, window))
    slots, offsets = np.divmod(places, rows_per_block)
    full_blocks = num_rows // rows_per_block
    # An incomplete last block stays last, so that slots and blocks have the same sizes.
    blocks = slots.copy()
    movable = slots < full_blocks
    blocks[movable] = permute(slots[movable], full_blocks, derive_key(seed, epoch, 0))
    rows = blocks * rows_per_block + offsets
    rows.flags.writeable = False
    return rows


def _feistel(values: np.ndarray, bits: int, key: int) -> np.ndarray:
    """Apply a bijection of [0, 2**bits); with odd ``bits`` the longer half is by turns the right and the left."""
    left_bits, right_bits = bits // 2, bits - bits // 2
    left, right = values >> np.uint64(right_bits), values & np.uint64((1 << right_bits) - 1)
    for round_ in range(_ROUNDS):
        mixed = _mix(right, (key + _GOLDEN * (round_ + 1)) & _MASK64)
        left, right = right, left ^ (mixed & np.uint64((1 << left_bits) - 1))
        left_bits, right_bits = right_bits, left_bits
    return (left << np.uint64(right_bits)) | right


def _mix(values: np.ndarray, key: int) -> np.ndarray:
    """Apply splitmix64's finaliser to ``values + key``; products wrap modulo 2**64, as they should."""
    mixed = values + np.uint64(key)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MULTIPLIERS[0])
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MULTIPLIERS[1])
    return mixed ^ (mixed >> np.uint64(31))
