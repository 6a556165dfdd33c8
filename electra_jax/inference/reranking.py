"""Candidates for a source, the best first: what judges say of each, mixed by weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from electra_jax.errors import UserError, listed
from electra_jax.generation.rerank import mixed
from electra_jax.generation.written import Generation
from electra_jax.inference.items import as_items, judged_of
from electra_jax.inference.judges import JUDGES
from electra_jax.inference.records import Record
from electra_jax.inference.source_writer import Source, SourceWriter
from electra_jax.inference.writer import Writer

if TYPE_CHECKING:
    from electra_jax.inference.model import Model


class Reranker:
    """A mixture of judges.

    Attributes:
        judges: by name, with the model of each; None for one that asks no model.
        weights: of each.
    """

    def __init__(self, judges: Mapping[str, Model | None], weights: Mapping[str, float] | None = None):
        """Mix judges.

        Args:
            judges: some of ``decoder``, ``channel``, ``ranker``, ``lm``, ``pll``, ``rtd``, ``electric``, these four
                with ``_in_context``, and ``length`` (docs/generation.md), with a model for each; None for ``length``.
            weights: what each judge's score is multiplied by; None: 1.

        Raises:
            UserError: no judge, one that there is not, one without its model, or weights of others.
        """
        weights = dict.fromkeys(judges, 1.0) if weights is None else weights
        check_judges(judges, weights)
        for name, model in judges.items():
            if (JUDGES[name].needs is None) != (model is None):
                wanted = "asks no model: give None" if model is not None else f"needs {JUDGES[name].needs}"
                raise UserError(f"the judge {name} {wanted}")
        self.judges = dict(judges)
        self.weights = {name: float(weights[name]) for name in judges}

    def __repr__(self) -> str:
        """Show the mixture."""
        return f"<Reranker {' + '.join(f'{weight:g} · {name}' for name, weight in self.weights.items())}>"

    def rank(self, source: Source, candidates: Sequence[str]) -> list[dict[str, Any]]:
        """Return the candidates for a source, the best first.

        Args:
            source: what they were written for: a text to translate or to summarise, the turns of a dialogue; or a pair
                of that and what was retrieved for it, which decoders read whose task has ``retrieval``.
            candidates: one or more, whoever wrote them.

        Returns:
            ``candidate``, its ``number`` among those given, from 0, its ``score``, and ``scores`` of each judge. A
            blank candidate, or one in which a judge finds no token, comes last; None stands for what it lacks.

        Raises:
            UserError: something that is not a text; no candidates; a source that a judge refuses.
        """
        return self.rank_all([(source, candidates)])[0]

    def rank_all(self, lists: Iterable[tuple[Source, Sequence[str]]]) -> list[list[dict[str, Any]]]:
        """Rank the candidates of many (source, candidates), as `rank` does those of one.

        Raises:
            UserError: see `rank`.
        """
        items, _ = as_items(lists, "rank_all", "a source with its candidates")
        checked = [judged_of(item, f"rank_all: item {i}") for i, item in enumerate(items)]
        scores = self.scores(checked)
        totals = self.mixed(scores)
        return [
            [
                {
                    "candidate": candidates[number],
                    "number": number,
                    "score": number_or_none(total[number]),
                    "scores": {
                        name: number_or_none(score) for name, score in self._by_name(of_each[number]).items()
                    },
                }
                for number in best_first(total, len(candidates))
            ]
            for (_, candidates), of_each, total in zip(checked, scores, totals, strict=True)
        ]

    def scores(self, lists: Sequence[tuple[Source, Sequence[str]]]) -> np.ndarray:
        """Return what each judge says of each candidate, float64 ``[sources, candidates, judges]``.

        Shorter lists are filled up with scores that are not numbers, which blank candidates have too. What occurs
        several times for a source is judged once.

        Raises:
            UserError: a source that a judge refuses.
        """
        pairs = list(
            dict.fromkeys(
                (source, candidate)
                for source, candidates in lists
                for candidate in candidates
                if candidate.strip()
            )
        )
        longest = max((len(candidates) for _, candidates in lists), default=0)
        found = np.full((len(lists), longest, len(self.judges)), math.nan)
        for place, (name, model) in enumerate(self.judges.items()):
            scorer: Callable[..., Sequence[float]] = JUDGES[name].score
            known = dict(zip(pairs, scorer(model, pairs) if pairs else [], strict=True))
            for number, (source, candidates) in enumerate(lists):
                for column, candidate in enumerate(candidates):
                    found[number, column, place] = known.get((source, candidate), math.nan)
        return found

    def mixed(self, scores: np.ndarray) -> np.ndarray:
        """Return Σ weight · score of what `scores` returned, float64 ``[sources, candidates]``."""
        return mixed(scores, np.array(list(self.weights.values())))

    def reorder(
        self, sources: Sequence[Source], texts: Sequence[Sequence[Generation]]
    ) -> list[list[Generation]]:
        """Return the texts that were written for each source, the best first, with what each judge says of it.

        Raises:
            UserError: a source that a judge refuses.
        """
        lists = [(source, [text.text for text in some]) for source, some in zip(sources, texts, strict=True)]
        scores = self.scores(lists)
        totals = self.mixed(scores)
        return [
            [
                replace(some[number], score=float(total[number]), scores=self._by_name(of_each[number]))
                for number in best_first(total, len(some))
            ]
            for some, of_each, total in zip(texts, scores, totals, strict=True)
        ]

    def _by_name(self, scores: np.ndarray) -> dict[str, float]:
        return dict(zip(self.judges, map(float, scores), strict=True))


def number_or_none(score: float) -> float | None:
    """Return a score as JSON can hold it."""
    return float(score) if math.isfinite(score) else None


def best_first(totals: np.ndarray, count: int) -> list[int]:
    """Return the numbers of the first ``count`` candidates by their scores, equal ones in their order."""
    order: list[int] = np.argsort(-totals[:count], kind="stable").tolist()
    return order


def check_judges(judges: Iterable[str], weights: Mapping[str, float]) -> None:
    """Refuse judges that there are not, and weights that do not go with them.

    Raises:
        UserError: no judge, an unknown one, a weight that is no number, is missing or belongs to no judge.
    """
    names = list(judges)
    if not names:
        raise UserError(f"there is no judge to rerank by: name some of {listed(JUDGES, len(JUDGES))}")
    if unknown := [name for name in names if name not in JUDGES]:
        raise UserError(f"there is no judge {unknown[0]!r}; there are: {listed(JUDGES, len(JUDGES))}")
    if different := sorted(set(names) ^ set(weights)):
        lacks = "has no weight" if different[0] in names else "has a weight and is no judge here"
        raise UserError(f"the judge {different[0]} {lacks}: judges and weights must have the same names")
    for name, weight in weights.items():
        is_number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
        if not is_number or not math.isfinite(weight):
            raise UserError(f"the weight of the judge {name} is {weight!r}, and must be a number")


def check_several(texts_per_prompt: int) -> None:
    """Refuse to choose among one text.

    Raises:
        UserError: it says which settings give several.
    """
    if texts_per_prompt < 2:
        raise UserError(
            "reranking chooses among several texts, and one is written for each source: set generation.beams and "
            "generation.n_best, or generation.n"
        )


def writer_of_several(writer: Writer | SourceWriter) -> SourceWriter:
    """Return a writer that gives several texts for each source.

    Raises:
        UserError: it is a causal language model, or asked for one text a source.
    """
    if not isinstance(writer, SourceWriter):
        raise UserError(
            "reranking chooses among texts for a source, which a task of kind seq2seq writes, and this model has none"
        )
    check_several(writer.texts_per_prompt)
    return writer


class RerankingWriter:
    """A task that writes several texts for each source, of which judges say which is best.

    Attributes:
        texts_per_prompt: how many each source gets.
    """

    def __init__(self, writer: Writer | SourceWriter, reranker: Reranker):
        """Put a reranker behind a writer.

        Raises:
            UserError: see `writer_of_several`.
        """
        writer = writer_of_several(writer)
        self._writer, self._reranker = writer, reranker
        self.texts_per_prompt = writer.texts_per_prompt

    @property
    def retrieves(self) -> bool:
        """Whether the task reads what was retrieved for a source."""
        return self._writer.retrieves

    def prompt_of(self, record: Record, text: str) -> Source:
        """Return a source that a record holds; see `SourceWriter.prompt_of`."""
        return self._writer.prompt_of(record, text)

    def prompt(self, text: str, where: str, retrieved: str | None = None) -> Source:
        """Return a source as `write` takes it; see `SourceWriter.prompt`."""
        return self._writer.prompt(text, where, retrieved)

    def write(
        self,
        sources: Sequence[Source],
        numbers: Sequence[int] | None = None,
        done: Callable[[int], Any] = lambda count: None,
        most_rows: int | None = None,
    ) -> list[list[Generation]]:
        """Return the texts for each source, the best first; see `SourceWriter.write`."""
        return self._reranker.reorder(sources, self._writer.write(sources, numbers, done, most_rows))

    def stream(self, source: str) -> Iterator[str]:
        """Refuse: see `SourceWriter.stream`."""
        return self._writer.stream(source)
