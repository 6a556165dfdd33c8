"""Grammatical error detection: files of words marked right or wrong, and how well suspicion finds the wrong ones.

MultiGED-2023 (Volodina et al., NLP4CALL 2023) has a word and ``c`` or ``i`` a line, an empty line between sentences,
and F0.5 of the wrong words as its score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from electra_jax.errors import UserError
from electra_jax.inference.reviewing import word_suspicions
from electra_jax.inference.words import write_words
from electra_jax.tasks.sources.word_columns import read_word_columns

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

_RIGHT, _WRONG = "c", "i"
_BETA = 0.5  # a false alarm costs more than a miss


@dataclass(frozen=True)
class MarkedSentence:
    """The words of a sentence, and whether each is wrong.

    Attributes:
        words: in order.
        wrong: of each.
    """

    words: tuple[str, ...]
    wrong: tuple[bool, ...]


@dataclass(frozen=True)
class Detection:
    """How well wrong words are found with a threshold.

    Attributes:
        precision: of the words above it.
        recall: of the wrong words.
        f05: F0.5 of both, in which precision counts twice.
    """

    precision: float
    recall: float
    f05: float


def read_marked_sentences(path: Path) -> list[MarkedSentence]:
    """Read a file of words marked right or wrong, compressed or not.

    Raises:
        UserError: it cannot be read, has another mark, or no word is wrong or none right.
    """
    sentences = []
    for example in read_word_columns(path):
        assert example.tags is not None
        if odd := set(example.tags) - {_RIGHT, _WRONG}:
            raise UserError(
                f"{path} has the mark {min(odd)!r} in {example.words[0]!r}'s sentence, number {int(example.id) + 1}: a "
                "word is marked c (right) or i (wrong)"
            )
        sentences.append(MarkedSentence(example.words, tuple(tag == _WRONG for tag in example.tags)))
    marks = {wrong for sentence in sentences for wrong in sentence.wrong}
    if len(marks) < 2:
        raise UserError(
            f"{path} marks all words {_WRONG if True in marks else _RIGHT}: nothing can be told apart"
        )
    return sentences


def suspicions_of_words(model: Model, sentences: Sequence[MarkedSentence]) -> np.ndarray:
    """Return the probability that each word was replaced, those of all sentences in order, float64 ``[words]``."""
    written = [write_words(sentence.words) for sentence in sentences]
    encodings = [model.tokenizer.encode_with_offsets(text) for text, _ in written]
    return np.concatenate(word_suspicions(model, encodings, [spans for _, spans in written]))


def wrong_words(sentences: Sequence[MarkedSentence]) -> np.ndarray:
    """Return whether each word is wrong, bool ``[words]``."""
    return np.array([wrong for sentence in sentences for wrong in sentence.wrong])


def detection(scores: np.ndarray, wrong: np.ndarray, threshold: float) -> Detection:
    """Score the marking of all words whose score is ``threshold`` or more; 0.0 where there is nothing to divide by."""
    marked = scores >= threshold
    hits = int((marked & wrong).sum())
    precision = hits / max(1, int(marked.sum()))
    recall = hits / max(1, int(wrong.sum()))
    weighted = _BETA**2 * precision + recall
    return Detection(precision, recall, (1 + _BETA**2) * precision * recall / weighted if weighted else 0.0)


def best_threshold(scores: np.ndarray, wrong: np.ndarray) -> float:
    """Return the threshold with the best F0.5, one of the scores; of equally good ones the highest."""
    order = np.argsort(-scores, kind="stable")
    hits, marked = np.cumsum(wrong[order]), np.arange(1, len(order) + 1)
    f05 = (1 + _BETA**2) * hits / (marked + _BETA**2 * wrong.sum())
    last_of_equals = np.append(np.diff(scores[order]) != 0, True)
    return float(scores[order][np.where(last_of_equals, f05, -1.0).argmax()])


def area_under_roc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Return P(score of a positive > score of another), ties counted as a half; None where one of them is missing."""
    _, ranks, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - (counts - 1) / 2)[ranks]
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return None
    return float((middle[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the mean, over the positives, of the precision at the score of each."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # equal scores are one step
    found, marked = hits[last], last + 1
    return float((np.diff(found, prepend=0) * found / marked).sum() / positive.sum())
