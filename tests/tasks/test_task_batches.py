"""Bucketed batches: every row once, in an order that is a function of seed and step."""

import hashlib
from itertools import islice

import numpy as np
import pytest

from electra_jax.tasks.batches import (
    BatchPlan,
    TrainingOrder,
    make_batch,
    plan_batches,
    usable_buckets,
)
from electra_jax.tasks.protocol import NO_TARGET, Rows

BUCKETS = (8, 16, 32)


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("count", [1, 7, 8, 97, 256])
def test_every_row_is_in_one_batch_that_is_long_enough(count, shuffled):
    rng = np.random.default_rng(count)
    lengths = rng.integers(1, 33, count)
    plans = plan_batches(lengths, 8, BUCKETS, rng if shuffled else None)
    rows = np.concatenate([plan.rows for plan in plans])
    assert sorted(rows[rows >= 0]) == list(range(count))
    assert len(plans) == -(-count // 8)
    for plan in plans:
        assert plan.length in BUCKETS
        assert lengths[plan.rows[plan.rows >= 0]].max() <= plan.length


def test_only_the_rest_of_a_bucket_is_filled_up_to_a_longer_one():
    lengths = np.random.default_rng(0).integers(1, 33, 500)
    for plan in plan_batches(lengths, 8, BUCKETS, np.random.default_rng(1)):
        shorter = max((bucket for bucket in BUCKETS if bucket < plan.length), default=0)
        fitting_a_shorter = lengths[plan.rows[plan.rows >= 0]] <= shorter
        assert fitting_a_shorter.sum() < 8


def _order(seed=3, weights=None, **lengths):
    lengths = {name: np.asarray(values) for name, values in lengths.items()}
    return TrainingOrder(lengths, 8, BUCKETS, seed, weights or {})


def _described(plans):
    return [(name, plan.length, plan.rows.tolist()) for name, plan in plans]


def test_an_epoch_has_every_row_once_and_the_next_another_order():
    order = _order(one=np.random.default_rng(0).integers(1, 33, 50))
    steps = order.steps_per_epoch
    assert steps == 7
    plans = _described(order.plans(0, 2 * steps))
    epochs = [[row for _, _, rows in part for row in rows if row >= 0] for part in (plans[:7], plans[7:])]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(50))
    assert epochs[0] != epochs[1]


def test_a_step_does_not_depend_on_where_one_starts():
    rng = np.random.default_rng(0)
    order = _order(one=rng.integers(1, 33, 50), two=rng.integers(1, 33, 23))
    whole = _described(order.plans(0, 40))
    for start in (1, 13, 39):
        assert _described(order.plans(start, 40)) == whole[start:]
    assert _described(_order(seed=4, **order.lengths).plans(0, 40)) != whole


def test_tasks_are_drawn_by_their_weights():
    lengths = {"small": np.full(16, 4), "large": np.full(1600, 4)}
    by_size = [name for name, _ in islice(_order(**lengths).plans(0, 4000), 4000)]
    assert 10 < by_size.count("small") < 80  # 1 of 101
    even = [name for name, _ in _order(**lengths, weights={"small": 1.0, "large": 1.0}).plans(0, 4000)]
    assert abs(even.count("small") - 2000) < 150


def test_arrays_of_a_batch():
    rows = Rows(
        input_ids=[np.array([2, 9, 3]), np.array([2, 9, 9, 9, 3])],
        token_type_ids=[np.array([0, 0, 0]), np.array([0, 0, 1, 1, 1])],
        targets={
            "label": np.array([4, 5]),
            "tags": [np.array([-100, 1, -100]), np.array([-100, 0, 1, 2, -100])],
        },
        example_index=np.array([0, 1]),
    )
    (plan,) = plan_batches(np.array([3, 5]), 4, BUCKETS, None)
    batch = make_batch("mine", rows, plan, pad_id=0, targets=True)
    assert batch.weights.tolist() == [1, 1, 0, 0]
    assert batch.inputs.input_ids[1].tolist() == [2, 9, 9, 9, 3, 0, 0, 0]
    assert batch.inputs.segment_ids.tolist() == [[1] * 3 + [0] * 5, [1] * 5 + [0] * 3, [0] * 8, [0] * 8]
    assert batch.inputs.token_type_ids[1].tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    assert batch.inputs.position_ids.tolist() == [list(range(8))] * 4
    assert batch.targets["label"].tolist() == [4, 5, 0, 0]
    assert batch.targets["tags"][0].tolist() == [NO_TARGET, 1] + [NO_TARGET] * 6
    assert (batch.targets["tags"][2:] == NO_TARGET).all()


