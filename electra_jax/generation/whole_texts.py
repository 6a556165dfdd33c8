"""Texts written to their end in one program, by whichever method: what evaluation and texts for sources need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from electra_jax.config.generation import GenerationConfig
from electra_jax.generation.beam import beam_search
from electra_jax.generation.decode import State, Step, advance, begin, repeat_rows, row_keys, texts_of
from electra_jax.generation.filters import NEVER, Filters
from electra_jax.generation.settings import BeamRule, beam_rule, end_ids, resolve_method, texts_per_prompt
from electra_jax.tokenizers import Tokenizer


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WholeTexts:
    """The texts of each row, the best first.

    Attributes:
        tokens: int32 ``[rows, texts, slots]``.
        log_probs: float32 ``[rows, texts, slots]``, of each token, by the distribution before it was filtered.
        written: int32 ``[rows, texts]``, how many tokens there are; 0 where there is no such text.
        scores: float32 ``[rows, texts]``, log p, or what beams are ranked by.
    """

    tokens: Array
    log_probs: Array
    written: Array
    scores: Array


@dataclass(frozen=True)
class DecodingRule:
    """How texts are written.

    Attributes:
        method: greedy, sample or beam.
        texts: of each row.
        seed: of sampling.
        beams: how they are ranked, and when they end.
        num_ends: tokens that end a text.
    """

    method: Literal["greedy", "sample", "beam"]
    texts: int
    seed: int
    beams: BeamRule
    num_ends: int


def decoding_rule(config: GenerationConfig, tokenizer: Tokenizer) -> DecodingRule:
    """Return what the section ``generation`` says of a model that is no generator with a discriminator.

    Raises:
        ValueError: its method is refine.
    """
    method = resolve_method(config, is_pair=False)
    if method == "refine":
        raise ValueError("a decoder does not refine")
    texts = texts_per_prompt(config, method)
    return DecodingRule(method, texts, config.seed, beam_rule(config), len(end_ids(config, tokenizer)))


def write_whole(
    logits: Array,
    state: State,
    prompts: Array,
    limits: Array,
    numbers: Array,
    slots: int,
    step: Step,
    filters: Filters,
    rule: DecodingRule,
    source: Array | None = None,
) -> WholeTexts:
    """Write behind prompts of one token.

    Args:
        logits: float ``[rows, vocab]``, behind the prompts.
        state: of the step, behind the prompts, with room for the prompt and the longest text; that of beams makes room
            for texts itself.
        prompts: int32 ``[rows, 1]``.
        limits: int32 ``[rows]``, the most tokens of each, at most ``slots``.
        numbers: int32 ``[rows]``, from which a row's random numbers follow.
        slots: room for a text, in tokens.
        step: is called with as many rows as there are texts, or beams, of all rows.
        filters: what may be written.
        rule: how.
        source: see `Texts`.
    """
    rows = limits.shape[0]
    lengths, count = jnp.ones(rows, jnp.int32), rule.texts
    if rule.method == "beam":
        texts = texts_of(prompts, lengths, limits, 1 + slots, source)
        found = beam_search(logits, state, texts, step, filters, rule.beams, rule.num_ends, slots)
        written = jnp.where(found.scores > NEVER / 2, found.written, 0)
        whole = WholeTexts(found.tokens[..., 1:], found.log_probs[..., 1:], written, found.scores)
        return jax.tree.map(lambda array: array[:, :count], whole)
    logits, state, prompts, lengths, limits, source = repeat_rows(
        (logits, state, prompts, lengths, limits, source), count
    )
    keys = None
    if rule.method == "sample":
        samples = jnp.tile(jnp.arange(count, dtype=jnp.int32), rows)
        keys = row_keys(jnp.int32(rule.seed), jnp.repeat(numbers, count), samples)
    texts = texts_of(prompts, lengths, limits, 1 + slots, source)
    decoding = begin(logits, state, texts, filters, keys)
    done = advance(decoding, step, filters, jnp.int32(slots)).texts
    log_probs = done.log_probs[:, 1:]
    flat = WholeTexts(done.tokens[:, 1:], log_probs, done.used - 1, log_probs.sum(axis=-1))
    return jax.tree.map(lambda array: array.reshape(rows, count, *array.shape[1:]), flat)
