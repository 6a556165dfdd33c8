"""What is compiled to write with a model, and over which devices: a program for each bucket, and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from electra_jax.generation.beam import Hypotheses, beam_search
from electra_jax.generation.buckets import Bucket
from electra_jax.generation.decode import Decoding, Texts, advance, begin, repeat_rows, row_keys, texts_of
from electra_jax.generation.filters import Filters
from electra_jax.generation.settings import BeamRule
from electra_jax.partitioning.mesh import batch_sharding
from electra_jax.training.compile_messages import WithCompileMessage

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

# Texts of a batch per accelerator; for all CPU devices together, since they are one machine.
ROWS_PER_DEVICE = 32


def rows_of_a_batch(mesh: Mesh) -> int:
    """Return how many texts are written at once."""
    return ROWS_PER_DEVICE if mesh.devices.flat[0].platform == "cpu" else ROWS_PER_DEVICE * mesh.size


def beams_of_a_batch(mesh: Mesh) -> int:
    """Return how many beams are followed at once: more, for about the memory, since prompts are kept once for all."""
    return rows_of_a_batch(mesh) * 5 // 2


def padded(prompts: Sequence[Sequence[int]], bucket: Bucket) -> tuple[np.ndarray, np.ndarray]:
    """Return ids ``[rows, length]``, filled up on the right, and lengths ``[rows]``, 1 where there is no prompt."""
    ids, lengths = np.zeros((bucket.rows, bucket.length), np.int32), np.ones(bucket.rows, np.int32)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)], lengths[row] = prompt, len(prompt)
    return ids, lengths


@dataclass(frozen=True)
class Placement:
    """Where rows are computed, and by what.

    Attributes:
        params: of the network, there.
        programs: for that place; each function keeps a program for every bucket that it has met.
        quiet_programs: the same without lines that say what is being compiled.
        put: lays arrays with the rows first over the devices.
    """

    params: Any
    programs: Programs
    quiet_programs: Programs
    put: Callable[[Any], Any]


def placement_of(model: Model, rows: int) -> Placement:
    """Return one device for a single row, else all of them."""
    alone = rows % model._mesh.size != 0 or model._mesh.size == 1
    key = "one device" if alone else "all devices"
    if key not in model._writing:
        params, laid = model._params, batch_sharding(model._mesh)
        if alone and model._mesh.size > 1:
            params = jax.tree.map(lambda leaf: leaf.addressable_shards[0].data, params)
        put = (lambda arrays: arrays) if alone else (lambda arrays: jax.device_put(arrays, laid))
        quiet = build_programs(model._network, None if alone else laid)
        model._writing[key] = Placement(params, _with_messages(quiet), quiet, put)
    found: Placement = model._writing[key]
    return found


@dataclass(frozen=True)
class Programs:
    """What is compiled for each bucket: the prompt and its first token, further tokens, and beams.

    Attributes:
        begin: from prompts to the first tokens.
        advance: from there on, until so many tokens are written.
        beams: from prompts to the best texts.
    """

    begin: Callable[..., Decoding]
    advance: Callable[..., Decoding]
    beams: Callable[..., Hypotheses]


def _with_messages(programs: Programs) -> Programs:
    functions = (programs.begin, programs.advance, programs.beams)
    return Programs(*(WithCompileMessage(function, "the model") for function in functions))


def build_programs(network: Any, laid: NamedSharding | None) -> Programs:
    """Return the jitted functions over a network.

    Args:
        network: has ``prefill`` and ``step``.
        laid: how rows lie over devices; None: on one.
    """

    def over_devices(tree: Any) -> Any:
        if laid is None:
            return tree
        rows_first = [leaf for leaf in jax.tree.leaves(tree) if leaf.ndim]
        pinned = iter(jax.lax.with_sharding_constraint(rows_first, laid))
        return jax.tree.map(lambda leaf: next(pinned) if leaf.ndim else leaf, tree)

    def on_each_device(search: Callable[..., Hypotheses]) -> Callable[..., Hypotheses]:
        # No device waits for another at each step: rows have nothing to do with one another.
        if laid is None:
            return search
        whole, rows = PartitionSpec(), laid.spec
        specs = (whole, rows, rows, rows, whole, whole)
        return jax.shard_map(search, mesh=laid.mesh, in_specs=specs, out_specs=rows, check_vma=False)

    def prefill(params: Any, ids: Array, lengths: Array, slots: int) -> tuple[Array, Any]:
        found: Any = network.apply({"params": params}, ids, lengths, slots, method="prefill")
        return found

    def step_of(params: Any) -> Callable[[Any, Array], tuple[Array, Any]]:
        return lambda cache, tokens: network.apply({"params": params}, cache, tokens, method="step")

    @partial(jax.jit, static_argnums=(9, 10, 11))
    def begun(
        params: Any,
        ids: Array,
        lengths: Array,
        limits: Array,
        numbers: Array,
        which: Array,
        written: Array,
        filters: Filters,
        seed: Array,
        slots: int,
        samples: int,
        draws: bool,
    ) -> Decoding:
        logits, cache = repeat_rows(prefill(params, ids, lengths, slots), samples)
        ids, lengths = repeat_rows((ids, lengths), samples)
        texts = texts_of(ids, lengths, limits, slots)
        keys = row_keys(seed, numbers, which) if draws else None
        return over_devices(begin(logits, cache, texts, filters, keys, written))

    @partial(jax.jit, donate_argnums=1)
    def advanced(params: Any, decoding: Decoding, filters: Filters, until: Array) -> Decoding:
        return over_devices(advance(decoding, step_of(params), filters, until))

    @partial(jax.jit, static_argnums=(6, 7, 8))
    def searched(
        params: Any,
        ids: Array,
        lengths: Array,
        limits: Array,
        filters: Filters,
        rule: BeamRule,
        slots: int,
        room: int,
        num_ends: int,
    ) -> Hypotheses:
        def search(
            params: Any, logits: Array, cache: Any, texts: Texts, filters: Filters, rule: BeamRule
        ) -> Any:
            return beam_search(logits, cache, texts, step_of(params), filters, rule, num_ends, room)

        logits, cache = prefill(params, ids, lengths, ids.shape[1])
        texts = texts_of(ids, lengths, limits, slots)
        return on_each_device(search)(params, logits, cache, texts, filters, rule)

    return Programs(begun, advanced, searched)
