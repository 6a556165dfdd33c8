"""Beams against every text there is, and against a beam search in plain Python."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from trees import END, Trees, filters_for, first_texts

from electra_jax.generation.beam import beam_search
from electra_jax.generation.decode import advance, begin, texts_of
from electra_jax.generation.settings import BeamRule

VOCAB, MOST, ROWS = 4, 4, 12
ENOUGH = VOCAB ** (MOST - 1)
PROMPTS = np.array([1 + row % 3 for row in range(ROWS)])
SLOTS = 8
TREES = Trees(ROWS, VOCAB, MOST)
ALPHAS = (0.0, 0.6, 1.0, 2.0, -1.0)


def _texts(limits=MOST):
    ids = np.random.default_rng(5).integers(1, VOCAB, (ROWS, 3))
    return texts_of(
        jnp.asarray(ids, jnp.int32), jnp.asarray(PROMPTS), jnp.broadcast_to(jnp.int32(limits), ROWS), SLOTS
    )


def rule(alpha=1.0, beams=ENOUGH, n_best=None, *, norm="mean", stop="exact"):
    return BeamRule(jnp.float32(alpha), beams, beams if n_best is None else n_best, norm, stop)


@jax.jit
def _search(tables, texts, filters, of):
    _, state = TREES.start()
    return beam_search(tables[:, 0], state, texts, lambda s, t: TREES.step(s, t, tables), filters, of)


def search(of, *, limits=MOST, least=0, can_end=True, trees=TREES, **given):
    filters = filters_for(VOCAB, can_end=can_end, min_new_tokens=jnp.int32(least), **given)
    return first_texts(_search(jnp.asarray(trees.tables), _texts(limits), filters, of), PROMPTS)


def divided(length, alpha, norm):
    return ((5 + length) / 6 if norm == "gnmt" else length) ** alpha


def assert_same(found, expected):
    """The same texts in the same order, with the same scores."""
    assert [text for text, _ in found] == [text for text, _ in expected]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in expected], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("norm", ["mean", "gnmt"])
@pytest.mark.parametrize(("least", "most"), [(0, MOST), (3, MOST), (0, 3), (0, 1)])
def test_with_enough_beams_the_best_texts_of_all_are_found(norm, least, most):
    for alpha in ALPHAS:
        found = search(rule(alpha, norm=norm, n_best=6), limits=most, least=least)
        for row in range(ROWS):
            every = [
                (text, total / divided(len(text), alpha, norm))
                for text, total in TREES.all_texts(row, least, most)
            ]
            every.sort(key=lambda pair: -pair[1])
            assert_same(found[row][:6], every[:6])


def test_without_an_end_all_texts_are_as_long_as_they_may_be():
    found = search(rule(0.6, n_best=4), can_end=False)
    for row in range(ROWS):
        every = [(t, s / MOST**0.6) for t, s in TREES.all_texts(row, 0, MOST, can_end=False)]
        assert_same(found[row][:4], sorted(every, key=lambda pair: -pair[1])[:4])


def test_a_text_that_ends_at_once_has_length_one():
    trees = Trees(ROWS, VOCAB, MOST)
    trees.tables[:, 0] = [30.0, 0.0, 0.0, 0.0]
    for stop in ("exact", "first", "huggingface"):
        found = search(rule(1.0, beams=2, n_best=1, stop=stop), trees=trees)
        assert {row[0][0] for row in found} == {(END,)}


def python_beam(row, beams, alpha, norm, least, most, stop, n_best, *, trees=TREES, ends=(END,)):
    """Beam search with lists: Hugging Face's candidates, three rules of ending."""
    live, done = [((), 0.0)], []
    for length in range(1, most + 1):
        candidates = []
        for text, total in live:
            for token, log_prob in enumerate(trees.log_probs(row, text)):
                if token not in ends or length > least:
                    candidates.append(((*text, token), total + log_prob))
        candidates.sort(key=lambda pair: -pair[1])
        is_full = stop == "first" and len(done) == beams
        for text, total in candidates[:beams]:
            if (text[-1] in ends or length == most) and not is_full:
                done.append((text, total / divided(length, alpha, norm)))
                done = sorted(done, key=lambda pair: -pair[1])[:beams]
        live = [pair for pair in candidates if pair[0][-1] not in ends][:beams]
        if not live or length == most:
            break
        if stop == "first" and len(done) == beams:
            break
        bounds = {"exact": range(length + 1, most + 1), "huggingface": (length,)}.get(stop, ())
        reachable = [live[0][1] / divided(at, alpha, norm) for at in bounds]
        needed = beams if stop == "huggingface" else n_best
        if reachable and len(done) >= needed and max(reachable) <= done[needed - 1][1]:
            break
    return done


