"""Each filter against NumPy: what is left, and how often it is drawn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from trees import filters_for, softmax

from electra_jax.generation.decode import begin, row_keys, texts_of
from electra_jax.generation.filters import (
    NEVER,
    banned,
    filter_logits,
    min_p,
    repeated_ngrams,
    source_ngrams,
    top_k,
    top_p,
    typical_p,
)

VOCAB = 12
LOGITS = np.random.default_rng(3).normal(size=(4, VOCAB)).astype(np.float32) * 2
LOGITS[1, 4] = LOGITS[1, 7] = LOGITS[1].max() + 1  # the two best are equal
LOGITS[2] = 0.0  # all are equal


filtered = jax.jit(filter_logits)


def left(logits):
    return np.asarray(logits) > NEVER / 2


def kept_by_order(order, probabilities, p):
    """The first by ``order`` and id, while the mass before them is below p; in NumPy, in double precision."""
    kept = np.zeros(order.shape, bool)
    for row in range(len(order)):
        mass = 0.0
        for token in np.lexsort((np.arange(order.shape[1]), order[row].astype(np.float32))):
            if mass >= p - 1e-6 and kept[row].any():
                break
            kept[row, token] = True
            mass += probabilities[row, token]
    return kept


def numpy_top_k(logits, k):
    ranks = np.argsort(np.argsort(-logits, axis=-1, kind="stable"), axis=-1, kind="stable")
    return ranks < k


def numpy_min_p(logits, p):
    probabilities = softmax(logits)
    return probabilities >= p * probabilities.max(-1, keepdims=True) * (1 - 1e-6)


def numpy_top_p(logits, p):
    return kept_by_order(-logits, softmax(logits), p)


def numpy_typical_p(logits, p):
    probabilities = softmax(logits)
    surprise = -np.log(probabilities)
    entropy = (probabilities * surprise).sum(-1, keepdims=True)
    return kept_by_order(np.round(abs(surprise - entropy), 5), probabilities, p)


CASES = [
    ("top_k", 1, numpy_top_k),
    ("top_k", 3, numpy_top_k),
    ("top_p", 0.3, numpy_top_p),
    ("top_p", 0.9, numpy_top_p),
    ("min_p", 0.1, numpy_min_p),
    ("min_p", 1.0, numpy_min_p),
    ("typical_p", 0.4, numpy_typical_p),
    ("typical_p", 0.95, numpy_typical_p),
]


@pytest.mark.parametrize(("name", "value", "expected"), CASES, ids=[f"{c[0]}={c[1]}" for c in CASES])
def test_what_is_left_and_how_often_it_is_drawn(name, value, expected):
    """Supports are equal exactly, and 20,000 draws are of the distribution: chi squared at p > 0.001."""
    filters = filters_for(VOCAB, temperature=jnp.float32(0.7))
    filters = dataclasses.replace(filters, **{name: value if name == "top_k" else jnp.float32(value)})
    scaled = LOGITS / np.float32(0.7)
    kept = expected(scaled, value)
    draws = _drawn(filters, rows=4, each=5000)
    for row in range(4):
        probabilities = softmax(np.where(kept[row], scaled[row], NEVER))
        counts = np.bincount(draws[row], minlength=VOCAB)
        assert (counts[~kept[row]] == 0).all()
        often = probabilities * 5000 > 5
        chi = (((counts - 5000 * probabilities) ** 2)[often] / (5000 * probabilities[often])).sum()
        assert chi < CHI_999[max(1, often.sum() - 1)]
    tokens, used = jnp.zeros((4, 1), jnp.int32), jnp.ones(4, jnp.int32)
    np.testing.assert_array_equal(left(filtered(filters, LOGITS, tokens, used, jnp.int32(0))), kept)


# The 0.999 quantiles of chi squared, by degrees of freedom.
CHI_999 = {
    1: 10.8,
    2: 13.8,
    3: 16.3,
    4: 18.5,
    5: 20.5,
    6: 22.5,
    7: 24.3,
    8: 26.1,
    9: 27.9,
    10: 29.6,
    11: 31.3,
}


@jax.jit
def _first_tokens(filters, logits, keys):
    rows = logits.shape[0]
    prompts = jnp.zeros((rows, 1), jnp.int32)
    texts = texts_of(prompts, jnp.ones(rows), jnp.full(rows, 1), 2)
    return begin(logits, {}, texts, filters, keys).latest


def _drawn(filters, rows, each):
    """Tokens [rows, each]; every draw is a row with a number of its own."""
    logits = jnp.repeat(LOGITS[:rows], each, axis=0)
    numbers = jnp.tile(jnp.arange(each), rows)
    keys = row_keys(jnp.int32(1), jnp.repeat(jnp.arange(rows), each), numbers)
    return np.asarray(_first_tokens(filters, logits, keys)).reshape(rows, each)


def test_top_k_keeps_the_k_largest():
    """mistral.rs#1316: the mask was inverted."""
    assert left(top_k(jnp.asarray([[0.0, 3.0, 1.0, 2.0]]), 2)).tolist() == [[False, True, False, True]]


