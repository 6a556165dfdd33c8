"""Splash attention, the Pallas kernel that JAX brings along for TPUs: scores are never stored."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

from electra_jax.model.attention_xla import Direction
from electra_jax.partitioning.axes import partition_spec
from electra_jax.partitioning.constraints import parts_on_mesh

# The kernel's lengths are multiples of this; larger blocks up to 512 do more for each byte read.
LANES = 128
BLOCKS = (512, 256, 128)


def splash_attention(
    query: Array,
    key: Array,
    value: Array,
    segment_ids: Array,
    direction: Direction,
    *,
    interpret: bool = False,
) -> Array:
    """Attention without dropout; arrays ``[batch, heads, length, head_dim]``, ``segment_ids`` ``[batch, length]``.

    Padding is a segment like any other here: what padding queries give differs from the other back ends, and is
    never used.

    Args:
        query: as key and value.
        key: float32 or bfloat16.
        value: as key.
        segment_ids: int, 0 for padding.
        direction: which side a query sees.
        interpret: run the kernel's steps as plain operations, on any platform; for tests.
    """
    length = query.shape[2]
    missing = -length % LANES
    arrays = [jnp.pad(x, ((0, 0), (0, 0), (0, missing), (0, 0))) for x in (query, key, value)]
    segments = jnp.pad(segment_ids, ((0, 0), (0, missing)))
    if direction == "right_to_left":  # the kernel knows causal masks; read from the end, this is one
        arrays, segments = [jnp.flip(x, 2) for x in arrays], jnp.flip(segments, 1)
    attend: Callable[..., Array] = partial(_one_device, causal=direction != "both", interpret=interpret)
    if (
        not jax.sharding.get_abstract_mesh().empty
    ):  # the compiler does not cut kernels up: rows and heads are ours
        batch = _cut("batch", query.shape[0])
        by_heads = partition_spec((batch, _cut("heads", query.shape[1]), "length", "activation"))
        rows = partition_spec((batch, "length"))
        attend = jax.shard_map(
            attend, in_specs=(by_heads, by_heads, by_heads, rows), out_specs=by_heads, check_vma=False
        )
    context = attend(*arrays, segments)
    if direction == "right_to_left":
        context = jnp.flip(context, 2)
    return context[:, :, :length].astype(value.dtype)


def _cut(axis: str, size: int) -> str:
    """The logical axis where the mesh divides it; else one that every device has whole."""
    return axis if size % parts_on_mesh(axis) == 0 else "activation"


def _one_device(
    query: Array, key: Array, value: Array, segments: Array, *, causal: bool, interpret: bool
) -> Array:
    heads, length, head_dim = query.shape[1:]
    block = next(size for size in BLOCKS if length % size == 0)
    shape = (length, length)
    mask = masks.CausalMask(shape) if causal else masks.FullMask(shape)
    attend = kernel.make_splash_mha_single_device(
        masks.MultiHeadMask([mask] * heads),
        block_sizes=kernel.BlockSizes(
            block_q=block,
            block_kv=block,
            block_q_dkv=block,
            block_kv_dkv=block,
            block_q_dq=block,
            block_kv_dq=block,
        ),
        interpret=interpret,
    )

    def row(query: Array, key: Array, value: Array, segments: Array) -> Array:
        return attend(query, key, value, segment_ids=kernel.SegmentIds(segments, segments))

    scaled = (query.astype(jnp.float32) * head_dim**-0.5).astype(query.dtype)
    return jax.vmap(row)(scaled, key, value, segments)
