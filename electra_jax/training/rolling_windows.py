"""Evaluation of a language model over whole documents: every token once, with context before it wherever it stands.

Rows cut documents anywhere, and a token at the beginning of one is predicted from nothing. Here a window begins
``stride`` tokens before the first one that is new in it, as lm-evaluation-harness does for perplexities.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from electra_jax.data.token_rows import TokenRows
from electra_jax.objectives.causal_lm import NextToken
from electra_jax.objectives.metrics import MetricSums, add_sums
from electra_jax.partitioning.mesh import batch_sharding, replicated
from electra_jax.tokenizers import Tokenizer
from electra_jax.training.evaluation import with_text_metrics
from electra_jax.training.program import Program

_ROWS_READ = 256


def documents(rows: TokenRows, tokenizer: Tokenizer) -> Iterator[np.ndarray]:
    """Yield the documents of rows packed ``continuous``, int32 ids with [SEP] at the end and no [CLS]."""
    held: list[np.ndarray] = []
    for start in range(0, rows.num_rows, _ROWS_READ):
        for row in rows.read(np.arange(start, min(start + _ROWS_READ, rows.num_rows))):
            ids = row[row != tokenizer.pad_id]
            for piece in np.split(ids, np.flatnonzero(ids == tokenizer.cls_id)[1:]):
                held.append(piece[1:])
                if piece[-1] == tokenizer.sep_id:
                    yield np.concatenate(held)
                    held = []
    if held:
        yield np.concatenate(held)


def windows(ids: np.ndarray, length: int, stride: int, cls_id: int) -> Iterator[tuple[np.ndarray, int]]:
    """Cut a document into rows in which every token is new once.

    Args:
        ids: int32 ``[tokens]``.
        length: Tokens of a row, [CLS] included; a row that is not full is shorter.
        stride: Tokens before the first new one, in all rows but the first; below ``length`` - 1.
        cls_id: What rows begin with.

    Yields:
        A row, and the first column whose next token is new.
    """
    room, start = length - 1, 0
    while True:
        first = 0 if start == 0 else stride
        yield np.concatenate([[cls_id], ids[start : start + room]]).astype(np.int32), first
        if start + room >= len(ids):
            return
        start += room - stride


def evaluate_windows(
    program: Program[NextToken], params: Any, rows: TokenRows, tokenizer: Tokenizer, *, stride: int
) -> dict[str, float | None]:
    """Compute the held-out metrics with at least ``stride`` tokens of context, where a document has them.

    Args:
        program: Of a causal language model.
        params: The parameters, on the program's mesh.
        rows: Held-out rows, packed ``continuous``.
        tokenizer: Theirs.
        stride: Tokens of context, from 0 to the length of rows - 2.
    """
    objective, length = program.objective, rows.sequence_length
    by_rows, whole = batch_sharding(program.mesh), replicated(program.mesh)

    def sums_of(params: Any, batch: Array, first: Array) -> MetricSums:
        inputs = objective.draw_inputs(batch, jax.random.key(0))
        new = jnp.arange(length)[None, :] >= first[:, None]
        inputs = replace(inputs, weights=inputs.weights * new)
        return objective.loss(params, inputs, objective.loss_normalizers(inputs), None)[1]

    step = jax.jit(sums_of, in_shardings=(None, by_rows, by_rows), out_shardings=whole)
    batch_size = -(-32 // program.mesh.size) * program.mesh.size
    share = program.host_share
    cut = (
        window
        for ids in documents(rows, tokenizer)
        for window in windows(ids, length, stride, tokenizer.cls_id)
    )
    total: MetricSums | None = None
    with program.on_mesh():
        while some := list(islice(cut, batch_size)):
            batch = np.full((batch_size, length), tokenizer.pad_id, np.int32)
            first = np.zeros(batch_size, np.int32)
            for number, (row, column) in enumerate(some):
                batch[number, : len(row)], first[number] = row, column
            sums = step(params, *program.to_global_batch((share.take(batch), share.take(first))))
            jax.block_until_ready(total)  # as `evaluation.evaluate` does, and for its reason
            total = sums if total is None else add_sums(total, sums)
    metrics = with_text_metrics(objective, jax.device_get(total), rows)
    del metrics["padding_fraction"]
    return metrics
