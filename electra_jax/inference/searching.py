"""Searching many candidates: what `Model.index` and `Model.search` do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from electra_jax.errors import UserError
from electra_jax.files.local_paths import local_path
from electra_jax.inference.items import as_items, text_of
from electra_jax.inference.rankers import fingerprint, searching_task, side_vectors
from electra_jax.retrieval.index import CandidateIndex, Description, open_index
from electra_jax.retrieval.nearest import NearestVectors
from electra_jax.tasks.ranking import RankingTask

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

Index = CandidateIndex | str | Path


class Searcher:
    """Searches one index with one task of a model.

    Attributes:
        model: that is asked.
        index: that is searched.
        task: that searches it.
    """

    def __init__(self, model: Model, index: Index, task: str | None = None):
        """Open the index, and see that this model made it.

        Raises:
            UserError: it is no index, or another model's; the model has no such task.
        """
        self.index = (
            index if isinstance(index, CandidateIndex) else open_index(local_path(index, "the index"))
        )
        made = self.index.description
        self.model, self.task = (
            model,
            searching_task(model.config, model.tasks, task or _named(model, made)),
        )
        if (made.task, made.model) != (self.task, fingerprint(model, self.task)):
            raise UserError(
                f"the index {self.index.origin} was built by another model, or another task ({made.task}): build it "
                "again with this one"
            )
        codes = cast(RankingTask, model.tasks[self.task]).config.number_of_codes or 1
        self._nearest = NearestVectors(self.index.vectors, codes, model._mesh)

    def search(
        self, contexts: Sequence[str], k: int, cut: list[bool] | None = None
    ) -> list[list[dict[str, Any]]]:
        """Return the best candidates of each context; see `Model.search`.

        Args:
            contexts: texts.
            k: how many candidates of each, at most.
            cut: if given, whether each context was cut is appended.

        Raises:
            UserError: ``k`` is no number from 1 on.
        """
        scores, numbers, is_cut = self.nearest(contexts, k)
        if cut is not None:
            cut += is_cut
        return [
            [
                {"candidate": found.text, "id": found.id, "number": number, "score": score}
                for found, number, score in zip(
                    map(self.index.candidates.__getitem__, some), some, of_one, strict=True
                )
            ]
            for some, of_one in zip(numbers.tolist(), scores.tolist(), strict=True)
        ]

    def nearest(self, contexts: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray, list[bool]]:
        """Return scores float32 and numbers int32 ``[contexts, k]`` of the best, and which contexts were cut.

        Raises:
            UserError: ``k`` is no number from 1 on.
        """
        check_k(k)
        vectors, scale, is_cut = side_vectors(self.model, self.task, "context", contexts)
        scores, numbers = self._nearest.search(vectors, k)
        return scores * np.float32(scale), numbers, is_cut


def check_k(k: Any) -> None:
    """Refuse a number of candidates to find that is none.

    Raises:
        UserError: it is no number from 1 on.
    """
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise UserError(f"k, how many candidates to find, is {k!r}: give a whole number from 1 on")


def search(model: Model, contexts: Any, index: Index, k: int, task: str | None) -> Any:
    """Find the best candidates of one context or many; see `Model.search`.

    Raises:
        UserError: as `Searcher`; something that is not a text.
    """
    items, one = as_items(contexts, "search", "a text")
    checked = [text_of(text, f"search: item {i}") for i, text in enumerate(items)]
    cut: list[bool] = []
    found = searcher_of(model, index, task).search(checked, k, cut)
    if any(cut):
        warnings.warn(f"{sum(cut):,} of {len(cut):,} texts were too long and were cut", stacklevel=3)
    return found[0] if one else found


def searcher_of(model: Model, index: Index, task: str | None) -> Searcher:
    """Return what searches an index; that of the last one stays open.

    Raises:
        UserError: as `Searcher`.
    """
    asked = (index if isinstance(index, CandidateIndex) else str(index), task)
    if model._searcher is None or model._searcher[0] != asked:
        model._searcher = (asked, Searcher(model, index, task))
    searcher: Searcher = model._searcher[1]
    return searcher


def _named(model: Model, made: Description) -> str | None:
    """Return the task that built an index, where the model has one of that name."""
    return made.task if made.task in model.tasks else None