def test_usable_buckets_end_with_the_longest_row_allowed():
    assert usable_buckets([32, 64, 128], 100) == (32, 64, 100)
    assert usable_buckets([32, 64, 128], 64) == (32, 64)
    assert usable_buckets([32, 64], 512) == (32, 64, 512)


def test_an_order_is_that_of_earlier_versions():
    """Rows without a text to write are in the batches that they were in before there were any, at commit a7f9c5c."""
    rng = np.random.default_rng(0)
    order = _order(
        one=rng.integers(1, 33, 50), two=rng.integers(1, 33, 23), weights={"two": 2.0, "one": None}
    )
    described = hashlib.sha256()
    for name, length, rows in _described(order.plans(2, 60)):
        described.update(f"{name} {length} {rows}\n".encode())
    assert described.hexdigest() == "3573a1fdaa6cb0dc160951d9caf2978e59fb175cb0d56450512e5c5e2d598845"


def _order_by_tokens(batch_tokens=256, count=103, seed=3):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 33, count)
    targets = np.minimum(rng.integers(1, 5, count) + lengths // 2, 19)
    targets[7] = 37  # one that is far longer than those beside it
    more = {"target_lengths": {"one": targets}, "batch_tokens": batch_tokens}
    return TrainingOrder({"one": lengths}, 4, BUCKETS, seed, {}, **more)


@pytest.mark.parametrize("batch_tokens", [None, 10, 256, 4096])
def test_batches_of_tokens_have_every_row_once_an_epoch_and_room_for_its_target(batch_tokens):
    order = _order_by_tokens(batch_tokens)
    steps = order.steps_per_epoch
    plans = [plan for _, plan in order.plans(0, 2 * steps)]
    orders = []
    for epoch in (plans[:steps], plans[steps:]):
        rows = np.concatenate([plan.rows for plan in epoch])
        assert sorted(rows[rows >= 0]) == list(range(103))
        assert (rows < 0).sum() < max(len(plan.rows) for plan in epoch)
        orders.append(rows.tolist())
    assert orders[0] != orders[1]
    shapes = {(plan.length, plan.target_length) for plan in plans}
    assert len(shapes) <= len(BUCKETS)
    for plan in plans:
        real = plan.rows[plan.rows >= 0]
        assert order.lengths["one"][real].max() <= plan.length
        assert order.target_lengths["one"][real].max() <= plan.target_length
        assert plan.target_length % 8 == 0
        tokens = plan.length + plan.target_length
        rows = 4 if batch_tokens is None else max(4, batch_tokens // tokens // 4 * 4)
        assert len(plan.rows) == rows


def test_one_long_target_does_not_lengthen_the_batches_of_short_rows():
    order = _order_by_tokens(count=400)
    order.lengths["one"][7] = 3
    by_length = {plan.length: plan.target_length for _, plan in order.plans(0, order.steps_per_epoch)}
    assert by_length[8] == 8 < by_length[32] == 40
    (length,) = {plan.length for _, plan in order.plans(0, order.steps_per_epoch) if 7 in plan.rows}
    assert length == 32


def test_a_step_of_batches_of_tokens_does_not_depend_on_where_one_starts():
    order = _order_by_tokens()
    whole = _described(order.plans(0, 60))
    for start in (1, 31, 59):
        assert _described(order.plans(start, 60)) == whole[start:]
    assert _described(_order_by_tokens(seed=4).plans(0, 60)) != whole


def test_arrays_of_a_batch_with_texts_to_write():
    rows = Rows(
        input_ids=[np.array([2, 9, 3]), np.array([2, 9, 9, 9, 3])],
        token_type_ids=[np.zeros(3), np.zeros(5)],
        targets={},
        example_index=np.array([0, 1]),
        target_ids=[np.array([7, 7, 3]), np.array([3])],
    )
    plan = BatchPlan(8, np.array([1, 0, -1]), 4)
    batch = make_batch("mine", rows, plan, pad_id=0, targets=True)
    none = NO_TARGET
    assert batch.targets["target_ids"].tolist() == [[3, none, none, none], [7, 7, 3, none], [none] * 4]
    assert batch.weights.tolist() == [1, 3, 0]  # as many as there are tokens
    assert batch.numbers.tolist() == [1, 0, 0]
    predicted = make_batch("mine", rows, plan, pad_id=0, targets=False)
    assert predicted.targets == {}
    assert predicted.weights.tolist() == [1, 1, 0]
