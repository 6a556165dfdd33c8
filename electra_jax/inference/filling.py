"""The likeliest tokens at the gaps of a text: what `Model.fill` does."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from electra_jax.config.objectives import Objective
from electra_jax.errors import UserError
from electra_jax.inference.gaps import encode_gaps, has_gap, replace_tokens
from electra_jax.inference.items import as_items, text_of
from electra_jax.objectives.masked_lm import SpecialIds
from electra_jax.scoring.methods import usable_methods
from electra_jax.scoring.pll import masked_logits
from electra_jax.tasks.protocol import Rows, TaskBatch
from electra_jax.tokenizers import Tokenizer
from electra_jax.tokenizers.text_ids import whole_text_ids

if TYPE_CHECKING:
    from electra_jax.inference.model import Model


@dataclass(frozen=True)
class Filling:
    """A token that a gap may be filled with.

    Attributes:
        token: as the vocabulary spells it.
        probability: that the generator gives it.
        text: the text with it in place of the gap.
    """

    token: str
    probability: float
    text: str


def fill(model: Model, texts: Any, k: int, cut: list[bool] | None) -> Any:
    """Fill the gaps of one text or of many; see `Model.fill`.

    Raises:
        UserError: the model has no generator; a text has no gap; something that is not a text.
    """
    items, one = as_items(texts, "fill", "a text")
    checked = [text_of(text, f"fill: item {i}") for i, text in enumerate(items)]
    check_generator(model.config.objective, model._params)
    check_k(model.tokenizer, k)
    for number, text in enumerate(checked):
        check_gaps(text, f"fill: item {number}")
    found = [encode_gaps(model.tokenizer, text) for text in checked]
    best = iter(zip(*_best_tokens(model, [encoding.ids for encoding in found], k), strict=True))
    results = [
        [
            _fillings(model.tokenizer, text, gap, *next(best))
            for gap, id in zip(encoding.offsets, encoding.ids, strict=True)
            if id == model.tokenizer.mask_id
        ]
        for text, encoding in zip(checked, found, strict=True)
    ]
    is_cut = [len(encoding.ids) > model.max_length - 2 for encoding in found]
    if cut is not None:
        cut += is_cut
    elif any(is_cut):
        warnings.warn(
            f"{sum(is_cut):,} of {len(is_cut):,} texts have more than {model.max_length - 2} tokens: of these what "
            "is around each gap was read",
            stacklevel=3,
        )
    return results[0] if one else results


def check_generator(settings: Objective, parts: Collection[str] | None) -> None:
    """Refuse a model without a generator.

    Args:
        settings: Its section ``objective``.
        parts: Top-level names of its parameters; None: not known yet, and taken to be all.

    Raises:
        UserError: it has none.
    """
    if "pll" not in usable_methods(settings, parts):
        raise UserError(
            "filling gaps needs a masked language model or ELECTRA's generator, which this model "
            f"({settings.kind}) does not have"
        )


def check_k(tokenizer: Tokenizer, k: int) -> None:
    """Refuse a number of tokens that cannot be proposed.

    Raises:
        UserError: there are not so many.
    """
    most = int(whole_text_ids(tokenizer).sum())
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= most:
        raise UserError(
            f"the number of tokens for a gap is {k!r}, but must be a whole number from 1 to {most:,}"
        )


def check_gaps(text: str, where: str) -> None:
    """Refuse a text without a gap.

    Raises:
        UserError: there is none; ``where`` begins the message.
    """
    if not has_gap(text):
        raise UserError(f"{where} has no gap: write [MASK] or ___ where a token is to be found")


def _best_tokens(model: Model, texts: Sequence[Sequence[int]], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and probabilities ``[gaps, k]`` of the likeliest tokens at each [MASK], of all texts in order."""
    tokenizer, room = model.tokenizer, model.max_length - 2
    network: Any = model._network
    special = SpecialIds.of(tokenizer)
    never = np.flatnonzero(~whole_text_ids(tokenizer))

    def outputs(params: Any, batch: TaskBatch) -> dict[str, Array]:
        columns = batch.targets["column"]
        logits = masked_logits(network, params, batch.inputs.input_ids, columns, special)
        values, ids = jax.lax.top_k(jax.nn.softmax(logits).at[:, never].set(-1.0), k)
        return {"ids": ids.astype(jnp.int32), "probabilities": values}

    rows, columns = [], []
    for ids in texts:
        for place in (place for place, id in enumerate(ids) if id == tokenizer.mask_id):
            row, column = row_around(tokenizer, ids, place, room)
            rows.append(row)
            columns.append(column)
    if not rows:
        return np.zeros((0, k), np.int32), np.zeros((0, k), np.float32)
    types = [np.zeros_like(row) for row in rows]
    found = model._run(
        f"fill {k}",
        outputs,
        Rows(rows, types, {"column": np.array(columns, np.int32)}, np.arange(len(rows), dtype=np.int32)),
    )
    return found["ids"], found["probabilities"]


def row_around(tokenizer: Tokenizer, ids: Sequence[int], place: int, room: int) -> tuple[np.ndarray, int]:
    """Return the row of a model, int32 ``[length]``, that has most around one token of a text, and its column there.

    Args:
        tokenizer: whose ids they are.
        ids: of the text.
        place: of the token in it.
        room: tokens of the text in a row.
    """
    begin = min(max(0, place - room // 2), max(0, len(ids) - room))
    part = ids[begin : begin + room]
    return np.array([tokenizer.cls_id, *part, tokenizer.sep_id], np.int32), place - begin + 1


def _fillings(
    tokenizer: Tokenizer, text: str, gap: tuple[int, int], ids: np.ndarray, probabilities: np.ndarray
) -> list[Filling]:
    return [
        Filling(tokenizer.token(id), float(probability), replace_tokens(tokenizer, text, [gap], [int(id)]))
        for id, probability in zip(ids, probabilities, strict=True)
    ]
