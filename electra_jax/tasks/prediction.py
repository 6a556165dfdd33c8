"""Applying a task's head to rows: bucketed by length, every row once, on any number of devices and hosts."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from electra_jax.partitioning.host_rows import host_share
from electra_jax.partitioning.mesh import batch_sharding, to_global_batch
from electra_jax.tasks.batches import make_batch, plan_batches, widened
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.protocol import Rows, TaskBatch
from electra_jax.training.compile_messages import WithCompileMessage

PredictStep = Callable[[Any, TaskBatch], dict[str, jax.Array]]


def make_predict_step(objective: FineTuning, mesh: Mesh) -> PredictStep:
    """Return the jitted outputs of a batch, compiled once for each task and length."""
    rows = batch_sharding(mesh)
    jitted = jax.jit(objective.outputs, in_shardings=(None, rows), out_shardings=rows)
    return WithCompileMessage(jitted, "the prediction")


def predict_rows(
    step: PredictStep,
    mesh: Mesh,
    params: Any,
    task: str,
    rows: Rows,
    *,
    batch_size: int,
    buckets: Sequence[int],
    pad_id: int,
    targets: bool = False,
) -> dict[str, np.ndarray]:
    """Return the outputs of every row in order, ``[rows, …]``.

    Axes that grow with the length are padded, with −inf (floating-point outputs) or 0. Padding rows of the last batch
    are dropped, so that each row counts once.

    Args:
        step: see `make_predict_step`.
        mesh: the devices.
        params: of the encoder and the heads.
        task: the task's name.
        rows: the rows to predict.
        batch_size: rows of a batch, over all devices.
        buckets: lengths that rows are padded to, longer ones where some do not fit.
        pad_id: the id of [PAD].
        targets: whether the step is given the rows' targets.
    """
    lengths = rows.lengths
    if not len(lengths):
        return {}
    plans = plan_batches(lengths, batch_size, widened(buckets, int(lengths.max())), rng=None)
    pieces: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
    share = host_share(mesh)
    with jax.set_mesh(mesh):
        for plan in plans:
            batch = make_batch(task, rows, plan, pad_id, targets=targets)
            mine = jax.tree.map(share.take, batch)
            outputs = step(params, to_global_batch(mesh, mine))
            whole = multihost_utils.process_allgather(outputs, tiled=True)
            pieces.append((plan.rows, {name: np.asarray(array) for name, array in whole.items()}))
    return {name: _in_order(name, pieces, len(lengths)) for name in pieces[0][1]}


def _in_order(
    name: str, pieces: Sequence[tuple[np.ndarray, dict[str, np.ndarray]]], count: int
) -> np.ndarray:
    arrays = [outputs[name] for _, outputs in pieces]
    widest = [max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True)]
    kind = arrays[0].dtype
    out = np.full((count, *widest), -np.inf if kind.kind == "f" else 0, kind)
    for (rows, _), array in zip(pieces, arrays, strict=True):
        real = rows >= 0
        position: Any = (rows[real], *(slice(0, size) for size in array.shape[1:]))
        out[position] = array[real]
    return out
