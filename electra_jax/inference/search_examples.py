"""Examples of a ranker whose candidates are those of an index: how often what is right is found, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from electra_jax.config.ranking_task import RankingConfig
from electra_jax.data.sources.compressed import split_extension
from electra_jax.errors import UserError
from electra_jax.inference.searching import Searcher
from electra_jax.retrieval.candidates import Candidate
from electra_jax.tasks.protocol import RankingExample
from electra_jax.tasks.rank_metrics import place_measures
from electra_jax.tasks.sources.own_files import FORMATS
from electra_jax.tasks.sources.rankings import RankingReader
from electra_jax.tasks.sources.records import records_of
from electra_jax.tasks.sources.reply_examples import reply_examples

METRICS = ("hits@1", "recall@10", "recall@100", "mrr@10", "ndcg@10")
_FOUND = 100
# Contexts that are searched for together.
_CHUNK = 1 << 10


def read_examples(
    path: Path, section: RankingConfig, task: str, sequence_length: int | None = None
) -> list[RankingExample]:
    """Read examples as the section of a task says; the right candidate is enough. Of conversations each reply is one.

    Raises:
        UserError: no such format, no examples, or a file that is not as the section says.
    """
    where = f"finetune.tasks.{task}"
    examples: list[RankingExample] = []
    if section.conversations is not None:
        read = reply_examples({"train": path}, section, section.conversations, where, [], sequence_length)[
            "train"
        ]
        examples += [example for example in read if isinstance(example, RankingExample)]
    else:
        extension = split_extension(str(path))[0]
        if extension not in FORMATS["ranking"]:
            raise UserError(
                f"{path} is not a file that examples are read from; give {', '.join(FORMATS['ranking'])}, or one of "
                "these packed as .gz, .xz, .zst or .bz2"
            )
        reader = RankingReader(section, where)
        for place, record in records_of(path, extension):
            examples += reader.read(record, place, len(examples), may_be_hidden=False, one_is_enough=True)
    if not examples:
        raise UserError(f"{path} is empty: it must have contexts with what is right after them")
    return examples


def candidates_of_examples(examples: Sequence[RankingExample]) -> list[Candidate]:
    """Return all candidates of examples, the right ones and others, each once, in order."""
    texts = dict.fromkeys(text for example in examples for text in example.candidates)
    return [Candidate(number, text) for number, text in enumerate(texts)]


def search_scores(
    searcher: Searcher,
    examples: Sequence[RankingExample],
    progress: Callable[[int], object] | None = None,
) -> dict[str, float]:
    """Return `METRICS` in percent: each example's right candidates are looked for among all of the index.

    Of equal scores a right candidate comes last, as in `ranking_measures`.

    Args:
        searcher: of the index.
        examples: with their right candidates.
        progress: told how many more are done.

    Raises:
        UserError: a right candidate is not in the index.
    """
    numbers = {candidate.text: number for number, candidate in enumerate(searcher.index.candidates)}
    right = [_right_numbers(example, numbers) for example in examples]
    places = []
    for start in range(0, len(examples), _CHUNK):
        some = examples[start : start + _CHUNK]
        # One more, by which it is seen whether what follows has the score of the last.
        scores, found, _ = searcher.nearest([example.context for example in some], _FOUND + 1)
        for row, wanted in enumerate(right[start : start + _CHUNK]):
            places.append(_places(scores[row], found[row], wanted, len(searcher.index)))
        if progress is not None:
            progress(len(some))
    every = np.arange(len(examples))
    return {name: measure(every) for name, measure in place_measures(places, METRICS).items()}


def _right_numbers(example: RankingExample, numbers: Mapping[str, int]) -> list[int]:
    texts = list(dict.fromkeys(example.candidates[n] for n in example.relevant or ()))
    for text in texts:
        if text not in numbers:
            raise UserError(
                f"what is right in the example {example.id!r} is no candidate of the index ({text[:60]!r}), so it "
                "cannot be found: build an index that has it, or leave the example out"
            )
    return [numbers[text] for text in texts]


def _places(scores: np.ndarray, found: np.ndarray, wanted: Sequence[int], count: int) -> np.ndarray:
    """Return the places of right candidates, from 1, of equal scores behind the others; infinity: it was not found.

    Args:
        scores: float ``[found]``, the best first.
        found: int ``[found]``, their numbers.
        wanted: numbers of the right ones.
        count: of all candidates: where there are more than were found, those with the last score may have others before
            them.
    """
    is_right = np.isin(found, wanted)
    if len(found) < count:
        is_right &= scores > scores[-1]
    order = np.lexsort((is_right, -scores))
    places = np.full(len(wanted), np.inf)
    there = 1 + np.flatnonzero(is_right[order])
    places[: len(there)] = there
    return places


def mined(
    searcher: Searcher,
    examples: Sequence[RankingExample],
    negatives: int,
    skip: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield an example for each right candidate, its negatives the model's own best answers that are not right.

    Names of the fields are those of the task's section, so that it reads what was mined as it reads the others. Where
    an example has several right candidates its id is numbered, since ids must differ.

    Args:
        searcher: of the index whose candidates are taken.
        examples: with their right candidates.
        negatives: of each example, at most.
        skip: how many of the best wrong answers are left out, which may well be right.
        progress: told how many more examples are done.
    """
    section = cast(RankingConfig, searcher.model.config.finetune.tasks[searcher.task])
    names = section.context or "context", section.response or "response", section.negatives or "negatives"
    right: dict[str, set[str]] = {}
    for example in examples:  # a context may be there several times
        texts = (example.candidates[n] for n in example.relevant or ())
        right.setdefault(example.context, set()).update(texts)
    for start in range(0, len(examples), _CHUNK):
        some = examples[start : start + _CHUNK]
        # What is right, and the context itself where it is a candidate, are no negatives.
        most = negatives + skip + 1 + max(len(right[example.context]) for example in some)
        found = searcher.search([example.context for example in some], most)
        for example, answers in zip(some, found, strict=True):
            no_negatives = {example.context, *right[example.context]}
            wrong = [one["candidate"] for one in answers if one["candidate"] not in no_negatives]
            relevant = example.relevant or ()
            for number, name in zip(relevant, numbered_ids(example.id, len(relevant)), strict=True):
                values = example.context, example.candidates[number], wrong[skip : skip + negatives]
                yield {section.id or "id": name, **dict(zip(names, values, strict=True))}
        if progress is not None:
            progress(len(some))


def numbered_ids(name: str, count: int) -> list[str]:
    """Return the ids of the examples that are made of one: its own, or of several ``name-0``, ``name-1``, …."""
    return [name] if count == 1 else [f"{name}-{number}" for number in range(count)]
