"""Greedy decoding and sampling: one loop on the device, in which every row has a length of its own.

What a row writes depends on its prompt, its number and the seed alone: not on what else is in the batch, nor on how far
rows are filled up, nor on the number of devices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.generation.filters import Filters, filter_logits, finite

# A pytree whose every leaf has the rows first, so that rows can be taken out of it; `MayHaveBeams` may be parts.
State: TypeAlias = Any
# From the state and the tokens written last, int32 [rows], to the logits of the next ones, [rows, vocab].
Step: TypeAlias = Callable[[State, Array], tuple[Array, State]]


@runtime_checkable
class HasBeams(Protocol):
    """A part of a state that knows better what to do when beams change places than to copy their rows."""

    def of_parents(self, parents: Array) -> HasBeams:
        """Return the part when each text goes on from another one of its row, int32 ``[rows, beams]``."""


@runtime_checkable
class MayHaveBeams(Protocol):
    """A part of a state that knows better what to do for beams than to repeat its rows.

    What all beams of a row share returns itself, here and in `HasBeams`, and keeps its own rows; or the step has it
    from elsewhere, as it has the keys of a source.
    """

    def with_beams(self, beams: int, room: int) -> HasBeams:
        """Return the part for ``beams`` texts of each row, which write ``room`` tokens at most."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Texts:
    """Prompts, and what was written behind them.

    Attributes:
        tokens: int32 ``[rows, slots]``, -1 where nothing is.
        used: int32 ``[rows]``, how many slots are used.
        log_probs: float32 ``[rows, slots]``, of each token written, by the distribution before it was filtered.
        limits: int32 ``[rows]``, the most tokens to write.
        finished: bool ``[rows]``, whether the text ended, or met its limit.
        source: int32 ``[rows, length]``, what the texts are written for, -1 where nothing is; None: only prompts.
    """

    tokens: Array
    used: Array
    log_probs: Array
    limits: Array
    finished: Array
    source: Array | None = None

    def add(self, tokens: Array, log_probs: Array, finished: Array) -> Texts:
        """Return the texts with a token more in each that is not finished."""
        rows = jnp.arange(self.used.shape[0])
        at = jnp.where(self.finished, self.tokens.shape[1], self.used)  # nowhere, if it is finished
        return dataclasses.replace(
            self,
            tokens=self.tokens.at[rows, at].set(tokens, mode="drop"),
            used=self.used + ~self.finished,
            log_probs=self.log_probs.at[rows, at].set(log_probs, mode="drop"),
            finished=self.finished | finished,
        )


def texts_of(prompts: Array, lengths: Array, limits: Array, slots: int, source: Array | None = None) -> Texts:
    """Return texts of which nothing is written yet.

    Args:
        prompts: int32 ``[rows, length]``, filled up on the right with anything.
        lengths: int32 ``[rows]``.
        limits: int32 ``[rows]``, the most tokens to write; 0: none.
        slots: for tokens, at least those of a prompt with what is written.
        source: see `Texts`.
    """
    padded = jnp.pad(prompts.astype(jnp.int32), ((0, 0), (0, slots - prompts.shape[1])))
    tokens = jnp.where(jnp.arange(slots) < lengths[:, None], padded, -1)
    log_probs = jnp.zeros(tokens.shape, jnp.float32)
    return Texts(tokens, lengths.astype(jnp.int32), log_probs, limits.astype(jnp.int32), limits <= 0, source)


def row_keys(seed: Array, rows: Array, samples: Array) -> Array:
    """Return the key ``[rows]`` from which each row draws.

    Args:
        seed: int32.
        rows: int32 ``[rows]``, the row's own number, wherever it is computed.
        samples: int32 ``[rows]``, which of a row's texts.
    """
    fold = jax.vmap(jax.random.fold_in)
    return fold(jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), rows), samples)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Decoding:
    """Texts that are being written.

    Attributes:
        texts: so far.
        state: of the step.
        latest: int32 ``[rows]``, the tokens written last.
        steps: int32, tokens written since the prompts in the rows that are not finished.
        written: int32 ``[rows]``, tokens of text behind which the texts here go on: 0, unless the prompt is the end of
            what was written before.
        keys: ``[rows]``, from which each row draws; None: the likeliest token is taken.
    """

    texts: Texts
    state: State
    latest: Array
    steps: Array
    written: Array
    keys: Array | None


def begin(
    logits: Array,
    state: State,
    texts: Texts,
    filters: Filters,
    keys: Array | None = None,
    written: Array | None = None,
) -> Decoding:
    """Write the first token of each text.

    Args:
        logits: float ``[rows, vocab]``, behind the prompts.
        state: of the step, behind the prompts.
        texts: of which nothing is written yet.
        filters: what may be written.
        keys: from which each row draws; None: the likeliest token is taken.
        written: int32 ``[rows]``, how many of the last tokens of each prompt, and of what stood before it, are text
            that was written before; None: none.
    """
    nothing = jnp.zeros_like(texts.used)
    written = nothing if written is None else written
    return _write(Decoding(texts, state, nothing, jnp.int32(0), written, keys), logits, filters)


def advance(decoding: Decoding, step: Step, filters: Filters, until: Array) -> Decoding:
    """Write on, until so many tokens are written or every text is finished."""

    def is_open(now: Decoding) -> Array:
        return (now.steps < until) & ~now.texts.finished.all()

    def write(now: Decoding) -> Decoding:
        logits, state = step(now.state, now.latest)
        return _write(dataclasses.replace(now, state=state), logits, filters)

    return jax.lax.while_loop(is_open, write, decoding)


def _write(now: Decoding, logits: Array, filters: Filters) -> Decoding:
    """Choose the next token of each text."""
    texts, number = now.texts, now.written + now.steps
    left = filter_logits(filters, logits, texts.tokens, texts.used, number, texts.source)
    chosen = left.argmax(axis=-1) if now.keys is None else _draw(left, now.keys, number)
    chosen = chosen.astype(jnp.int32)
    log_probs = jax.nn.log_softmax(finite(logits))
    chosen_log_probs = jnp.take_along_axis(log_probs, chosen[:, None], axis=-1)[:, 0]
    steps = now.steps + 1
    finished = filters.ends[chosen] | (steps >= texts.limits)
    texts = texts.add(chosen, chosen_log_probs, finished)
    return Decoding(texts, now.state, chosen, steps, now.written, now.keys)


def _draw(logits: Array, keys: Array, number: Array) -> Array:
    keys = jax.vmap(jax.random.fold_in)(keys, number)
    return jax.vmap(jax.random.categorical)(keys, logits)


def repeat_rows(state: State, times: int) -> State:
    """Return a state, or any pytree with the rows first, in which each row stands ``times`` times in a row."""
    return state if times == 1 else jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=0), state)
