"""Beam search: the likeliest texts that a bounded number of beams finds, for each row.

The length of a text counts the tokens written, the end included and the prompt not. A text is ranked by log p divided
by a power of its length, and a search ends when no beam can still win (`exact`), or earlier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.generation.decode import HasBeams, MayHaveBeams, State, Step, Texts, repeat_rows
from electra_jax.generation.filters import NEVER, Filters, filter_logits, finite
from electra_jax.generation.settings import BeamRule


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hypotheses:
    """Texts of each row, whether they go on or have ended.

    Attributes:
        tokens: int32 ``[rows, beams, slots]``, prompt and text, -1 where nothing is.
        written: int32 ``[rows, beams]``, tokens of text, the end included.
        log_probs: float32 ``[rows, beams, slots]``, of each token written, by the distribution before it was filtered.
        scores: float32 ``[rows, beams]``: of those that go on log p, of those that have ended what they are ranked by.
            Below half of `NEVER`: there is no such text.
    """

    tokens: Array
    written: Array
    log_probs: Array
    scores: Array

    def take(self, which: Array) -> Hypotheses:
        """Return, row by row, those with these numbers, int32 ``[rows, taken]``."""
        return jax.tree.map(lambda leaf: jax.vmap(lambda row, numbers: row[numbers])(leaf, which), self)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Search:
    """A search under way.

    Attributes:
        live: that go on.
        done: that have ended, the best first.
        parents: int32 ``[rows, beams]``, out of which beam each that goes on has come in the last step.
        is_open: bool ``[rows]``, whether the search goes on.
        state: of the step, ``[rows x beams]``.
        step: int32, tokens written by those that go on.
    """

    live: Hypotheses
    done: Hypotheses
    parents: Array
    is_open: Array
    state: State
    step: Array


def beam_search(
    logits: Array,
    state: State,
    texts: Texts,
    step: Step,
    filters: Filters,
    rule: BeamRule,
    num_ends: int = 1,
    room: int | None = None,
) -> Hypotheses:
    """Return the best texts of each row, the best first.

    Args:
        logits: float ``[rows, vocab]``, behind the prompts.
        state: of the step, behind the prompts.
        texts: of which nothing is written yet.
        step: is called with ``rows x beams`` rows.
        filters: what may be written; what is written is ranked by what they leave of log p.
        rule: number of beams, ranking, and when it ends.
        num_ends: at least as many as there are ends in ``filters``.
        room: at least the greatest limit of ``texts``; None: the slots they have.
    """
    beams, vocab = rule.beams, logits.shape[-1]
    rows, slots = texts.tokens.shape
    room = slots if room is None else room
    first = jnp.where(jnp.arange(beams) == 0, 0.0, NEVER)  # the others are the same
    start = Hypotheses(
        tokens=jnp.repeat(texts.tokens[:, None], beams, axis=1),
        written=jnp.zeros((rows, beams), jnp.int32),
        log_probs=jnp.zeros((rows, beams, slots), jnp.float32),
        scores=jnp.broadcast_to(first, (rows, beams)),
    )
    none = Hypotheses(start.tokens, start.written, start.log_probs, jnp.full((rows, beams), 4 * NEVER))
    as_they_are = jnp.broadcast_to(jnp.arange(beams, dtype=jnp.int32), (rows, beams))
    search = _Search(
        start, none, as_they_are, texts.limits > 0, _with_beams(state, beams, room), jnp.int32(0)
    )
    # Enough candidates that `beams` go on, even if all beams could end.
    kept = min((1 + num_ends) * beams, beams * vocab)

    def choose(now: _Search, logits: Array) -> _Search:
        return _choose(now, logits.reshape(rows, beams, vocab), texts, filters, rule, kept)

    def go_on(now: _Search) -> _Search:
        state = _of_parents(now.state, now.parents)
        last = jnp.take_along_axis(
            now.live.tokens, (texts.used[:, None, None] + now.live.written[..., None] - 1), axis=2
        )
        logits, state = step(state, last.reshape(rows * beams))
        return choose(_Search(now.live, now.done, now.parents, now.is_open, state, now.step), logits)

    found = jax.lax.while_loop(
        lambda now: now.is_open.any(), go_on, choose(search, repeat_rows(logits, beams))
    )
    return found.done


def _choose(
    now: _Search, logits: Array, texts: Texts, filters: Filters, rule: BeamRule, kept: int
) -> _Search:
    """Write the next token of each beam: the best candidates end, or go on."""
    rows, beams, vocab = logits.shape
    live, step = now.live, now.step + 1
    flat = live.tokens.reshape(rows * beams, -1)
    unfiltered = jax.nn.log_softmax(finite(logits.reshape(rows * beams, vocab)))
    used, source = repeat_rows((texts.used, texts.source), beams)
    left = filter_logits(filters, unfiltered, flat, used + now.step, now.step, source)
    sums = live.scores[:, :, None] + left.reshape(rows, beams, vocab)
    scores, numbers = jax.lax.top_k(sums.reshape(rows, beams * vocab), kept)
    parents, tokens = numbers // vocab, (numbers % vocab).astype(jnp.int32)
    candidates = _extended(
        live.take(parents),
        tokens,
        jax.vmap(lambda row, chosen: row[chosen])(unfiltered.reshape(rows, beams * vocab), numbers),
        scores,
        texts.used,
    )
    possible = scores > NEVER / 2
    ends = filters.ends[tokens] | (step >= texts.limits)[:, None]

    # As in Hugging Face's search, a text can only end if it is among the best `beams` candidates.
    may_end = ends & possible & (jnp.arange(kept) < beams) & now.is_open[:, None]
    if rule.stop == "first":
        may_end &= ~(now.done.scores > NEVER / 2).all(axis=1, keepdims=True)
    ended = jnp.where(may_end, scores / length_norm(step, rule), 4 * NEVER)
    done = _best(_joined(now.done, _with_scores(candidates, ended)), beams)
    going_on = jnp.where(ends | ~possible, 4 * NEVER, scores)
    order = jax.lax.top_k(going_on, beams)[1]
    next_live = _with_scores(candidates, going_on).take(order)
    next_parents = jnp.take_along_axis(parents, order, axis=1).astype(jnp.int32)
    is_open = now.is_open & _can_win(next_live, done, step, texts.limits, filters, rule)
    return _Search(next_live, done, next_parents, is_open, now.state, step)


def _can_win(
    live: Hypotheses, done: Hypotheses, step: Array, limits: Array, filters: Filters, rule: BeamRule
) -> Array:
    """Return bool ``[rows]``: whether a beam that goes on may yet be among the best, as ``rule.stop`` sees it."""
    best = live.scores[:, 0]
    alive = (best > NEVER / 2) & (step < limits)
    if rule.stop == "first":
        return alive & ~(done.scores > NEVER / 2).all(axis=1)
    if rule.stop == "huggingface":
        # Its default supposes that the best beam ends where it is, which is wrong for penalties above 0.
        return alive & (best / length_norm(step, rule) > done.scores[:, -1])
    # log p only falls. Divided by a power above 0 it is best at the greatest length, else at the least.
    least = step + 1
    if filters.min_new_tokens is not None:
        least = jnp.maximum(least, filters.min_new_tokens + 1)
    at = jnp.where(rule.length_penalty > 0, limits, jnp.minimum(least, limits))
    return alive & (best / length_norm(at, rule) > done.scores[:, rule.n_best - 1])


def length_norm(length: Array, rule: BeamRule) -> Array:
    """Return what log p of a text of this length is divided by."""
    real = length.astype(jnp.float32)
    base = (5.0 + real) / 6.0 if rule.rule == "gnmt" else real  # Wu et al. 2016, section 7
    return base**rule.length_penalty


def _extended(
    parents: Hypotheses, tokens: Array, log_probs: Array, scores: Array, prompt: Array
) -> Hypotheses:
    """Return hypotheses with a token more."""
    at = prompt[:, None] + parents.written
    rows, count = tokens.shape
    number, which = jnp.arange(rows)[:, None], jnp.arange(count)
    return Hypotheses(
        tokens=parents.tokens.at[number, which, at].set(tokens, mode="drop"),
        written=parents.written + 1,
        log_probs=parents.log_probs.at[number, which, at].set(log_probs, mode="drop"),
        scores=scores,
    )


def _with_scores(of: Hypotheses, scores: Array) -> Hypotheses:
    return Hypotheses(of.tokens, of.written, of.log_probs, scores)


def _joined(one: Hypotheses, other: Hypotheses) -> Hypotheses:
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), one, other)


def _best(of: Hypotheses, count: int) -> Hypotheses:
    """Return the best of each row, the best first; of equal ones those that come first."""
    return of.take(jax.lax.top_k(of.scores, count)[1])


def _with_beams(state: State, beams: int, room: int) -> State:
    """Return the state in which each row stands for ``beams`` texts, side by side."""

    def of(part: Any) -> Any:
        knows = isinstance(part, MayHaveBeams)
        return part.with_beams(beams, room) if knows else jnp.repeat(part, beams, axis=0)

    return jax.tree.map(of, state, is_leaf=lambda part: isinstance(part, MayHaveBeams))


def _of_parents(state: State, parents: Array) -> State:
    """Return the state in which each beam has that of its parent."""
    rows, beams = parents.shape

    def of(part: Any) -> Any:
        if isinstance(part, HasBeams):
            return part.of_parents(parents)
        by_row = part.reshape(rows, beams, *part.shape[1:])
        return jax.vmap(lambda row, numbers: row[numbers])(by_row, parents).reshape(part.shape)

    return jax.tree.map(of, state, is_leaf=lambda part: isinstance(part, HasBeams))