def test_of_equal_logits_the_first_ids_are_kept():
    assert left(top_k(jnp.zeros((1, 5)), 2)).tolist() == [[True, True, False, False, False]]
    assert left(top_p(jnp.zeros((1, 5)), jnp.float32(0.4))).tolist() == [[True, True, False, False, False]]


def test_top_p_keeps_no_token_more_when_the_sum_is_p_exactly():
    """HF#18976."""
    logits = jnp.log(jnp.asarray([[0.5, 0.25, 0.125, 0.125]]))
    for p, count in ((0.5, 1), (0.75, 2), (0.875, 3), (0.76, 3)):
        assert left(top_p(logits, jnp.float32(p))).sum() == count, p
    tenths = jnp.log(jnp.asarray([[0.4, 0.3, 0.2, 0.1]]))
    for p, count in ((0.4, 1), (0.7, 2), (0.9, 3)):
        assert left(top_p(tenths, jnp.float32(p))).sum() == count, p


@pytest.mark.parametrize("p", [1e-3, 1e-8, 1e-30])
def test_a_very_small_p_keeps_the_likeliest_token(p):
    """mlx-lm#1912: 1 - p was 1, and everything was masked."""
    best = np.eye(VOCAB, dtype=bool)[LOGITS.argmax(-1)]
    np.testing.assert_array_equal(left(top_p(jnp.asarray(LOGITS), jnp.float32(p))), best)
    assert (left(typical_p(jnp.asarray(LOGITS), jnp.float32(p))).sum(-1) == 1).all()
    assert left(min_p(jnp.asarray(LOGITS), jnp.float32(p))).any(-1).all()
    half = jnp.asarray(LOGITS, jnp.bfloat16)
    filters = filters_for(VOCAB, top_p=jnp.float32(p))
    tokens, used = jnp.zeros((4, 1), jnp.int32), jnp.ones(4, jnp.int32)
    assert (left(filtered(filters, half, tokens, used, jnp.int32(0))).sum(-1) == 1).all()


@pytest.mark.parametrize("bad", [np.nan, -np.inf, NEVER])
def test_where_nothing_is_left_the_text_ends(bad):
    """HF#21435, metaseq#674: all logits -inf made probabilities NaN, and the draw crashed or was noise."""
    filters = filters_for(VOCAB, top_p=jnp.float32(0.9), temperature=jnp.float32(0.1))
    logits = jnp.full((3, VOCAB), bad, jnp.float32)
    tokens, used = jnp.zeros((3, 1), jnp.int32), jnp.ones(3, jnp.int32)
    assert left(filtered(filters, logits, tokens, used, jnp.int32(0))).sum(-1).tolist() == [1, 1, 1]
    drawn = _first_tokens(filters, logits, row_keys(jnp.int32(0), jnp.arange(3), jnp.zeros(3, jnp.int32)))
    assert drawn.tolist() == [0, 0, 0]
    all_banned = filters_for(VOCAB, bans=jnp.arange(1, VOCAB)[:, None], min_new_tokens=jnp.int32(9))
    found = left(filtered(all_banned, jnp.asarray(LOGITS[:3]), tokens, used, jnp.int32(0)))
    assert (found == (np.arange(VOCAB) == 0)).all()
    for temperature in (2.5, 50.0, 1.9, 0.1):
        hot = dataclasses.replace(all_banned, temperature=jnp.float32(temperature))
        assert (left(filtered(hot, jnp.asarray(LOGITS[:3]), tokens, used, jnp.int32(0))) == found).all()
        some = filters_for(VOCAB, can_end=False, temperature=jnp.float32(temperature))
        scaled = filtered(some, jnp.asarray(LOGITS[:3]), tokens, used, jnp.int32(0))
        expected = np.where(np.arange(VOCAB) == 0, NEVER, LOGITS[:3] / np.float32(temperature))
        np.testing.assert_allclose(scaled, expected, rtol=1e-6)


def test_infinite_and_missing_logits_are_no_trouble_beside_others():
    logits = jnp.asarray([[np.inf, 1.0, 2.0], [np.nan, 1.0, 2.0], [-np.inf, 1.0, 2.0]])
    tokens, used = jnp.zeros((3, 1), jnp.int32), jnp.ones(3, jnp.int32)
    found = filtered(filters_for(3, typical_p=jnp.float32(0.9)), logits, tokens, used, jnp.int32(0))
    assert np.isfinite(found).all()
    assert not left(found)[1:, 0].any()


