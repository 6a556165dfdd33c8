"""What may be written next: logits to logits, ``[rows, vocab]`` in float32.

A token that may not be written has the logit `NEVER`, which is finite, so that no probability is ever NaN. The order is
that of Hugging Face's `generate`: what is banned, repetition, n-grams, temperature, top-k, top-p, min-p, typical. If
nothing is left, the text ends. What a text must begin with comes last and wins over all of them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

NEVER = -1e9
# What is all that is left has at least this logit, whatever the network says: far above NEVER.
_LAST_RESORT = -1e6
# Probabilities are sums of rounded numbers: one that is p but for rounding is p.
_ROUNDING = 1e-6


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Filters:
    """What is filtered, and how; None: nothing by that rule.

    A pytree, so that other numbers need no other program: only which filters there are is compiled.

    Attributes:
        allowed: bool ``[vocab]``, the tokens that text consists of, and `ends`.
        ends: bool ``[vocab]``, the tokens that end a text.
        min_new_tokens: int32, no end before so many.
        bans: int32 ``[bans, longest]``, runs of tokens that are not written, filled up with -1 on the left.
        forced: int32 ``[forced]``, what a text begins with.
        repetition_penalty: float32.
        temperature: float32.
        top_p: float32.
        min_p: float32.
        typical_p: float32.
        top_k: how many tokens are left.
        no_repeat_ngram: how long a run is that does not occur twice; 0: it may.
        no_repeat_source_ngram: how long a run of the source is that is not written; 0: it may be.
    """

    allowed: Array
    ends: Array
    min_new_tokens: Array | None = None
    bans: Array | None = None
    forced: Array | None = None
    repetition_penalty: Array | None = None
    temperature: Array | None = None
    top_p: Array | None = None
    min_p: Array | None = None
    typical_p: Array | None = None
    top_k: int | None = dataclasses.field(default=None, metadata={"static": True})
    no_repeat_ngram: int = dataclasses.field(default=0, metadata={"static": True})
    no_repeat_source_ngram: int = dataclasses.field(default=0, metadata={"static": True})


def filter_logits(
    filters: Filters, logits: Array, tokens: Array, used: Array, written: Array, source: Array | None = None
) -> Array:
    """Return the logits of what may be written next.

    Args:
        filters: what is filtered.
        logits: float ``[rows, vocab]``.
        tokens: int32 ``[rows, slots]``, prompt and text so far.
        used: int32 ``[rows]``, how many of its slots each row uses.
        written: int32, or int32 ``[rows]``, tokens of text so far.
        source: int32 ``[rows, length]``, what the texts are written for, -1 where nothing is; None: there is none.

    Returns:
        float32 ``[rows, vocab]``.
    """
    given = finite(logits)
    written = jnp.broadcast_to(written, used.shape)[:, None]
    keep = filters.allowed
    if filters.min_new_tokens is not None:
        keep = keep & ~(filters.ends & (written < filters.min_new_tokens))
    left = _keep(given, jnp.broadcast_to(keep, given.shape))
    if filters.bans is not None:
        left = _keep(left, ~banned(filters.bans, tokens, used, given.shape[-1]))
    if filters.repetition_penalty is not None:
        left = penalize_repetition(left, tokens, used, filters.repetition_penalty)
    if filters.no_repeat_ngram:
        left = _keep(left, ~repeated_ngrams(tokens, used, filters.no_repeat_ngram, given.shape[-1]))
    if filters.no_repeat_source_ngram and source is not None:
        n = filters.no_repeat_source_ngram
        left = _keep(left, ~source_ngrams(source, tokens, used, n, given.shape[-1]))
    is_left = left > NEVER / 2
    if filters.temperature is not None:
        # Below that the best token alone is drawn in any case, and logits would come near what is never written.
        left = _keep(left / jnp.maximum(filters.temperature, 1e-5), is_left)
    if filters.top_k is not None:
        left = top_k(left, filters.top_k)
    if filters.top_p is not None:
        left = top_p(left, filters.top_p)
    if filters.min_p is not None:
        left = min_p(left, filters.min_p)
    if filters.typical_p is not None:
        left = typical_p(left, filters.typical_p)
    left = jnp.where(is_left.any(axis=-1, keepdims=True), left, _only(given, filters.ends))
    if filters.forced is not None and filters.forced.size:
        number = jnp.minimum(written, filters.forced.size - 1)
        forced = jnp.arange(given.shape[-1]) == filters.forced[number]  # [rows, vocab]
        left = jnp.where(written < filters.forced.size, _only(given, forced), left)
    return left


def finite(logits: Array) -> Array:
    """Return logits as float32 in which nothing is infinite, and what is no number is `NEVER`."""
    found = jnp.nan_to_num(logits.astype(jnp.float32), nan=NEVER, posinf=-NEVER, neginf=NEVER)
    return jnp.clip(found, NEVER, -NEVER)


def banned(bans: Array, tokens: Array, used: Array, vocab: int) -> Array:
    """Return bool ``[rows, vocab]``: the tokens with which a row would end in one of ``bans``."""
    before = bans.shape[1] - 1
    last = _last(tokens, used, before)
    met = ((bans[:, :-1] == last[:, None, :]) | (bans[:, :-1] < 0)).all(axis=-1)
    return _marked(jnp.where(met, bans[:, -1], vocab), vocab)


def penalize_repetition(logits: Array, tokens: Array, used: Array, penalty: Array) -> Array:
    """Divide the logits of tokens that a row has by ``penalty``, multiply negative ones (Keskar et al. 2019)."""
    vocab = logits.shape[-1]
    there = jnp.arange(tokens.shape[1]) < used[:, None]
    seen = _marked(jnp.where(there & (tokens >= 0), tokens, vocab), vocab)
    changed = jnp.where(logits < 0, jnp.maximum(logits * penalty, NEVER), logits / penalty)
    return jnp.where(seen & (logits > NEVER / 2), changed, logits)


def repeated_ngrams(tokens: Array, used: Array, n: int, vocab: int) -> Array:
    """Return bool ``[rows, vocab]``: the tokens with which the last ``n`` of a row would occur in it twice."""
    there = jnp.where(jnp.arange(tokens.shape[1]) < used[:, None], tokens, -1)
    return _behind(there, _last(tokens, used, n - 1), vocab)


def source_ngrams(source: Array, tokens: Array, used: Array, n: int, vocab: int) -> Array:
    """Return bool ``[rows, vocab]``: the tokens with which the last ``n`` of a row would be a run of its source."""
    return _behind(source, _last(tokens, used, n - 1), vocab)


def top_k(logits: Array, k: int) -> Array:
    """Keep the ``k`` largest logits; of equal ones those of the smallest ids."""
    vocab = logits.shape[-1]
    if k >= vocab:
        return logits
    return _keep(logits, _marked(jax.lax.top_k(logits, k)[1], vocab))


def top_p(logits: Array, p: Array) -> Array:
    """Keep the fewest tokens that together have probability ``p``, the likeliest first (Holtzman et al. 2020).

    A token is kept while the mass before it is below ``p``; of equal ones the smallest ids come first, and the first is
    always kept.
    """
    return _keep(logits, _first_mass(-logits, jax.nn.softmax(logits), p))


def min_p(logits: Array, p: Array) -> Array:
    """Keep the tokens at least ``p`` times as likely as the likeliest (Nguyen et al. 2024)."""
    best = logits.max(axis=-1, keepdims=True)
    return _keep(logits, (logits >= best + jnp.log(p) - _ROUNDING) | (logits == best))


def typical_p(logits: Array, p: Array) -> Array:
    """Keep the tokens whose surprise is nearest to the entropy, that together have probability ``p``.

    Meister et al. 2023, "Locally Typical Sampling".
    """
    log_probs = jax.nn.log_softmax(logits)
    probabilities = jnp.exp(log_probs)
    entropy = -jnp.where(probabilities > 0, probabilities * log_probs, 0.0).sum(axis=-1, keepdims=True)
    return _keep(logits, _first_mass(jnp.abs(-log_probs - entropy), probabilities, p))


def _first_mass(order: Array, probabilities: Array, p: Array) -> Array:
    """Return bool ``[rows, vocab]``: the first tokens by ``order``, up to the one that completes the mass ``p``."""
    ids = jnp.argsort(order, axis=-1, stable=True)
    mass = jnp.cumsum(jnp.take_along_axis(probabilities, ids, axis=-1), axis=-1)
    before = jnp.pad(mass[:, :-1], ((0, 0), (1, 0)))
    kept = (before < p * (1 - _ROUNDING)).at[:, 0].set(True)
    return _marked(jnp.where(kept, ids, order.shape[-1]), order.shape[-1])


def _keep(logits: Array, keep: Array) -> Array:
    return jnp.where(keep, logits, NEVER)


def _only(logits: Array, which: Array) -> Array:
    return jnp.where(which, jnp.maximum(logits, _LAST_RESORT), NEVER)


def _marked(ids: Array, vocab: int) -> Array:
    """Return bool ``[rows, vocab]``, true at the ids of each row; ``vocab`` marks nothing."""
    rows = jnp.arange(ids.shape[0])[:, None]
    return jnp.zeros((ids.shape[0], vocab), bool).at[rows, ids].set(True, mode="drop")


def _behind(texts: Array, run: Array, vocab: int) -> Array:
    """Return bool ``[rows, vocab]``: what stands in a text, -1 where nothing is, behind a run ``[rows, tokens]``."""
    length = run.shape[1]
    windows = texts.shape[1] - length
    if windows <= 0:
        return jnp.zeros((texts.shape[0], vocab), bool)
    met = texts[:, length:] >= 0
    for place in range(length):
        met &= texts[:, place : place + windows] == run[:, place : place + 1]
    return _marked(jnp.where(met, texts[:, length:], vocab), vocab)


def _last(tokens: Array, used: Array, count: int) -> Array:
    """Return the last ``count`` tokens of each row; -2 where it has none."""
    slots = used[:, None] - count + jnp.arange(count)
    found = jnp.take_along_axis(tokens, jnp.maximum(slots, 0), axis=1)
    return jnp.where(slots >= 0, found, -2)
