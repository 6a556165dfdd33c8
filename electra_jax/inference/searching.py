"""Searching many candidates: what `Model.index` and `Model.search` do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from electra_jax.config.schema import Config
from electra_jax.config.tasks import RankingConfig
from electra_jax.errors import UserError
from electra_jax.files.local_paths import local_path
from electra_jax.inference.items import as_items, text_of
from electra_jax.objectives.kinds import abilities
from electra_jax.retrieval.candidates import Candidate
from electra_jax.retrieval.index import CandidateIndex, Description, check_new, new_vectors, open_index
from electra_jax.retrieval.nearest import NearestVectors
from electra_jax.tasks.inputs import params_digest
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.protocol import Rows
from electra_jax.tasks.ranking import RankingTask
from electra_jax.tasks.ranking_rows import Side
from electra_jax.tasks.ranking_vectors import VectorsOf

if TYPE_CHECKING:
    from electra_jax.inference.load import Model

# Candidates that are encoded, sorted by length, and written together.
_CHUNK = 1 << 14
# Rows of up to so many tokens are little work: a batch of them has more for each device than one of longer rows.
_SHORT, _SHORT_ROWS, _LONG_ROWS = 48, 128, 32

Index = CandidateIndex | str | Path


def ranking_task(config: Config, tasks: Iterable[str], name: str | None) -> str:
    """Return the name of the task that ranks.

    Args:
        config: of the model.
        tasks: its own, by name.
        name: that is asked for; None: the only one.

    Raises:
        UserError: the model has no such task, or several and none is named.
    """
    tasks = list(tasks)
    kinds = {task: config.finetune.tasks[task].kind for task in tasks}
    fitting = [task for task, kind in kinds.items() if kind == "ranking"]
    if not fitting:
        writes = "write" in abilities(config.objective) or "seq2seq" in kinds.values()
        does = "writes and cannot rank" if writes else "has no task that ranks"
        raise UserError(
            f"this model ({config.kind_of_run}) {does}: use one that was fine-tuned on a task of kind ranking "
            "(docs/ranking.md)"
        )
    if name is None and len(fitting) == 1:
        return fitting[0]
    if name not in fitting:
        asked = f"no task {name!r} that ranks" if name else "several tasks that rank"
        raise UserError(f"this model has {asked}: name one of {', '.join(fitting)}")
    return name


def searching_task(config: Config, tasks: Iterable[str], name: str | None) -> str:
    """Return the name of the task that makes vectors of candidates.

    Raises:
        UserError: as `ranking_task`; or it reads context and candidate together.
    """
    name = ranking_task(config, tasks, name)
    if cast(RankingConfig, config.finetune.tasks[name]).encoder == "cross":
        raise UserError(
            f"the task {name} is a cross-encoder, which reads each candidate with its context and has no vectors of "
            "candidates to keep: search with encoder bi or poly, and rank what was found with this one"
        )
    return name


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
        _fingerprint(model, name),
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
        vectors = np.empty((len(candidates), description.width), np.float32)
        fill(vectors)
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


def side_vectors(
    model: Model, name: str, side: Side, texts: Sequence[str]
) -> tuple[np.ndarray, float, list[bool]]:
    """Return vectors of texts, float32 ``[texts, codes, width]``, the scale of scores, and which texts were cut."""
    one_side = VectorsOf(cast(RankingTask, model.tasks[name]), side)
    rows = one_side.encode(texts)
    objective = FineTuning(model._network, {name: cast(Any, one_side)}, {})
    lengths = rows.lengths
    vectors: np.ndarray | None = None
    scale = 1.0
    for chosen, most in ((lengths <= _SHORT, _SHORT_ROWS), (lengths > _SHORT, _LONG_ROWS)):
        numbers = np.flatnonzero(chosen)
        if not len(numbers):
            continue
        at_once = most if len(numbers) >= most else _LONG_ROWS
        found = model._run(
            f"{side} vectors {name}", objective.outputs, _some(rows, numbers), name, rows_per_device=at_once
        )
        if vectors is None:
            vectors = np.empty((len(texts), *found["vectors"].shape[1:]), np.float32)
        vectors[numbers] = found["vectors"]
        scale = float(found["scale"][0])
    if vectors is None:
        vectors = np.zeros((0, 1, model.config.model.hidden_size), np.float32)
    return vectors, scale, list(rows.details)


def _some(rows: Rows, numbers: np.ndarray) -> Rows:
    return Rows(
        [rows.input_ids[n] for n in numbers],
        [rows.token_type_ids[n] for n in numbers],
        {},
        np.arange(len(numbers), dtype=np.int32),
        segment_ids=[rows.segment_ids[n] for n in numbers],
    )


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
        if (made.task, made.model) != (self.task, _fingerprint(model, self.task)):
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
    found = searcher_of(model, index, task).search(checked, k)
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


def candidates_from(given: Iterable[Any]) -> list[Candidate]:
    """Return texts as candidates whose ids are their places, from 0; of equal texts the first alone.

    Raises:
        UserError: something that is not a text.
    """
    texts: dict[str, int] = {}
    for number, text in enumerate(given):
        texts.setdefault(text_of(text, f"index: candidate {number}"), number)
    return [Candidate(number, text) for text, number in texts.items()]


def _named(model: Model, made: Description) -> str | None:
    """Return the task that built an index, where the model has one of that name."""
    return made.task if made.task in model.tasks else None


def _fingerprint(model: Model, task: str) -> str:
    """Return a hash of what vectors depend on: the vocabulary, the encoder, and the task's head."""
    if task not in model._fingerprints:
        parts: Mapping[str, Any] = {name: model._params[name] for name in ("embeddings", "encoder")}
        digest = params_digest({**parts, "head": model._params["heads"][task]})
        model._fingerprints[task] = f"{digest}-{model.tokenizer.fingerprint}"
    return model._fingerprints[task]
