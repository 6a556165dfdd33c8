"""Proof-reading by a pre-trained pair: what `Model.review` does.

ELECTRA's discriminator says of every token whether it was replaced (Clark et al., ICLR 2020, §2). A word is the more
suspicious the likelier any of its tokens was; the generator proposes what may stand in its place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jax import Array

from electra_jax.config.objectives import Objective
from electra_jax.errors import UserError
from electra_jax.inference.items import as_items, text_of
from electra_jax.inference.suggesting import Suggestion, Suspect, suggest
from electra_jax.inference.words import Span, tokens_of_words, word_spans
from electra_jax.objectives.masked_lm import SpecialIds
from electra_jax.scoring.methods import usable_methods
from electra_jax.scoring.rtd import original_log_probs
from electra_jax.tasks.protocol import Rows, TaskBatch
from electra_jax.tasks.word_windows import word_windows
from electra_jax.tokenizers.protocol import Encoding

if TYPE_CHECKING:
    from electra_jax.inference.model import Model


@dataclass(frozen=True)
class SuspiciousWord:
    """A word of a text that looks wrong.

    Attributes:
        text: its characters in the text.
        start: the first of them.
        end: the character after the last.
        tokens: how many it is cut into.
        replaced: the probability that any of these was replaced: 1 − Π (1 − p of each).
        suggestions: single tokens that may stand in its place, the likeliest first.
    """

    text: str
    start: int
    end: int
    tokens: int
    replaced: float
    suggestions: tuple[Suggestion, ...] = ()


def review(model: Model, texts: Any, threshold: float, k: int) -> Any:
    """Review one text or many; see `Model.review`.

    Raises:
        UserError: the model lacks what is needed; a threshold or k that does not fit; something that is not a text.
    """
    items, one = as_items(texts, "review", "a text")
    checked = [text_of(text, f"review: item {i}") for i, text in enumerate(items)]
    check_threshold(threshold)
    check_reviewer(model.config.objective, model._params, k)
    encodings = [model.tokenizer.encode_with_offsets(text) for text in checked]
    words = [word_spans(text, encoding.offsets) for text, encoding in zip(checked, encodings, strict=True)]
    suspicions = word_suspicions(model, encodings, words)
    found: list[list[SuspiciousWord]] = [[] for _ in checked]
    suspects: list[Suspect] = []
    for number, (text, encoding) in enumerate(zip(checked, encodings, strict=True)):
        tokens = tokens_of_words(words[number], encoding.offsets)
        ranked = sorted(range(len(tokens)), key=lambda word: -suspicions[number][word])
        for word in ranked:
            if tokens[word] and suspicions[number][word] >= threshold:
                begin, end = words[number][word]
                replaced = float(suspicions[number][word])
                found[number].append(SuspiciousWord(text[begin:end], begin, end, len(tokens[word]), replaced))
                suspects.append(Suspect(text, encoding, (begin, end), tokens[word]))
    suggested = iter(suggest(model, suspects, k, room_of_training(model)))
    results = [
        [
            SuspiciousWord(some.text, some.start, some.end, some.tokens, some.replaced, next(suggested))
            for some in its
        ]
        for its in found
    ]
    return results[0] if one else results


def check_threshold(threshold: float) -> None:
    """Refuse a threshold that is no probability.

    Raises:
        UserError: it is none.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise UserError(f"the threshold is {threshold!r}, but must be a probability from 0 to 1")


def check_reviewer(settings: Objective, parts: Collection[str] | None, k: int) -> None:
    """Refuse a model that cannot say which words are suspicious, or with ``k`` what may stand in their place.

    Args:
        settings: its section ``objective``.
        parts: top-level names of its parameters; None: not known yet, and taken to be all.
        k: how many suggestions are wanted.

    Raises:
        UserError: it lacks a network with its head, or k is no such number.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 0:
        raise UserError(f"the number of suggestions for a word is {k!r}, but must be a whole number from 0")
    usable = usable_methods(settings, parts)
    if "rtd" not in usable:
        raise UserError(
            f"a review needs ELECTRA's discriminator with its head, which this model ({settings.kind}) does not have: "
            "use a pre-trained ELECTRA, not fine-tuned"
        )
    if k and "pll" not in usable:
        raise UserError(
            "suggestions need ELECTRA's generator, which this model does not have: ask for 0 of them, or join the two "
            "networks by electra_jax.convert --generator"
        )


def room_of_training(model: Model) -> int:
    """Return how many tokens of a text are read at once: those of a row of training, or what the model can read."""
    return min(model.max_length, model.config.data.sequence_length) - 2


def word_suspicions(
    model: Model, encodings: Sequence[Encoding], words: Sequence[Sequence[Span]]
) -> list[np.ndarray]:
    """Return for each text the probability of its words that any of their tokens was replaced, float64 ``[words]``.

    0.0 for words of which no token holds a character.

    Args:
        model: with a discriminator.
        encodings: of the texts.
        words: (begin, end) of the words of each.
    """
    found = []
    for encoding, spans, scores in zip(encodings, words, _token_scores(model, encodings), strict=True):
        tokens = tokens_of_words(spans, encoding.offsets)
        found.append(np.array([-np.expm1(scores[some].sum()) for some in tokens]))
    return found


def _token_scores(model: Model, encodings: Sequence[Encoding]) -> list[np.ndarray]:
    """Return log(1 − p replaced) of all tokens of each text, float64 ``[tokens]``.

    A text longer than a row of training is read in overlapping windows, each token in the one with most around it.
    """
    network: Any = model._network
    special = SpecialIds.of(model.tokenizer)

    def outputs(params: Any, batch: TaskBatch) -> dict[str, Array]:
        return {"score": original_log_probs(network, params, batch.inputs.input_ids, special)[0]}

    windows = [
        (number, window)
        for number, encoding in enumerate(encodings)
        for window in word_windows(np.ones(len(encoding.ids), int), room_of_training(model))
    ]
    cls, sep = model.tokenizer.cls_id, model.tokenizer.sep_id
    rows = [
        np.array([cls, *encodings[number].ids[window.first : window.end], sep], np.int32)
        for number, window in windows
    ]
    found = [np.zeros(len(encoding.ids)) for encoding in encodings]
    if rows:
        types = [np.zeros_like(row) for row in rows]
        numbers = np.arange(len(rows), dtype=np.int32)
        scores = model._run("review", outputs, Rows(rows, types, {}, numbers))["score"]
        for (number, window), score in zip(windows, scores, strict=True):
            found[number][window.words] = score[window.positions]
    return found


def readable_review(name: Any, text: str, words: Sequence[Mapping[str, Any]]) -> str:
    """Return a review for people to read: the text, then a line for each suspicious word.

    Args:
        name: of the text.
        text: the text.
        words: `SuspiciousWord`s as dictionaries.
    """
    lines = [f"{name}: {text}"]
    width = max((len(word["text"]) for word in words), default=0)
    for word in words:
        proposed = ", ".join(f"{some['word']} {some['probability']:.2f}" for some in word["suggestions"])
        cut = f"  ({word['tokens']} tokens)" if word["tokens"] > 1 else ""
        arrow = f"  > {proposed}" if proposed else ""
        lines.append(f"    {word['replaced']:.2f}  {word['text']:{width}}  at {word['start']}{cut}{arrow}")
    return "\n".join(lines)
