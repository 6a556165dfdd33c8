"""The best answers to a question, from the beams of start and end positions of its windows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from electra_jax.tasks.windows import ContextWindow
from electra_jax.tokenizers.normalize import is_accent


@dataclass(frozen=True)
class PredictedAnswer:
    """A predicted answer: the characters ``start`` … ``end`` - 1 of the context.

    Attributes:
        text: those characters.
        start: the first character.
        end: the character after the last.
        score: the score of its start plus that of its end.
        probability: its share of the softmax over the answers that are kept for the question.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float


def valid_spans(
    window: ContextWindow, beam: Mapping[str, np.ndarray], max_answer_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spans of a row's beam that can be answers, in the order of the beam.

    Start and end are both in the window, the start where the window has the token's max context. The end is not before
    the start, and the span has at most ``max_answer_tokens`` tokens.

    Args:
        window: the part of the context that the row holds.
        beam: ``start_scores`` and ``start_positions`` ``[k]``, ``end_scores`` and ``end_positions`` ``[k, k]``.
        max_answer_tokens: the longest answer.

    Returns:
        Scores, float ``[spans]``, and positions of start and end in the row, int ``[spans, 2]``.
    """
    starts = np.broadcast_to(beam["start_positions"][:, None], beam["end_positions"].shape)
    ends = beam["end_positions"]
    scores = beam["start_scores"].astype(np.float64)[:, None] + beam["end_scores"]
    first, end = window.position, window.position + len(window)
    valid = (starts >= first) & (ends >= starts) & (ends < end) & (ends - starts < max_answer_tokens)
    # Starts in the question or after the window are looked up, too; the comparisons above exclude them.
    may_begin = np.zeros(max(end, int(starts.max()) + 1), bool)
    may_begin[first:end] = window.max_context
    valid &= may_begin[starts]
    return scores[valid], np.stack([starts[valid], ends[valid]], axis=-1)


def best_answers(
    context: str,
    windows: Sequence[ContextWindow],
    beams: Sequence[Mapping[str, np.ndarray]],
    *,
    n_best: int,
    max_answer_tokens: int,
) -> list[PredictedAnswer]:
    """Return the best answers of different text over all windows of a context, best first.

    There are ``n_best`` of them, or fewer if there are fewer. Scores of different windows are compared as they are. Of
    answers with the same text only the best is kept.

    Args:
        context: the context.
        windows: its windows.
        beams: the beam of each window, see `valid_spans`.
        n_best: how many answers to return.
        max_answer_tokens: the longest answer.
    """
    scores, spans, origin = [], [], []
    for number, (window, beam) in enumerate(zip(windows, beams, strict=True)):
        some_scores, some_spans = valid_spans(window, beam, max_answer_tokens)
        scores.append(some_scores)
        spans.append(some_spans)
        origin.append(np.full(len(some_scores), number))
    all_scores, all_spans, all_origins = (np.concatenate(parts) for parts in (scores, spans, origin))
    kept: dict[str, tuple[int, int, float]] = {}
    for i in np.argsort(-all_scores, kind="stable"):
        if len(kept) == n_best:
            break
        begin, end = windows[all_origins[i]].characters(*all_spans[i])
        end = end_after_combining_marks(context, end)
        text = context[begin:end]
        if text and text not in kept:
            kept[text] = (begin, end, float(all_scores[i]))
    probabilities = softmax([score for _, _, score in kept.values()])
    return [
        PredictedAnswer(text, *place, probability=probability)
        for (text, place), probability in zip(kept.items(), probabilities, strict=True)
    ]


def end_after_combining_marks(text: str, end: int) -> int:
    """Return ``end``, moved past combining marks: tokenizers that strip accents leave those out of their offsets."""
    while end < len(text) and is_accent(text[end]):
        end += 1
    return end


def softmax(scores: Sequence[float]) -> list[float]:
    """Return the softmax of some scores; [] for none."""
    if not scores:
        return []
    powers = np.exp(np.array(scores, np.float64) - max(scores))
    return (powers / powers.sum()).tolist()