@pytest.mark.parametrize("beams", [1, 2, 3, 4, 5, 8])
def test_a_beam_search_in_plain_python_finds_the_same(beams):
    for alpha in ALPHAS:
        for least in (0, 2):
            found = search(rule(alpha, beams), least=least)
            for row in range(ROWS):
                assert_same(found[row], python_beam(row, beams, alpha, "mean", least, MOST, "exact", beams))


@pytest.mark.parametrize("stop", ["first", "huggingface"])
def test_searches_that_end_early_are_those_of_plain_python(stop):
    for alpha in ALPHAS:
        found = search(rule(alpha, 3, stop=stop))
        for row in range(ROWS):
            assert_same(found[row], python_beam(row, 3, alpha, "mean", 0, MOST, stop, 3))


@jax.jit
def _greedy(tables, texts, filters):
    _, state = TREES.start()
    now = begin(tables[:, 0], state, texts, filters)
    return advance(now, lambda s, t: TREES.step(s, t, tables), filters, jnp.int32(MOST)).texts


def greedy(filters):
    texts = _greedy(jnp.asarray(TREES.tables), _texts(), filters)
    tokens, used = np.asarray(texts.tokens), np.asarray(texts.used)
    sums = np.asarray(texts.log_probs).sum(1)
    return [
        (tuple(tokens[row, start : used[row]].tolist()), float(sums[row]))
        for row, start in enumerate(PROMPTS)
    ]


def test_one_beam_is_greedy():
    found, written = search(rule(0.0, 1)), greedy(filters_for(VOCAB))
    for row in range(ROWS):
        assert_same(found[row], [written[row]])


def test_all_there_is_never_scores_below_greedy():
    for alpha in ALPHAS:
        found = search(rule(alpha, n_best=1))
        for (text, total), beams in zip(greedy(filters_for(VOCAB)), found, strict=True):
            assert beams[0][1] >= total / len(text) ** alpha - 1e-5


# The bugs of other decoders, each by its name.


def test_scores_are_divided_by_the_length_of_the_text_without_the_prompt():
    """HF#26624, HF#25455: with the prompt, or padding, counted in, shorter texts win."""
    found = search(rule(1.0, 4))
    for row in range(ROWS):
        text, score = found[row][0]
        total = sum(TREES.log_probs(row, text[:i])[token] for i, token in enumerate(text))
        assert score == pytest.approx(total / len(text), abs=2e-5)  # the end is counted: HF#8890


def test_the_best_text_does_not_depend_on_how_many_are_wanted():
    """OpenNMT-py#1320, HF#20901: a search that ends by its own bound ends too early for one sign of the penalty."""
    for alpha in ALPHAS:
        best = [row[0] for row in search(rule(alpha, 4, n_best=1))]
        for n_best in (2, 4):
            for one, more in zip(best, search(rule(alpha, 4, n_best=n_best)), strict=True):
                assert_same([one], more[:1])


def test_a_longer_text_that_wins_is_waited_for():
    """OpenNMT-py#1320, xnmt#572, HF#21993: the first text that ends is not the best one where length pays."""
    trees = Trees(ROWS, VOCAB, MOST)
    trees.tables[:] = [-9.0, 9.0, -9.0, -9.0]  # on and on
    trees.tables[:, 0] = [1.0, 0.9, -9.0, -9.0]  # or the end at once
    exact = search(rule(1.0, 1, stop="exact"), trees=trees)
    early = search(rule(1.0, 1, stop="first"), trees=trees)
    assert {row[0][0] for row in early} == {(END,)}
    assert {row[0][0] for row in exact} == {(1,) * MOST}


