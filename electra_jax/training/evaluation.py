"""Held-out evaluation: every row once, the last batch filled up with padding that weighs nothing."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from electra_jax.data.batches import eval_batches
from electra_jax.data.token_rows import TokenRows
from electra_jax.objectives import PretrainingObjective
from electra_jax.objectives.metrics import MetricSums, add_sums
from electra_jax.training.program import Program


def evaluate(
    program: Program[Any], params: Any, rows: TokenRows, *, batch_size: int, pad_id: int, limit: int | None
) -> dict[str, float | None]:
    """Compute the held-out metrics of ``params``.

    Args:
        program: Of the run.
        params: The parameters, on the program's mesh.
        rows: Held-out rows.
        batch_size: Rows of a batch, over all hosts.
        pad_id: Id of padding.
        limit: The most batches to read; None reads all rows.
    """
    total: MetricSums | None = None
    share = program.host_share
    batches = eval_batches(rows, batch_size=batch_size, pad_id=pad_id, limit=limit, share=share)
    with program.on_mesh():
        for number, batch in enumerate(batches):
            sums = program.eval_step(params, program.to_global_batch(batch), np.int32(number))
            # As in training, at most two batches are under way: devices that are CPU cores share a pool of threads, in
            # which many collectives at once lock each other out.
            jax.block_until_ready(total)
            total = sums if total is None else add_sums(total, sums)
    return with_text_metrics(program.objective, jax.device_get(total), rows)


def with_text_metrics(
    objective: PretrainingObjective[Any, Any], sums: Mapping[str, np.ndarray], rows: TokenRows
) -> dict[str, float | None]:
    """Return the metrics, with those of the text itself where the objective has any and the rows know of it."""
    metrics = objective.summarize(sums)
    if objective.text_metrics is None or rows.num_targets is None:
        return metrics
    text = rows.text_counts
    whole = text is not None and not text.changed_documents
    return metrics | objective.text_metrics(
        sums,
        num_targets=rows.num_targets,
        num_bytes=text.num_bytes if text is not None and whole else None,
        num_words=text.num_words if text is not None and whole else None,
    )
