"""SQuAD's official metrics, versions 1.1 and 2.0: exact match, F1 of words, and the best threshold for "no answer"."""

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Return the text in lower case, without ASCII punctuation or articles, one space between words."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(gold: str, prediction: str) -> float:
    """Return 1.0 if both texts are the same after normalisation, else 0.0."""
    return float(normalize_answer(gold) == normalize_answer(prediction))


def token_f1(gold: str, prediction: str) -> float:
    """Return F1 of the normalised words, each as often as it occurs.

    It is 0.0 where no word is shared, as in SQuAD 1.1.
    """
    return words_f1(normalize_answer(gold).split(), normalize_answer(prediction).split())


def words_f1(wanted: Sequence[str], given: Sequence[str]) -> float:
    """Return F1 of words, each as often as it occurs; 0.0 where none is shared."""
    shared = sum((Counter(wanted) & Counter(given)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(given), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


def token_f1_or_none(gold: str, prediction: str) -> float:
    """Return `token_f1` as in SQuAD 2.0, where two texts without words agree."""
    wanted, given = normalize_answer(gold), normalize_answer(prediction)
    if not wanted or not given:
        return float(wanted == given)
    return token_f1(gold, prediction)


def squad1_scores(golds: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """Return ``exact`` and ``f1`` of SQuAD 1.1 in percent: for each question the best over its gold answers.

    Args:
        golds: the answers of each question, at least one.
        predictions: an answer for each.
    """
    return {name: _percent(scores) for name, scores in squad1_each(golds, predictions).items()}


def squad1_each(golds: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, list[float]]:
    """Return what `squad1_scores` is the mean of, for each question, as shares."""
    pairs = list(zip(golds, predictions, strict=True))
    return {
        "exact": [max(exact_match(gold, given) for gold in answers) for answers, given in pairs],
        "f1": [max(token_f1(gold, given) for gold in answers) for answers, given in pairs],
    }


def squad2_scores(
    golds: Sequence[Sequence[str]],
    predictions: Sequence[str],
    no_answer_scores: Sequence[float],
    threshold: float | None = None,
    threshold_for: str = "f1",
) -> dict[str, float]:
    """Return the official metrics of SQuAD 2.0, in percent.

    Args:
        golds: the answers of each question, none where it is unanswerable.
        predictions: the best answer for each that is not "no answer" ("" is no answer as well).
        no_answer_scores: the score of "no answer" for each.
        threshold: questions with a higher score have no answer; None is the best one for ``threshold_for``.
        threshold_for: ``exact`` or ``f1``.

    Returns:
        ``exact`` and ``f1`` at the threshold, the same of the questions with (``HasAns_…``) and without an answer
        (``NoAns_…``) where there are any, ``best_exact`` and ``best_f1`` with ``best_exact_thresh`` and
        ``best_f1_thresh``, which are no percentages.
    """
    has_answer = [bool(answers) for answers in golds]
    raw = _squad2_answered(golds, predictions)
    if threshold is None:
        threshold = find_threshold(golds, predictions, no_answer_scores, threshold_for)
    best: dict[str, float] = {}
    for name, scores in raw.items():
        best[f"best_{name}"], best[f"best_{name}_thresh"] = best_threshold(
            scores, predictions, no_answer_scores, has_answer
        )
    final = _at_threshold(raw, no_answer_scores, has_answer, threshold)
    result = {name: _percent(scores) for name, scores in final.items()}
    for prefix, wanted in (("HasAns", True), ("NoAns", False)):
        if wanted in has_answer:
            for name, scores in final.items():
                chosen = [score for score, answerable in zip(scores, has_answer) if answerable is wanted]
                result[f"{prefix}_{name}"] = _percent(chosen)
    return result | best


def find_threshold(
    golds: Sequence[Sequence[str]],
    predictions: Sequence[str],
    no_answer_scores: Sequence[float],
    metric: str,
) -> float:
    """Return the threshold at which a metric (``exact`` or ``f1``) is best; see `squad2_scores`.

    It is that of the official script, except where no question is better answered: the script's 0.0, which is below
    all scores that are probabilities, is above some that are not, and would answer their questions.
    """
    has_answer = [bool(answers) for answers in golds]
    scores = _squad2_answered(golds, predictions)[metric]
    best, threshold = best_threshold(scores, predictions, no_answer_scores, has_answer)
    unanswered = 100.0 * has_answer.count(False) / len(scores)
    return (
        threshold if best > unanswered else min(threshold, math.nextafter(min(no_answer_scores), -math.inf))
    )


def squad2_each(
    golds: Sequence[Sequence[str]],
    predictions: Sequence[str],
    no_answer_scores: Sequence[float],
    threshold: float,
) -> dict[str, list[float]]:
    """Return what ``exact`` and ``f1`` of `squad2_scores` at a threshold are the means of, as shares."""
    has_answer = [bool(answers) for answers in golds]
    return _at_threshold(_squad2_answered(golds, predictions), no_answer_scores, has_answer, threshold)


def _squad2_answered(golds: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, list[float]]:
    """Return the scores of each question if it is answered."""
    # As in the official script, a gold answer of nothing but articles counts as an answer where thresholds are applied,
    # but as none here.
    worded = [[gold for gold in answers if normalize_answer(gold)] or [""] for answers in golds]
    pairs = list(zip(worded, predictions, strict=True))
    return {
        "exact": [max(exact_match(gold, given) for gold in answers) for answers, given in pairs],
        "f1": [max(token_f1_or_none(gold, given) for gold in answers) for answers, given in pairs],
    }


def _at_threshold(
    answered: Mapping[str, Sequence[float]],
    no_answer_scores: Sequence[float],
    has_answer: Sequence[bool],
    threshold: float,
) -> dict[str, list[float]]:
    return {
        name: [
            float(not answerable) if no_answer > threshold else score
            for score, no_answer, answerable in zip(scores, no_answer_scores, has_answer, strict=True)
        ]
        for name, scores in answered.items()
    }


def best_threshold(
    scores: Sequence[float],
    predictions: Sequence[str],
    no_answer_scores: Sequence[float],
    has_answer: Sequence[bool],
) -> tuple[float, float]:
    """Return the best score in percent and the threshold that gives it, as the official script searches for it.

    It begins with "no answer" for all questions and threshold 0.0, and answers one question after the other, by
    increasing score of "no answer"; of equal results the first is kept. Questions with equal scores are counted one by
    one, in the order given, so a best score between two of them is higher than what the threshold gives.

    Args:
        scores: of each question if it is answered.
        predictions: its answer, "" for none.
        no_answer_scores: its score of "no answer".
        has_answer: whether it has an answer.
    """
    current = best = float(sum(not answerable for answerable in has_answer))
    threshold = 0.0
    for i in sorted(range(len(scores)), key=no_answer_scores.__getitem__):
        current += scores[i] if has_answer[i] else -float(bool(predictions[i]))
        if current > best:
            best, threshold = current, float(no_answer_scores[i])
    return 100.0 * best / len(scores), threshold


def _percent(scores: Sequence[float]) -> float:
    return 100.0 * sum(scores) / len(scores)
