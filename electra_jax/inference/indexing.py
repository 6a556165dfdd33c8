"""Making the vectors of many candidates: what `Model.index` does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from electra_jax.config.ranking_task import RankingConfig
from electra_jax.errors import UserError
from electra_jax.inference.items import as_items, full_text_of
from electra_jax.inference.rankers import fingerprint, searching_task, side_vectors
from electra_jax.retrieval.candidates import Candidate
from electra_jax.retrieval.index import CandidateIndex, Description, check_new, new_vectors, open_index
from electra_jax.retrieval.nearest import vectors_in_memory

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

# Candidates that are encoded, sorted by length, and written together.
_CHUNK = 1 << 14


def build_index(
    model: Model,
    candidates: Sequence[Candidate],
    directory: Path | None,
    task: str | None,
    *,
    cut: list[bool] | None = None,
    progress: Callable[[int], object] | None = None,
) -> CandidateIndex:
    """Make the vectors of candidates, in a directory or in memory; see `Model.index`.

    Args:
        model: the model.
        candidates: one or more.
        directory: a new one; None: in memory.
        task: that ranks, where there are several.
        cut: if given, whether each candidate was cut is appended; else there is a warning.
        progress: told how many more are done.

    Raises:
        UserError: the model has no such task; no candidates; a directory that exists.
    """
    name = searching_task(model.config, model.tasks, task)
    if not candidates:
        raise UserError("index: there are no candidates, so there is nothing to find")
    model._searcher = None  # of a directory that may have been built anew
    is_cut: list[bool] = []
    description = Description(
        fingerprint(model, name),
        name,
        cast(RankingConfig, model.config.finetune.tasks[name]).encoder,
        len(candidates),
        model.config.model.hidden_size,
    )

    def fill(vectors: np.ndarray) -> None:
        for start in range(0, len(candidates), _CHUNK):
            some = candidates[start : start + _CHUNK]
            found, _, some_cut = side_vectors(model, name, "candidate", [one.text for one in some])
            vectors[start : start + len(some)] = found[:, 0]
            is_cut.extend(some_cut)
            if progress is not None:
                progress(len(some))

    if directory is None:
        vectors = vectors_in_memory(len(candidates), description.width)
        fill(vectors)
        vectors.setflags(write=False)  # devices may read them where they are
        index = CandidateIndex(description, list(candidates), vectors)
    else:
        check_new(directory)
        with new_vectors(directory, candidates, description) as stored:
            fill(stored)
        index = open_index(directory)
    if cut is not None:
        cut += is_cut
    elif any(is_cut):
        warnings.warn(
            f"{sum(is_cut):,} of {len(is_cut):,} candidates were too long and were cut", stacklevel=3
        )
    return index


def candidates_from(given: Any) -> list[Candidate]:
    """Return texts as candidates whose ids are their places, from 0; of equal texts the first alone.

    Raises:
        UserError: no list of texts, or something in it that is not a text, or empty.
    """
    items, _ = as_items(given, "index", "a text")
    texts: dict[str, int] = {}
    for number, text in enumerate(items):
        texts.setdefault(full_text_of(text, f"index: candidate {number}"), number)
    return [Candidate(number, text) for text, number in texts.items()]
