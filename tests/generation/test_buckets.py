"""Few shapes, and every prompt in one of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from electra_jax.generation.buckets import Buckets, row_sizes, sizes


def test_sizes_grow_to_the_most():
    assert sizes(512) == (16, 32, 48, 64, 80, 112, 144, 192, 256, 352, 480, 512)
    assert sizes(16) == (16,)
    assert sizes(5) == (5,)
    assert row_sizes(32, 1) == (1, 2, 4, 8, 16, 32)
    assert row_sizes(64, 8) == (1, 8, 16, 32, 64)
    assert row_sizes(3, 8) == (1, 8)
    assert row_sizes(19, 2) == (1, 2, 4, 8, 16, 18)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=40), st.integers(1, 80))
def test_every_prompt_is_in_one_batch_and_fits(lengths, new):
    buckets = Buckets(row_sizes(8, 2), sizes(64), sizes(64))
    batches = list(buckets.batches(lengths))
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[number] for number in batch)
        bucket = buckets.fitting(len(batch), longest, new)
        assert bucket.rows >= len(batch)
        assert longest <= bucket.length <= bucket.slots
        assert bucket.slots >= min(64, longest + new)


def test_a_million_prompts_have_no_more_shapes_than_there_are_buckets():
    buckets = Buckets(row_sizes(32, 1), sizes(512), sizes(512))
    lengths = np.random.default_rng(0).integers(1, 513, 1_000_000)
    shapes = {
        buckets.fitting(len(batch), max(lengths[n] for n in batch), 100)
        for batch in buckets.batches(lengths.tolist())
    }
    assert len(shapes) <= 2 * len(buckets.lengths)