def test_the_last_token_that_fits_is_written():
    """HF#21993: the bound was off by one, and so the best score of a text of full length."""
    for limit in (1, 2, MOST):
        assert {len(row[0][0]) for row in search(rule(2.0, 3), limits=limit, can_end=False)} == {limit}


def test_the_length_penalty_ranks_anew():
    """OpenNMT-tf#456: scores were scaled by the penalty, and the order stayed what it was."""
    short = [len(row[0][0]) for row in search(rule(-1.0, n_best=1))]
    long = [len(row[0][0]) for row in search(rule(2.0, n_best=1))]
    assert sum(long) > sum(short)


def test_ngrams_are_blocked_by_the_beams_own_text():
    """HF#29636: filters were given the rows of the parents before they were taken, and blocked the wrong ones."""
    found = search(rule(0.0, n_best=8), can_end=False, no_repeat_ngram=1)
    prompts = np.asarray(_texts().tokens)
    for row in range(ROWS):
        said = prompts[row, : PROMPTS[row]].tolist()
        for text, _ in found[row]:
            free = VOCAB - 1 - len(set(said))
            body = text[:free]
            assert len({*said, *body}) == len(set(said)) + len(body)


def test_each_beam_goes_on_from_its_own_state():
    """Nemotron#330, HF#42257: the cache stayed where it was when beams changed places, or all beams had one."""
    found = search(rule(0.0, 4))
    for row in range(ROWS):
        for text, score in found[row]:
            total = sum(TREES.log_probs(row, text[:i])[token] for i, token in enumerate(text))
            assert score == pytest.approx(total, abs=2e-5)


def test_several_ends_leave_enough_beams_that_go_on():
    """With two ends, all of 2 x beams candidates may be ends."""
    ends = np.isin(np.arange(VOCAB), [0, 1])
    filters = filters_for(VOCAB, min_new_tokens=jnp.int32(0))
    filters = type(filters)(allowed=filters.allowed, ends=jnp.asarray(ends), min_new_tokens=jnp.int32(0))
    trees = Trees(ROWS, VOCAB, MOST)
    trees.tables[:] += np.array([6.0, 6.0, 0.0, 0.0], np.float32)
    logits, state = trees.start()
    found = first_texts(
        jax.jit(
            lambda state: beam_search(logits, state, _texts(), trees.step, filters, rule(2.0, 2), num_ends=2)
        )(state),
        PROMPTS,
    )
    for row in range(ROWS):
        assert_same(
            found[row], python_beam(row, 2, 2.0, "mean", 0, MOST, "exact", 2, trees=trees, ends=(0, 1))
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Shared:
    """What all beams of a row read: it is neither repeated nor re-ordered."""

    row: jax.Array

    def with_beams(self, beams, room):
        assert (beams, room) == (4, MOST)
        return self

    def of_parents(self, parents):
        assert parents.shape == (ROWS, 4)
        return self


def test_a_part_of_the_state_may_be_shared_by_beams():
    tables = jnp.asarray(TREES.tables)

    def step(state, tokens):
        row = jnp.repeat(state["row"].row, 4)
        logits, after = TREES.step({"row": row, "place": state["place"]}, tokens, tables)
        return logits, {"row": state["row"], "place": after["place"]}

    _, state = TREES.start()
    state = {**state, "row": Shared(state["row"])}
    of, filters = rule(0.6, 4), filters_for(VOCAB, min_new_tokens=jnp.int32(0))
    found = jax.jit(lambda state: beam_search(tables[:, 0], state, _texts(), step, filters, of, room=MOST))(
        state
    )
    for own, plain in zip(first_texts(found, PROMPTS), search(of), strict=True):
        assert_same(own, plain)
