"""Predictions: every row once and in its place, on any number of devices, with little padding."""

import jax
import numpy as np
import pytest

from electra_jax.config.machines import MeshConfig
from electra_jax.inference.batch_shapes import inference_buckets
from electra_jax.partitioning.mesh import batch_sharding, make_mesh
from electra_jax.tasks.batches import plan_batches, usable_buckets
from electra_jax.tasks.prediction import predict_rows
from electra_jax.tasks.protocol import Rows

PRIME = 97


def _rows(count=PRIME):
    rng = np.random.default_rng(0)
    ids = [rng.integers(1, 100, size, dtype=np.int32) for size in rng.integers(3, 60, count)]
    return Rows(ids, [np.zeros_like(row) for row in ids], {}, np.arange(count, dtype=np.int32))


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_a_prime_number_of_rows_counts_once_on_any_number_of_devices(devices):
    mesh = make_mesh(MeshConfig(), jax.devices()[:devices])
    shown = []

    def outputs(scale, batch):
        real = batch.inputs.segment_ids
        jax.debug.callback(lambda weights: shown.append(weights.sum()), batch.weights)
        return {"sum": scale * (batch.inputs.input_ids * real).sum(axis=1), "ids": batch.inputs.input_ids}

    rows, sharding = _rows(), batch_sharding(mesh)
    step = jax.jit(outputs, in_shardings=(None, sharding), out_shardings=sharding)
    found = predict_rows(step, mesh, 3, "", rows, batch_size=16, buckets=(8, 16, 32, 64), pad_id=0)
    jax.effects_barrier()
    assert sum(shown) == PRIME
    np.testing.assert_array_equal(found["sum"], [3 * row.sum() for row in rows.input_ids])
    assert found["ids"].shape == (PRIME, 64)
    for row, ids in zip(rows.input_ids, found["ids"], strict=True):
        np.testing.assert_array_equal(ids, np.pad(row, (0, 64 - len(row))))


def _padding(lengths, batch_size, buckets):
    plans = plan_batches(lengths, batch_size, buckets, rng=None)
    return 1 - lengths.sum() / sum(plan.length * len(plan.rows) for plan in plans)


def test_little_of_mixed_input_is_padding():
    """Sentences of about 25 tokens, paragraphs of about 150 and pages that are cut at 512, 1,000 of each."""
    rng = np.random.default_rng(0)
    lengths = np.concatenate(
        [rng.lognormal(np.log(m), s, 1000) for m, s in ((25, 0.5), (150, 0.5), (600, 0.7))]
    )
    lengths = lengths.clip(5, 512).astype(int)
    assert _padding(lengths, 32, usable_buckets(inference_buckets(), 512)) < 0.15
    assert _padding(lengths, 32, (512,)) > 0.5  # all filled up to the longest


@pytest.mark.shared_data
def test_little_of_real_texts_is_padding(shared):
    """Questions with contexts, titles and news, as many words as they have."""
    news = (shared / "data" / "ag_news" / "test.csv").read_text(encoding="utf-8").splitlines()
    words = [*news, *(shared / "data" / "glue" / "SST-2" / "train.tsv").read_text().splitlines()[1:7600]]
    words += (shared / "data" / "text" / "wikitext2.valid.raw").read_text(encoding="utf-8").splitlines()
    lengths = np.array([len(line.split()) + 2 for line in words]).clip(max=512)
    assert _padding(lengths, 32, usable_buckets(inference_buckets(), 512)) < 0.15
