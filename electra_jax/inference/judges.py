"""The one table of judges: who can say how good a candidate is for a source, and which models they need."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.inference.reviewing import room_of_training
from electra_jax.inference.scoring import score_rows
from electra_jax.inference.source_scorer import score_for_sources
from electra_jax.inference.source_writer import Source, text_of_source, writing_tasks
from electra_jax.scoring.methods import SCORES, choose_method

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

# (source, candidate) of each, none of which is blank. What was retrieved for a source is for decoders that read it.
Pairs = Sequence[tuple[Source, str]]


@dataclass(frozen=True)
class Judge:
    """Who scores candidates.

    Attributes:
        needs: what its model must be, in words; None where it asks no model.
        score: (model, pairs) → the score of each, the larger the better; not a number where there is nothing to score.
        either_sign: whether less may as well be better.
    """

    needs: str | None
    score: Callable[[Model, Pairs], Sequence[float]]
    either_sign: bool = False


def _by_decoder(model: Model, pairs: Pairs) -> list[float]:
    return [float(values.mean()) for values in score_for_sources(model, pairs)]


def _by_channel(model: Model, pairs: Pairs) -> list[float]:
    return _by_decoder(model, [(candidate, text_of_source(source)) for source, candidate in pairs])


def _by_ranker(model: Model, pairs: Pairs) -> list[float]:
    lists = [
        (source, [candidate for _, candidate in some])
        for source, some in groupby(pairs, lambda pair: text_of_source(pair[0]))
    ]
    return [score for answer in model.rank_all(lists) for score in answer["scores"]]


def _by_text_score(model: Model, pairs: Pairs, *, method: str) -> list[float]:
    texts = _beginnings(model, pairs)
    return _mean_scores(model, [[]] * len(texts), texts, method)


def _in_context(model: Model, pairs: Pairs, *, method: str) -> list[float]:
    texts = _beginnings(model, pairs)
    sources = model.tokenizer.encode_batch([text_of_source(source) for source, _ in pairs])
    room = room_of_training(model)
    # Of a source that is too long, what is next to the candidate is read.
    before = [ids[max(0, len(ids) - room + len(text)) :] for ids, text in zip(sources, texts, strict=True)]
    return _mean_scores(model, before, texts, method)


def _beginnings(model: Model, pairs: Pairs) -> list[Sequence[int]]:
    """Return the tokens of each candidate, of one that is longer than a row of training its beginning."""
    room = room_of_training(model)
    return [ids[:room] for ids in model.tokenizer.encode_batch([candidate for _, candidate in pairs])]


def _mean_scores(
    model: Model, before: Sequence[Sequence[int]], texts: Sequence[Sequence[int]], method: str
) -> list[float]:
    """Return the mean over the tokens of each text, read behind others; not a number where it has none.

    Args:
        model: what judges.
        before: tokens that are read before each text.
        texts: tokens of each.
        method: one of `SCORES`.
    """
    chosen = choose_method(method, model.config.objective, model._params)
    rows = model._rows([[*ids, *text] for ids, text in zip(before, texts, strict=True)], [])
    return [
        float(scores[len(ids) :].mean(dtype=np.float64)) if len(scores) > len(ids) else math.nan
        for scores, ids in zip(score_rows(model, rows, chosen), before, strict=True)
    ]


def _by_length(model: Model, pairs: Pairs) -> list[float]:
    del model
    return [math.log(len(candidate)) for _, candidate in pairs]


# At the end of the names of scores that are asked for candidates behind their sources.
_IN_CONTEXT = "_in_context"

JUDGES: Mapping[str, Judge] = {
    "decoder": Judge("a task that writes (kind: seq2seq)", _by_decoder),
    "channel": Judge("a task that writes (kind: seq2seq), sources for texts", _by_channel),
    "ranker": Judge("a task that ranks (kind: ranking)", _by_ranker),
    **{name: Judge(score.needs, partial(_by_text_score, method=name)) for name, score in SCORES.items()},
    **{
        name + _IN_CONTEXT: Judge(score.needs, partial(_in_context, method=name))
        for name, score in SCORES.items()
    },
    "length": Judge(None, _by_length, either_sign=True),
}


def check_judge(name: str, config: Config, origin: str) -> None:
    """Refuse a model that cannot be this judge, by what its configuration says.

    Args:
        name: of the judge, one of `JUDGES`.
        config: of the model.
        origin: where the model is, for the message.

    Raises:
        UserError: it says what the judge needs.
    """
    needs = JUDGES[name].needs
    if (method := name.removesuffix(_IN_CONTEXT)) in SCORES:
        try:
            choose_method(method, config.objective, None)
        except UserError as error:
            raise UserError(f"the judge {name} cannot be {origin}: {error}") from None
    elif needs is not None:
        able = writing_tasks(config) if name in ("decoder", "channel") else _ranking_tasks(config)
        if len(able) != 1:
            there = f"has {len(able)} of them" if able else f"({config.kind_of_run}) has none"
            raise UserError(
                f"the judge {name} needs a model with one task of its kind, {needs}: {origin} {there}"
            )


def _ranking_tasks(config: Config) -> list[str]:
    return [name for name, task in config.finetune.tasks.items() if task.kind == "ranking"]
