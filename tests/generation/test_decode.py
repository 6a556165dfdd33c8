"""Greedy decoding and sampling: every row by itself, the same whatever is beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from trees import END, filters_for

from electra_jax.generation.decode import advance, begin, repeat_rows, row_keys, texts_of

VOCAB, LONGEST, MOST = 6, 5, 8
TABLE = np.random.default_rng(0).normal(size=(VOCAB, 3, VOCAB)).astype(np.float32)
TABLE[:, :, END] -= 1.0


def step(state, tokens):
    """A model of the last token and of how many there are: its state is a cache with a place for each row."""
    used = state["used"] + 1
    return jnp.asarray(TABLE)[tokens, used % 3], {"used": used}


def prompt_logits(prompts, lengths):
    last = jnp.take_along_axis(prompts, lengths[:, None] - 1, axis=1)[:, 0]
    return jnp.asarray(TABLE)[last, lengths % 3], {"used": lengths}


@jax.jit
def _write(prompts, lengths, limits, filters, keys):
    logits, state = prompt_logits(prompts, lengths)
    slots = prompts.shape[1] + MOST
    now = begin(logits, state, texts_of(prompts, lengths, limits, slots), filters, keys)
    return advance(now, step, filters, jnp.int32(MOST)).texts


def write(
    prompts, *, width=LONGEST, rows=None, numbers=None, limits=None, seed=None, place=lambda x: x, **of
):
    """The tokens that are written behind each prompt, and their log-probabilities; rows are filled up to ``rows``."""
    rows = rows or len(prompts)
    ids, lengths = np.full((rows, width), 1, np.int32), np.ones(rows, np.int32)
    most = np.zeros(rows, np.int32)
    for number, prompt in enumerate(prompts):
        ids[number, : len(prompt)], lengths[number] = prompt, len(prompt)
        most[number] = MOST if limits is None else limits[number]
    keys = None
    if seed is not None:
        own = np.arange(rows) if numbers is None else np.array([*numbers, *[0] * (rows - len(numbers))])
        keys = row_keys(jnp.int32(seed), jnp.asarray(own), jnp.zeros(rows, jnp.int32))
    texts = _write(
        *place((jnp.asarray(ids), jnp.asarray(lengths), jnp.asarray(most))), filters_for(VOCAB, **of), keys
    )
    tokens, used, log_probs = (np.asarray(a) for a in (texts.tokens, texts.used, texts.log_probs))
    return [
        (tokens[row, len(prompt) : used[row]].tolist(), log_probs[row, len(prompt) : used[row]].tolist())
        for row, prompt in enumerate(prompts)
    ]


def greedy_by_hand(prompt, most=MOST):
    text = []
    while len(text) < most and END not in text:
        said = [*prompt, *text]
        text.append(int(TABLE[said[-1], len(said) % 3].argmax()))
    return text


PROMPTS = [[1], [2, 3], [4, 5, 1], [3, 3, 2, 1, 5], [5, 4, 3, 2], [1, 1]]


def test_greedy_writes_the_likeliest_token_and_says_how_likely_it_was():
    for prompt, (text, log_probs) in zip(PROMPTS, write(PROMPTS), strict=True):
        assert text == greedy_by_hand(prompt)
        for number, (token, log_prob) in enumerate(zip(text, log_probs, strict=True)):
            said = [*prompt, *text[:number]]
            logits = TABLE[said[-1], len(said) % 3].astype(np.float64)
            assert log_prob == pytest.approx(logits[token] - np.log(np.exp(logits).sum()), abs=1e-5)


@pytest.mark.parametrize("seed", [None, 7])
def test_a_row_alone_is_the_row_in_any_batch(seed):
    """HF#30378, HF#22707, HF#18478, TransformerLens#1005: neither rows beside nor padding count."""
    whole = write(PROMPTS, seed=seed)
    for number, prompt in enumerate(PROMPTS):
        assert write([prompt], seed=seed, numbers=[number])[0] == whole[number]
    backwards = write(PROMPTS[::-1], seed=seed, numbers=[5, 4, 3, 2, 1, 0], width=9, rows=8)
    assert [text for text, _ in backwards[::-1]] == [text for text, _ in whole]


@pytest.mark.parametrize("seed", [None, 7])
def test_rows_on_several_devices_are_those_of_one(seed):
    def on(devices):
        mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
        return lambda arrays: jax.device_put(arrays, NamedSharding(mesh, PartitionSpec("data")))

    one = write(PROMPTS, rows=8, seed=seed)
    for devices in (2, 8):
        assert [t for t, _ in write(PROMPTS, rows=8, seed=seed, place=on(devices))] == [t for t, _ in one]


def test_texts_of_other_seeds_and_other_rows_are_others():
    texts = [text for text, _ in write([[1]] * 8, seed=1)]
    assert len({tuple(text) for text in texts}) > 4
    assert texts != [text for text, _ in write([[1]] * 8, seed=2)]


def test_the_end_is_written_and_nothing_behind_it():
    """C2C#19: the end was replaced by padding where the two differ."""
    for text, log_probs in write([[n % 5 + 1] for n in range(16)], seed=3):
        assert END not in text[:-1]
        assert len(text) == MOST or text[-1] == END
        assert len(log_probs) == len(text)


def test_rows_have_limits_of_their_own_and_a_limit_of_none_writes_nothing():
    found = write(PROMPTS, limits=[0, 1, 2, 3, 4, 5])
    assert [text for text, _ in found] == [greedy_by_hand(p, most) for most, p in enumerate(PROMPTS)]


def test_one_step_at_a_time_writes_what_one_loop_does():
    ids = jnp.asarray([[1, 1], [2, 3]], jnp.int32)
    lengths = jnp.asarray([1, 2])
    filters = filters_for(VOCAB)
    keys = row_keys(jnp.int32(5), jnp.arange(2), jnp.zeros(2, jnp.int32))
    logits, state = prompt_logits(ids, lengths)
    now = begin(logits, state, texts_of(ids, lengths, jnp.full(2, MOST), 2 + MOST), filters, keys)
    a_few = jax.jit(lambda now, until: advance(now, step, filters, until))
    for until in range(1, MOST + 1):
        now = a_few(now, jnp.int32(until))
        assert int(now.steps) <= until
    whole = write([[1], [2, 3]], seed=5)
    rows = zip(np.asarray(now.texts.tokens), np.asarray(now.texts.used), (1, 2), strict=True)
    assert [tokens[start:used].tolist() for tokens, used, start in rows] == [text for text, _ in whole]


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.integers(1, VOCAB - 1), min_size=1, max_size=LONGEST), min_size=1, max_size=6),
    st.integers(1, 3),
    st.integers(0, 100),
)
def test_no_ngram_is_written_twice(prompts, n, seed):
    found = write(prompts, rows=6, seed=seed, no_repeat_ngram=n)
    for prompt, (text, _) in zip(prompts, found, strict=True):
        said = [*prompt, *text]
        grams = [tuple(said[i : i + n]) for i in range(len(said) - n + 1)]
        new = grams[max(0, len(prompt) - n + 1) :]
        ended_for_lack = text and text[-1] == END  # the end is written, also where nothing else is left
        for number, gram in enumerate(new[:-1] if ended_for_lack else new):
            assert gram not in grams[: max(0, len(prompt) - n + 1) + number]


def test_rows_are_repeated_for_several_texts():
    found = repeat_rows({"a": jnp.arange(3), "b": jnp.ones((3, 2))}, 2)
    assert found["a"].tolist() == [0, 0, 1, 1, 2, 2]
    assert found["b"].shape == (6, 2)
