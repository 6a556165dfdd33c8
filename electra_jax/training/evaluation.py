"""Held-out evaluation: every row once, the last batch filled up with padding that weighs nothing."""

from typing import Any

import jax
import numpy as np

from electra_jax.data.batches import eval_batches
from electra_jax.data.token_rows import TokenRows
from electra_jax.objectives.metrics import Sums, add
from electra_jax.training.program import Program


def evaluate(
    program: Program[Any], params: Any, rows: TokenRows, *, batch_size: int, pad_id: int, limit: int | None
) -> dict[str, float | None]:
    """Metrics over ``rows``, or over their first ``limit`` batches."""
    total: Sums | None = None
    host, hosts = program.share
    batches = eval_batches(rows, batch_size=batch_size, pad_id=pad_id, limit=limit, host=host, hosts=hosts)
    with program.on_mesh():
        for number, batch in enumerate(batches):
            sums = program.eval_step(params, program.put_batch(batch), np.int32(number))
            total = sums if total is None else add(total, sums)
    return program.objective.summarize(jax.device_get(total))
