"""Scores of texts, by batches of like length over all devices: what `Model.score` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jax import Array

from electra_jax.inference.items import as_items, text_of
from electra_jax.objectives.masked_lm import SpecialIds
from electra_jax.scoring.methods import SCORES, choose_method, text_score
from electra_jax.scoring.pll import masked_log_probs
from electra_jax.tasks.protocol import Rows, TaskBatch

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

# Tokens of the rows that are made at once, where each text is as many rows as it has tokens.
_MAX_MASKED_TOKENS = 1 << 22
# Rows of up to so many tokens are little work: a batch of them has more for each device than one of longer rows.
_SHORT, _SHORT_ROWS, _LONG_ROWS = 48, 128, 32


@dataclass(frozen=True)
class ScoredToken:
    """A token of a text with its part of the text's score.

    Attributes:
        text: its characters in the text; none of the text's end.
        start: the first of them.
        end: the character after the last.
        score: natural logarithm of a probability, or what stands for it.
    """

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class TextScore:
    """A text's score.

    Attributes:
        score: of the text; not a number where it is the mean over no token.
        count: of its tokens, those that were cut aside, its end if that is scored.
        tokens: with their scores, if they were asked for.
    """

    score: float
    count: int
    tokens: tuple[ScoredToken, ...] | None = None


def score(
    model: Model, texts: Any, method: str | None, per_token: bool, end: bool, cut: list[bool] | None
) -> Any:
    """Score one text or many; see `Model.score`.

    Raises:
        UserError: the model lacks what the score needs; something that is not a text.
    """
    items, one = as_items(texts, "score", "a text")
    checked = [text_of(text, f"score: item {i}") for i, text in enumerate(items)]
    found = score_texts(model, checked, method, per_token=per_token, end=end, cut=cut, stacklevel=5)
    results = [some.score if some.tokens is None else list(some.tokens) for some in found]
    return results[0] if one else results


def score_texts(
    model: Model,
    texts: Sequence[str],
    method: str | None,
    *,
    per_token: bool = False,
    end: bool = False,
    cut: list[bool] | None = None,
    stacklevel: int = 3,
) -> list[TextScore]:
    """Score many texts; arguments as those of `Model.score`.

    Raises:
        UserError: the model lacks what the score needs.
    """
    chosen = choose_method(method, model.config.objective, model._params, end=end)
    encodings = [model.tokenizer.encode_with_offsets(text) for text in texts] if per_token else []
    ids = [encoding.ids for encoding in encodings] if per_token else model.tokenizer.encode_batch(texts)
    scores = score_rows(model, model._rows(ids, cut, stacklevel=stacklevel), chosen, end=end)
    found = [TextScore(text_score(values, chosen), len(values)) for values in scores]
    for number, (text, encoding) in enumerate(zip(texts, encodings, strict=False)):
        places = encoding.offsets[: found[number].count - end] + [(len(text), len(text))] * end
        tokens = tuple(
            ScoredToken(text[begin:end], begin, end, float(value))
            for (begin, end), value in zip(places, scores[number], strict=True)
        )
        found[number] = replace(found[number], tokens=tokens)
    return found


def score_rows(model: Model, rows: Rows, method: str, *, end: bool = False) -> list[np.ndarray]:
    """Return the scores of the text tokens of each row ``[CLS] tokens [SEP]``, and of [SEP] with ``end``.

    Rows of the same tokens are scored once, and so alike to the last bit.

    Returns:
        float32 ``[tokens]`` of each row.
    """
    first: dict[bytes, int] = {}
    numbers = [first.setdefault(ids.tobytes(), len(first)) for ids in rows.input_ids]
    unique = [np.frombuffer(key, np.int32) for key in first]
    in_one_pass = SCORES[method].token_scores
    if in_one_pass is None:
        found = _by_masking(model, unique)
    else:
        setting = {"end": True} if end else {}
        found = _in_one_pass(
            model, unique, partial(in_one_pass, model._network, **setting), f"score {method} end={end}", end
        )
    return [found[number] for number in numbers]


def _in_one_pass(
    model: Model, rows: Sequence[np.ndarray], token_scores: Callable[..., Any], what: str, end: bool
) -> list[np.ndarray]:
    special = SpecialIds.of(model.tokenizer)

    def outputs(params: Any, batch: TaskBatch) -> dict[str, Array]:
        return {"score": token_scores(params, batch.inputs.input_ids, special)[0]}

    if not rows:
        return []
    scores = model._run(what, outputs, _as_rows(rows))["score"]
    return [some[1 : len(ids) - 1 + end] for some, ids in zip(scores, rows, strict=True)]


def _by_masking(model: Model, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Score every masking of every row as a row of its own, so that batches are full whatever the texts' lengths."""
    network: Any = model._network
    special = SpecialIds.of(model.tokenizer)

    def outputs(params: Any, batch: TaskBatch) -> dict[str, Array]:
        columns = batch.targets["column"]
        return {"score": masked_log_probs(network, params, batch.inputs.input_ids, columns, special)}

    found: list[np.ndarray] = [np.zeros(0, np.float32)] * len(rows)
    lengths = np.array([len(ids) for ids in rows])
    for chosen, most in ((lengths <= _SHORT, _SHORT_ROWS), (lengths > _SHORT, _LONG_ROWS)):
        here = np.flatnonzero(chosen)
        pieces = []
        for numbers, columns in _maskings(lengths[here]):
            masked = _as_rows([rows[here[number]] for number in numbers], column=columns)
            at_once = most if len(columns) >= most else _LONG_ROWS
            pieces.append(model._run("score pll", outputs, masked, rows_per_device=at_once)["score"])
        if pieces:
            ends = np.cumsum(lengths[here] - 2)
            for number, scores in zip(here, np.split(np.concatenate(pieces), ends[:-1]), strict=True):
                found[number] = scores
    return found


def _maskings(lengths: Iterable[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (number of the row, column to mask), int32, of every text token in order, in parts of bounded size."""
    numbers: list[int] = []
    columns: list[int] = []
    size = 0
    for number, length in enumerate(lengths):
        for column in range(1, length - 1):
            numbers.append(number)
            columns.append(column)
            size += length
            if size >= _MAX_MASKED_TOKENS:
                yield np.array(numbers, np.int32), np.array(columns, np.int32)
                numbers, columns, size = [], [], 0
    if numbers:
        yield np.array(numbers, np.int32), np.array(columns, np.int32)


def _as_rows(ids: Sequence[np.ndarray], **targets: np.ndarray) -> Rows:
    return Rows(ids, [np.zeros_like(row) for row in ids], targets, np.arange(len(ids), dtype=np.int32))
