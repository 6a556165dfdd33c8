"""Splash attention, the Pallas kernel for TPUs that comes with JAX: scores are never stored."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

from electra_jax.model.attention.mask import AttentionMask
from electra_jax.partitioning.axes import partition_spec
from electra_jax.partitioning.constraints import num_shards

# The kernel's lengths are multiples of this; larger blocks up to 512 do more for each byte read.
LANES = 128
BLOCKS = (512, 256, 128)


def splash_attention(
    query: Array, key: Array, value: Array, mask: AttentionMask, *, interpret: bool = False
) -> Array:
    """Compute attention without dropout; arrays are ``[batch, heads, queries or keys, head_dim]``.

    Padding is a segment like any other here: results of padding queries differ from those of the other back ends, and
    are never used.

    Args:
        query: As key and value, float32 or bfloat16.
        key: As query.
        value: As query.
        mask: Its ``first_query`` must be an int: the kernel is compiled for one position of the queries.
        interpret: Run the kernel's steps as plain operations, on any platform; for tests.

    Raises:
        ValueError: ``first_query`` is an array.
    """
    if not isinstance(mask.first_query, int):
        raise ValueError(
            "splash attention takes one first_query for all rows, as an int: use another back end"
        )
    queries = query.shape[2]
    query, key, value = (_pad_to_lanes(x, 2) for x in (query, key, value))
    segments = kernel.SegmentIds(_pad_to_lanes(mask.query_segments, 1), _pad_to_lanes(mask.key_segments, 1))
    shape = (query.shape[2], key.shape[2])
    attend: Callable[..., Array] = partial(
        _one_device, kernel_mask=_build_mask(mask, mask.first_query, shape), interpret=interpret
    )
    if not jax.sharding.get_abstract_mesh().empty:
        # The compiler does not partition Pallas kernels, so rows and heads are sharded by hand.
        batch = _axis_if_divided("batch", query.shape[0])
        by_heads = partition_spec((batch, _axis_if_divided("heads", query.shape[1]), "length", "activation"))
        rows = partition_spec((batch, "length"))
        attend = jax.shard_map(
            attend, in_specs=(by_heads, by_heads, by_heads, rows), out_specs=by_heads, check_vma=False
        )
    return attend(query, key, value, segments)[:, :, :queries].astype(value.dtype)


def _pad_to_lanes(x: Array, axis: int) -> Array:
    """Fill ``axis`` up with zeros to a multiple of the kernel's lanes."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -x.shape[axis] % LANES)
    return jnp.pad(x, widths)


def _build_mask(mask: AttentionMask, first_query: int, shape: tuple[int, int]) -> masks.Mask:
    """Return direction and window as the kernel's mask ``[queries, keys]``.

    The kernel skips blocks without an allowed pair.
    """
    if mask.direction == "both" and mask.window is None:
        return masks.FullMask(shape)
    before = mask.window if mask.direction != "right_to_left" else 0
    after = mask.window if mask.direction != "left_to_right" else 0
    return masks.LocalMask(shape, (before, after), first_query)


def _axis_if_divided(axis: str, size: int) -> str:
    """Return the logical axis where the mesh divides it; else one that every device has whole."""
    return axis if size % num_shards(axis) == 0 else "activation"


def _one_device(
    query: Array,
    key: Array,
    value: Array,
    segments: kernel.SegmentIds,
    *,
    kernel_mask: masks.Mask,
    interpret: bool,
) -> Array:
    heads, queries, head_dim = query.shape[1:]
    by_query, by_key = (
        next(size for size in BLOCKS if length % size == 0) for length in (queries, key.shape[2])
    )
    attend = kernel.make_splash_mha_single_device(
        masks.MultiHeadMask([kernel_mask] * heads),
        block_sizes=kernel.BlockSizes(
            block_q=by_query,
            block_kv=by_key,
            block_q_dkv=by_query,
            block_kv_dkv=by_key,
            block_q_dq=by_query,
            block_kv_dq=by_key,
        ),
        interpret=interpret,
    )

    def row(query: Array, key: Array, value: Array, segments: kernel.SegmentIds) -> Array:
        return attend(query, key, value, segment_ids=segments)

    scaled = (query.astype(jnp.float32) * head_dim**-0.5).astype(query.dtype)
    return jax.vmap(row)(scaled, key, value, segments)
