"""Refining with networks that are tables: what is kept, what is masked again, and when it ends."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from electra_jax.config.generation import RefineConfig
from electra_jax.generation.decode import row_keys
from electra_jax.generation.refine import Gaps, num_masked_again, refine
from electra_jax.objectives.sampling import sample_by_inverse_cdf

MASK, VOCAB, LENGTH, ROWS = 1, 8, 12, 8
FIRST = 2  # ids below it are never proposed
TRUTH = jnp.asarray(np.random.default_rng(0).integers(FIRST, VOCAB, (64, LENGTH)), jnp.int32)
TABLE = jnp.asarray(np.random.default_rng(1).normal(size=(VOCAB, VOCAB, VOCAB)), jnp.float32)


def by_neighbours(ids, positions):
    """A generator whose logits depend on both neighbours of a position."""
    beside = jnp.pad(ids, ((0, 0), (1, 1)))
    left = jnp.take_along_axis(beside, positions, axis=1)
    right = jnp.take_along_axis(beside, positions + 2, axis=1)
    return jnp.where(jnp.arange(VOCAB) < FIRST, -1e9, TABLE[left, right])


def uniform(ids, positions):
    """A generator that knows nothing."""
    logits = jnp.where(jnp.arange(VOCAB) < FIRST, -1e9, 0.0)
    return jnp.broadcast_to(logits, (*positions.shape, VOCAB))


def moody(ids):
    """A critic whose doubts depend on a token, its neighbour and nothing else."""
    return 3.0 * jnp.sin(ids * 7.0 + jnp.pad(ids, ((0, 0), (1, 0)))[:, :-1] * 3.0)


def oracle(ids):
    """A critic that knows the first column's row of the truth, which is the row's number."""
    wrong = ids != TRUTH[ids[:, 0] - 100].at[:, 0].set(ids[:, 0])
    return jnp.where(wrong, 8.0, -8.0)


def rows_of(numbers, slots=LENGTH, extra=0, gap=0.5):
    """Rows that begin with 100 + their number; every other token may change, and some are gaps."""
    numbers = np.asarray(numbers)
    ids = np.asarray(TRUTH)[numbers]
    ids[:, 0] = 100 + numbers
    may = np.zeros(ids.shape, bool)
    for row, number in enumerate(numbers):
        may[row, 1:] = np.random.default_rng([2, number]).random(LENGTH - 1) < gap
        may[row, 1] = True
    positions, usable = np.zeros((len(ids), slots), np.int32), np.zeros((len(ids), slots), bool)
    for row, places in enumerate(map(np.flatnonzero, may)):
        positions[row, : len(places)], usable[row, : len(places)] = places, True
    ids = np.pad(np.where(may, MASK, ids), ((0, 0), (0, extra)))
    text = np.arange(LENGTH + extra) < LENGTH
    keys = row_keys(3, numbers, np.zeros_like(numbers))
    return Gaps(*map(jnp.asarray, (ids, np.tile(text, (len(ids), 1)), positions, usable)), keys)


@functools.partial(jax.jit, static_argnames=("propose", "judge", "settings", "draft"))
def _run(gaps, propose, judge, settings, draft):
    return refine(gaps, propose, judge, sample_by_inverse_cdf, settings, mask_id=MASK, draft=draft)


def run(gaps, propose=by_neighbours, judge=moody, draft=False, **settings):
    found = _run(gaps, propose, judge, RefineConfig(**{"steps": 6, "threshold": 0.5, **settings}), draft)
    return jax.tree.map(np.asarray, found)


@pytest.mark.parametrize("keep", ["discriminator", "confidence", "random"])
def test_given_tokens_are_never_touched_and_no_gap_is_left(keep):
    gaps = rows_of(range(ROWS))
    found = run(gaps, keep=keep, threshold=0.0)
    given = np.asarray(gaps.ids) != MASK
    np.testing.assert_array_equal(found.ids[given], np.asarray(gaps.ids)[given])
    assert found.ids.min() >= FIRST
    assert (found.passes == 6).all()
    np.testing.assert_allclose(found.replaced, jax.nn.sigmoid(moody(found.ids)), rtol=1e-5)
    expected = jnp.log1p(-jax.nn.sigmoid(moody(found.ids))).mean(axis=1)
    np.testing.assert_allclose(found.trace[:, -1], expected, rtol=1e-4)


def test_an_oracle_restores_gaps_and_its_word_only_gets_better():
    gaps = rows_of(range(ROWS))
    found = run(gaps, uniform, oracle, steps=200)
    np.testing.assert_array_equal(found.ids[:, 1:], np.asarray(TRUTH)[:ROWS, 1:])
    for row, passes in enumerate(found.passes):
        assert 1 <= passes < 200  # it ends when the critic is content
        trace = found.trace[row, :passes]
        assert (np.diff(trace) >= 0).all()
        assert not found.trace[row, passes:].any()


def test_an_oracle_restores_a_corrupted_draft_and_leaves_the_rest():
    gaps = rows_of(range(ROWS), gap=2.0)
    ids = np.asarray(TRUTH)[:ROWS].copy()
    ids[:, 0] = 100 + np.arange(ROWS)
    ids[:, 4] = FIRST + (ids[:, 4] - FIRST + 1) % (VOCAB - FIRST)
    ids[0] = np.asarray(TRUTH)[0]
    ids[0, 0] = 100
    found = run(gaps.replace(ids=jnp.asarray(ids)), uniform, oracle, draft=True, steps=200)
    np.testing.assert_array_equal(found.ids[:, 1:], np.asarray(TRUTH)[:ROWS, 1:])
    assert found.passes[0] == 0  # nothing was doubted
    assert (found.passes[1:] > 0).all()
    assert found.trace.shape == (ROWS, 201)
    assert (found.trace[1:, 0] < found.trace[0, 0]).all()


def test_a_row_is_the_same_in_any_batch_of_any_width():
    alone = {number: run(rows_of([number])) for number in (5, 3)}
    batch = run(rows_of([9, 3, 11, 5], slots=LENGTH + 4, extra=3))
    for number, row in ((3, 1), (5, 3)):
        np.testing.assert_array_equal(batch.ids[row, :LENGTH], alone[number].ids[0])
        np.testing.assert_array_equal(batch.trace[row], alone[number].trace[0])
        assert batch.passes[row] == alone[number].passes[0]


def test_one_device_is_eight():
    gaps = rows_of(range(ROWS))
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    spread = jax.device_put(gaps, NamedSharding(mesh, PartitionSpec("rows")))
    for one, eight in zip(jax.tree.leaves(run(gaps)), jax.tree.leaves(run(spread)), strict=True):
        np.testing.assert_array_equal(one, eight)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_least_confidence_is_mask_predict_spelt_out(schedule):
    gaps = rows_of(range(ROWS))
    found = run(gaps, keep="confidence", temperature=0.0, threshold=0.0, schedule=schedule)
    for row in range(ROWS):
        ids = np.asarray(gaps.ids)[row].copy()
        places = np.flatnonzero(ids == MASK)
        masked, sure = list(places), {}
        for done in range(1, 7):
            ids[masked] = MASK
            logits = np.asarray(by_neighbours(ids[None], np.array([masked])))[0]
            log_p = np.asarray(jax.nn.log_softmax(logits))
            ids[masked] = log_p.argmax(axis=1)
            sure |= dict(zip(masked, log_p.max(axis=1)))
            left = 1 - done / 6 if schedule == "linear" else np.cos(np.pi / 2 * done / 6)
            masked = sorted(places, key=sure.__getitem__)[: int(np.ceil(len(places) * left - 1e-4))]
        np.testing.assert_array_equal(found.ids[row], ids)


def test_only_doubted_tokens_are_masked_again():
    gaps = rows_of(range(ROWS))
    first = run(gaps, steps=2, threshold=1.0)  # which nothing reaches: every row ends after its first pass
    assert (first.passes == 1).all()
    second = run(gaps, steps=2)
    doubted = jax.nn.sigmoid(moody(first.ids)) > 0.5
    changed = first.ids != second.ids
    assert changed.any()
    assert not (changed & ~np.asarray(doubted)).any()


def test_tokens_are_drawn_from_the_generators_distribution():
    gaps = rows_of(np.arange(2000) % 1)
    numbers = np.arange(2000)
    gaps = gaps.replace(keys=row_keys(0, numbers, numbers % 2))
    found = run(gaps, lonely, steps=1, temperature=2.0)
    drawn = found.ids[:, 1]  # usable in every row
    expected = np.asarray(jax.nn.softmax(LONELY / 2.0)) * 2000
    counts = np.bincount(drawn, minlength=VOCAB)
    assert counts[:FIRST].sum() == 0
    chi_squared = ((counts - expected)[FIRST:] ** 2 / expected[FIRST:]).sum()
    assert chi_squared < 20.5  # the 99.9 % quantile at 5 degrees of freedom


LONELY = jnp.where(jnp.arange(VOCAB) < FIRST, -1e9, jnp.arange(VOCAB) * 0.6)


def lonely(ids, positions):
    return jnp.broadcast_to(LONELY, (*positions.shape, VOCAB))


def test_the_number_masked_again():
    budget = jnp.array([10, 3, 0])
    linear = [num_masked_again(budget, jnp.array(done), 10, "linear").tolist() for done in range(11)]
    assert [row[0] for row in linear] == list(range(10, -1, -1))
    assert [row[1] for row in linear] == [3, 3, 3, 3, 2, 2, 2, 1, 1, 1, 0]
    assert {row[2] for row in linear} == {0}
    cosine = [num_masked_again(budget, jnp.array(done), 4, "cosine").tolist()[0] for done in range(5)]
    assert cosine == [10, 10, 8, 4, 0]