def test_no_end_before_the_least_number_of_tokens():
    filters = filters_for(VOCAB, min_new_tokens=jnp.int32(2))
    tokens, used = jnp.zeros((4, 8), jnp.int32), jnp.full(4, 3)
    can_end = [left(filtered(filters, LOGITS, tokens, used, jnp.int32(n)))[:, 0].all() for n in range(4)]
    assert can_end == [False, False, True, True]


def test_what_is_forced_is_written_whatever_else_is_said():
    filters = filters_for(
        VOCAB, forced=jnp.asarray([5, 5, 5]), no_repeat_ngram=1, bans=jnp.asarray([[5]]), top_k=1
    )
    tokens, used = jnp.full((4, 8), 5, jnp.int32), jnp.full(4, 3)
    for number in range(3):
        found = left(filtered(filters, LOGITS, tokens, used, jnp.int32(number)))
        assert (found == (np.arange(VOCAB) == 5)).all()
    assert not left(filtered(filters, LOGITS, tokens, used, jnp.int32(3)))[:, 5].any()


def test_a_run_of_banned_tokens_is_stopped_at_its_last():
    tokens = jnp.asarray([[3, 4, 9, 9], [4, 3, 9, 9], [9, 3, 4, 9]])
    used = jnp.asarray([2, 2, 3])
    bans = jnp.asarray([[-1, -1, 7], [-1, 4, 3], [3, 4, 5]])
    found = np.asarray(banned(bans, tokens, used, VOCAB))
    assert [np.flatnonzero(row).tolist() for row in found] == [[3, 5, 7], [7], [3, 5, 7]]


def test_repetition_is_penalized_by_what_a_row_has_and_by_nothing_behind_it():
    filters = filters_for(4, repetition_penalty=jnp.float32(2.0))
    logits = jnp.asarray([[1.0, -1.0, 4.0, -4.0]] * 2)
    tokens = jnp.asarray([[1, 2, 3], [0, -1, -1]])
    found = np.asarray(filtered(filters, logits, tokens, jnp.asarray([2, 1]), jnp.int32(0)))
    assert found.tolist() == [[1.0, -2.0, 2.0, -4.0], [0.5, -1.0, 4.0, -4.0]]


def test_ngrams_of_ragged_rows():
    tokens = jnp.asarray([[1, 2, 3, 1, 2, 0], [1, 2, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [2, 2, 2, 2, 2, 2]])
    used = jnp.asarray([5, 3, 1, 6])
    found = {
        n: [np.flatnonzero(row).tolist() for row in np.asarray(repeated_ngrams(tokens, used, n, 5))]
        for n in (1, 2, 3, 7)
    }
    assert found[1] == [[1, 2, 3], [1, 2], [1], [2]]
    assert found[2] == [[3], [2], [], [2]]
    assert found[3] == [[3], [], [], [2]]
    assert found[7] == [[], [], [], []]


def test_runs_of_the_source_are_found():
    source = jnp.asarray([[1, 2, 3, 1, 4, -1], [2, 2, -1, -1, -1, -1], [3, 1, -1, 2, 3, 4]])
    tokens, used = jnp.asarray([[0, 2, 3, 9], [2, 9, 9, 9], [0, 3, 1, 2]]), jnp.asarray([3, 1, 4])
    found = {
        n: [np.flatnonzero(row).tolist() for row in np.asarray(source_ngrams(source, tokens, used, n, 5))]
        for n in (1, 2, 3, 7)
    }
    assert found[1] == [[1, 2, 3, 4], [2], [1, 2, 3, 4]]
    assert found[2] == [[1], [2], [3]]
    # The text of the third row goes on where the source has nothing: no run crosses that.
    assert found[3] == [[1], [], []]
    assert found[7] == [[], [], []]


@pytest.mark.parametrize("temperature", [1e-9, 1e-46])
def test_hardly_any_temperature_is_greedy_and_writes_nothing_that_is_never_written(temperature):
    below = LOGITS[:1] - 40.0
    filters = filters_for(VOCAB, can_end=False, temperature=jnp.float32(temperature), top_p=jnp.float32(0.9))
    found = filtered(filters, jnp.asarray(below), jnp.zeros((1, 4), jnp.int32), jnp.ones(1, jnp.int32), 1)
    best = 1 + np.argmax(below[0, 1:])
    np.testing.assert_array_equal(left(found)[0], np.arange(VOCAB) == best)
