"""What `predict` writes for texts where no task says it: objects for JSON, those of texts that were cut marked."""

import math
from dataclasses import asdict
from typing import Any

from electra_jax.errors import UserError
from electra_jax.inference.filling import check_gaps
from electra_jax.inference.items import candidates_of
from electra_jax.inference.model import Model
from electra_jax.inference.records import Record
from electra_jax.inference.reranking import Reranker
from electra_jax.inference.scoring import score_texts
from electra_jax.inference.source_writer import Source, SourceWriter
from electra_jax.model.pooling import Pooling

Predictions = list[dict[str, Any]]


def detected(model: Model, texts: list[str]) -> Predictions:
    """Return the tokens of each text, and how likely they were replaced."""
    cut: list[bool] = []
    found = model.detect(texts, cut=cut)
    return [
        {"tokens": [asdict(token) for token in tokens]} | _truncated_mark(is_cut)
        for tokens, is_cut in zip(found, cut, strict=True)
    ]


def encoded(model: Model, texts: list[str], pooling: Pooling, layer: int | None) -> Predictions:
    """Return a vector for each text."""
    cut: list[bool] = []
    found = model.encode(texts, pooling, layer, cut=cut)
    return [
        {"vector": vector.tolist()} | _truncated_mark(is_cut)
        for vector, is_cut in zip(found, cut, strict=True)
    ]


def scored(model: Model, texts: list[str], method: str | None, *, per_token: bool, end: bool) -> Predictions:
    """Return a number for each text, the larger the likelier; null where it is not finite."""
    cut: list[bool] = []
    found = score_texts(model, texts, method, per_token=per_token, end=end, cut=cut)
    return [
        {"score": some.score if math.isfinite(some.score) else None, "tokens": some.count}
        | ({} if some.tokens is None else {"token_scores": [asdict(token) for token in some.tokens]})
        | _truncated_mark(is_cut)
        for some, is_cut in zip(found, cut, strict=True)
    ]


def text_with_gaps(record: Record) -> str:
    """Return the text of a record.

    Raises:
        UserError: it has none, or no gap.
    """
    text = record.text("text")
    check_gaps(text, record.where)
    return text


def filled(model: Model, texts: list[str], k: int) -> Predictions:
    """Return the likeliest tokens at the gaps of each text."""
    cut: list[bool] = []
    found = model.fill(texts, k, cut=cut)
    return [
        {"gaps": [[asdict(filling) for filling in gap] for gap in gaps]} | _truncated_mark(is_cut)
        for gaps, is_cut in zip(found, cut, strict=True)
    ]


def reviewed(model: Model, texts: list[str], threshold: float, k: int) -> Predictions:
    """Return the words of each text that look wrong."""
    return [{"words": [asdict(word) for word in words]} for words in model.review(texts, threshold, k)]


def _truncated_mark(is_cut: bool) -> dict[str, Any]:
    return {"truncated": True} if is_cut else {}


def source_with_candidates(writer: SourceWriter, record: Record) -> tuple[Source, tuple[str, ...]]:
    """Return the field ``text``, with what was retrieved for it where the task reads that, and the list ``candidates``.

    Args:
        writer: the task whose sources these are.
        record: of a file.

    Raises:
        UserError: they are not there, or something else; the source is longer than the task takes.
    """
    if (given := record.fields.get("candidates")) is None:
        raise UserError(f"{record.where} has no 'candidates', a list of texts to put in order")
    text, candidates = candidates_of((record.text("text"), given), record.where)
    return writer.prompt_of(record, text), candidates


def reranked(reranker: Reranker, lists: list[tuple[Source, tuple[str, ...]]]) -> Predictions:
    """Return ``ranked``, the candidates for each source, the best first."""
    return [{"ranked": ranked} for ranked in reranker.rank_all(lists)]
