"""What the section ``generation`` asks for, in the ids of a vocabulary."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from electra_jax.config.generation import GenerationConfig
from electra_jax.errors import UserError
from electra_jax.generation.filters import Filters
from electra_jax.tokenizers.protocol import Tokenizer

Method = Literal["greedy", "sample", "beam", "refine"]


def _static() -> Any:
    return dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class BeamRule:
    """How beams are ranked, and when they end. A pytree: another length penalty needs no other program.

    Attributes:
        length_penalty: float32, the power of the length that log p is divided by.
        beams: texts that are followed at once.
        n_best: how many are wanted.
        rule: what is raised to the length penalty: mean, the length; gnmt, (5 + length) / 6.
        stop: exact, first or huggingface.
    """

    length_penalty: Array
    beams: int = _static()
    n_best: int = _static()
    rule: Literal["mean", "gnmt"] = _static()
    stop: Literal["exact", "first", "huggingface"] = _static()


def resolve_method(config: GenerationConfig, *, is_pair: bool) -> Method:
    """Return the method that ``auto`` stands for, or the one that is named.

    Args:
        config: what is asked for.
        is_pair: whether the model is a generator and a discriminator.
    """
    if config.method != "auto":
        return config.method
    if is_pair:
        return "refine"
    if config.beams > 1:
        return "beam"
    return "sample" if config.sampled_by else "greedy"


def beam_rule(config: GenerationConfig) -> BeamRule:
    """Return what the section says of beams."""
    penalty = jnp.float32(config.length_penalty)
    return BeamRule(penalty, config.beams, config.n_best, config.length_rule, config.stop)


def texts_per_prompt(config: GenerationConfig, method: Method) -> int:
    """Return how many texts a prompt gets."""
    return config.n if method == "sample" else config.n_best if method == "beam" else 1


def build_filters(config: GenerationConfig, tokenizer: Tokenizer, allowed: np.ndarray) -> Filters:
    """Return the filters that the section asks for.

    Args:
        config: what is asked for.
        tokenizer: of the model.
        allowed: bool ``[vocab]``, what may be written besides ends: `text_ids`.

    Raises:
        UserError: an end token that the vocabulary does not have, or nothing of a text is in it.
    """
    ends = np.zeros(len(allowed), bool)
    ends[end_ids(config, tokenizer)] = True
    runs, forced = _banned_ids(config, tokenizer), _forced_ids(config, tokenizer)
    longest = max(map(len, runs), default=0)
    return Filters(
        allowed=jnp.asarray(allowed | ends),
        ends=jnp.asarray(ends),
        min_new_tokens=jnp.int32(config.min_new_tokens),
        bans=jnp.asarray([[-1] * (longest - len(run)) + run for run in runs], jnp.int32) if runs else None,
        forced=jnp.asarray(forced, jnp.int32) if forced else None,
        repetition_penalty=_unless(config.repetition_penalty, 1.0),
        temperature=jnp.float32(config.temperature),
        top_p=_unless(config.top_p, 1.0),
        min_p=_unless(config.min_p, 0.0),
        typical_p=_unless(config.typical_p, 1.0),
        top_k=config.top_k,
        no_repeat_ngram=config.no_repeat_ngram,
        no_repeat_source_ngram=config.no_repeat_source_ngram,
    )


def end_ids(config: GenerationConfig, tokenizer: Tokenizer) -> list[int]:
    """Return the ids that end a text: [SEP], and what ``end_tokens`` names.

    Raises:
        UserError: a token that the vocabulary does not have.
    """
    if not config.end_tokens:
        return [tokenizer.sep_id]
    known = {tokenizer.token(id): id for id in range(tokenizer.vocab_size)}
    if missing := [token for token in config.end_tokens if token not in known]:
        raise UserError(
            f"generation.end_tokens has {missing[0]!r}, which is no token of this vocabulary: write it as the "
            "vocabulary spells it, or use generation.stop_strings, which take any text"
        )
    return list(dict.fromkeys([tokenizer.sep_id, *(known[token] for token in config.end_tokens)]))


def check_stop_strings(config: GenerationConfig, tokenizer: Tokenizer) -> None:
    """Check that each stop string can occur in what a tokenizer writes.

    Raises:
        UserError: one cannot: letters that the vocabulary does not have, capitals where all is lower case.
    """
    for stop in config.stop_strings:
        around = (stop, f"a{stop}a", f"a {stop} a")
        if not any(stop in tokenizer.detokenize(tokenizer.encode(text)) for text in around):
            raise UserError(
                f"generation.stop_strings has {stop!r}, which this vocabulary cannot write (it gives "
                f"{tokenizer.detokenize(tokenizer.encode(stop))!r}): take it out, or write it so"
            )


def check_vocabulary(config: GenerationConfig, tokenizer: Tokenizer) -> None:
    """Check that a tokenizer has all that the section names: ends, stop strings, bans and the forced prefix.

    Raises:
        UserError: it names what the vocabulary cannot write.
    """
    end_ids(config, tokenizer)
    check_stop_strings(config, tokenizer)
    _banned_ids(config, tokenizer)
    _forced_ids(config, tokenizer)


def _banned_ids(config: GenerationConfig, tokenizer: Tokenizer) -> list[list[int]]:
    return [_ids_of(text, "ban", tokenizer) for text in config.ban]


def _forced_ids(config: GenerationConfig, tokenizer: Tokenizer) -> list[int]:
    forced = _ids_of(config.forced_prefix, "forced_prefix", tokenizer) if config.forced_prefix else []
    if len(forced) > config.max_new_tokens:
        raise UserError(
            f"generation.forced_prefix has {len(forced)} tokens, and max_new_tokens is {config.max_new_tokens}: "
            "raise that, or shorten the prefix"
        )
    return forced


def _ids_of(text: str, key: str, tokenizer: Tokenizer) -> list[int]:
    ids = tokenizer.encode(text)
    if not ids or tokenizer.unk_id in ids:
        raise UserError(f"generation.{key} has {text!r}, which this vocabulary cannot write: take it out")
    return ids


def _unless(value: float | None, idle: float) -> Array | None:
    """Return a value as an array; None where it changes nothing."""
    return None if value is None or value == idle else jnp.float32(value)
