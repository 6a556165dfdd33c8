"""Evaluation does not run ahead of the devices."""

from contextlib import nullcontext
from types import SimpleNamespace

import jax
import jax.numpy as jnp
from toy import ToyRows, toy_rows

from electra_jax.data.host_share import HostShare
from electra_jax.training.evaluation import evaluate


def test_at_most_two_batches_are_under_way():
    """With more, devices that are CPU cores lock each other out: collectives of many programs share one thread pool."""
    dispatched = []

    @jax.jit
    def count(rows, square):
        """The sum of the tokens, after long work on what is zero."""
        zeros = jax.lax.fori_loop(0, 2000, lambda _, x: jnp.tanh(x @ x), square)
        return {"tokens": jnp.stack([rows.sum() + zeros.sum(), 1.0])}

    def eval_step(params, rows, number):
        assert number == len(dispatched)
        assert all(sums["tokens"].is_ready() for sums in dispatched[:-1])
        dispatched.append(count(rows, jnp.zeros((128, 128))))
        return dispatched[-1]

    program = SimpleNamespace(
        host_share=HostShare(),
        on_mesh=nullcontext,
        to_global_batch=jnp.asarray,
        eval_step=eval_step,
        objective=SimpleNamespace(
            text_metrics=None, summarize=lambda sums: {"tokens": float(sums["tokens"][0])}
        ),
    )
    rows = toy_rows(40)
    metrics = evaluate(program, None, ToyRows(rows), batch_size=8, pad_id=0, limit=None)
    assert len(dispatched) == 5
    assert metrics == {"tokens": float(rows.sum())}
