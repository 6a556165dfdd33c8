"""What the generator would write in place of a word: single tokens that are words themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from electra_jax.inference.filling import row_around
from electra_jax.inference.words import Span
from electra_jax.model.sizes import round_up
from electra_jax.objectives.masked_lm import SpecialIds
from electra_jax.scoring.pll import masked_logits
from electra_jax.tasks.protocol import Rows, TaskBatch
from electra_jax.tokenizers import Tokenizer
from electra_jax.tokenizers.protocol import Encoding
from electra_jax.tokenizers.text_ids import whole_text_ids

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

_SPACE = "\u2581"  # how SentencePiece writes the space before a word
# What a token may be: no word; the beginning of one; behind another without a blank, with letters or without.
_NO_WORD, _BEGINS, _FOLLOWS, _SIGN = range(4)


@dataclass(frozen=True)
class Suggestion:
    """A word that may stand in place of another.

    Attributes:
        word: as one would write it there.
        probability: that the generator gives its token, the word masked.
    """

    word: str
    probability: float


@dataclass(frozen=True)
class Suspect:
    """A word of a text that something is to be suggested for.

    Attributes:
        text: the whole text.
        encoding: of the text.
        span: (begin, end) of the word in it.
        tokens: numbers of the tokens that hold characters of the word, at least one.
    """

    text: str
    encoding: Encoding
    span: Span
    tokens: Sequence[int]


def suggest(model: Model, suspects: Sequence[Suspect], k: int, room: int) -> list[tuple[Suggestion, ...]]:
    """Return up to ``k`` words for each suspect, the likeliest first, and never the word itself.

    All tokens of a word are masked as one. There are none for a word that shares a token with another, nor in a
    vocabulary of characters for a word of several.

    Args:
        model: with a generator.
        suspects: the words.
        k: how many; 0 asks nobody.
        room: how many tokens around a word are read.
    """
    tokenizer = model.tokenizer
    found: list[tuple[Suggestion, ...]] = [()] * len(suspects)
    which = [number for number, some in enumerate(suspects) if k and _can_be_masked(tokenizer, some)]
    if not which:
        return found
    kinds = _kinds_of_tokens(tokenizer)
    k = min(k, tokenizer.vocab_size)
    rows, columns, wanted, written = [], [], [], []
    for number in which:
        ids, tokens = suspects[number].encoding.ids, suspects[number].tokens
        row, column = row_around(tokenizer, *_masked(tokenizer, suspects[number]), room)
        rows.append(row)
        columns.append(column)
        wanted.append(_kind_of_word(tokenizer, suspects[number], kinds))
        written.append(ids[tokens[0]] if len(tokens) == 1 else -1)
    targets: dict[str, Any] = {"column": columns, "kind": wanted, "written": written}
    best = model._run(
        f"suggest {k}",
        _outputs(model, kinds, k),
        Rows(
            rows,
            [np.zeros_like(row) for row in rows],
            {name: np.array(values, np.int32) for name, values in targets.items()},
            np.arange(len(rows), dtype=np.int32),
        ),
    )
    for number, ids, values in zip(which, best["ids"], best["probabilities"], strict=True):
        begin, end = suspects[number].span
        found[number] = tuple(
            Suggestion(_as_written(tokenizer, int(id), suspects[number].text[begin:end]), float(value))
            for id, value in zip(ids, values, strict=True)
            if value >= 0
        )
    return found


def _outputs(model: Model, kinds: np.ndarray, k: int) -> Any:
    network: Any = model._network
    special = SpecialIds.of(model.tokenizer)
    rows_of_table = round_up(model.tokenizer.vocab_size, model.config.model.vocab_multiple)
    of_rows = np.full(rows_of_table, _NO_WORD, np.int32)
    of_rows[: len(kinds)] = kinds

    def outputs(params: Any, batch: TaskBatch) -> dict[str, Array]:
        asked = batch.targets
        logits = masked_logits(network, params, batch.inputs.input_ids, asked["column"], special)
        fits = of_rows == asked["kind"][:, None]
        fits &= jnp.arange(rows_of_table) != asked["written"][:, None]
        values, ids = jax.lax.top_k(jnp.where(fits, jax.nn.softmax(logits), -1.0), k)
        return {"ids": ids.astype(jnp.int32), "probabilities": values}

    return outputs


def _kinds_of_tokens(tokenizer: Tokenizer) -> np.ndarray:
    """Return int32 ``[vocab_size]``: no word, begins one, or follows another without a blank: with letters, or none."""
    whole, starts = whole_text_ids(tokenizer), tokenizer.word_start_table()
    kinds = np.full(tokenizer.vocab_size, _NO_WORD, np.int32)
    for id in np.flatnonzero(whole):
        token = tokenizer.token(int(id))
        if token != _SPACE:
            has_letters = any(map(str.isalnum, token))
            kinds[id] = _BEGINS if starts[id] else _FOLLOWS if has_letters else _SIGN
    return kinds


def _kind_of_word(tokenizer: Tokenizer, suspect: Suspect, kinds: np.ndarray) -> int:
    """Return the kind of token that may stand in place of a word: its first one's, or if that is no word by place."""
    kind = int(kinds[suspect.encoding.ids[suspect.tokens[0]]])
    if kind != _NO_WORD:
        return kind
    before = suspect.text[: suspect.span[0]]
    return _BEGINS if tokenizer.kind == "wordpiece" or not before or before[-1].isspace() else _FOLLOWS


def _can_be_masked(tokenizer: Tokenizer, suspect: Suspect) -> bool:
    begin, end = suspect.span
    places = [suspect.encoding.offsets[token] for token in suspect.tokens]
    alone = all(begin <= first and last <= end for first, last in places)
    return alone and (tokenizer.kind != "characters" or len(places) == 1)


def _masked(tokenizer: Tokenizer, suspect: Suspect) -> tuple[list[int], int]:
    """Return the ids of the text with one [MASK] for the word and a bare blank before it, and the place of [MASK]."""
    ids, offsets = suspect.encoding.ids, suspect.encoding.offsets
    first, last = suspect.tokens[0], suspect.tokens[-1]
    if first and offsets[first - 1][0] == offsets[first - 1][1] and tokenizer.token(ids[first - 1]) == _SPACE:
        first -= 1
    return [*ids[:first], tokenizer.mask_id, *ids[last + 1 :]], first


def _as_written(tokenizer: Tokenizer, id: int, word: str) -> str:
    """Return a token as a word, with capitals as ``word`` has them where the vocabulary has none."""
    token = tokenizer.token(id).removeprefix(_SPACE)
    if tokenizer.kind == "wordpiece":
        token = token.removeprefix("##")
    if not tokenizer.options["lowercase"] or not word[:1].isupper():
        return token
    return token.upper() if len(word) > 1 and word.isupper() else token[:1].upper() + token[1:]
