"""Metrics of written texts that need no library: counts of words and of n-grams.

Words are runs of letters, digits and underscores in lower case, and punctuation marks one by one, so that texts count
alike whether or not they were tokenised before.
"""

import re
import string
from collections.abc import Sequence

import numpy as np

from electra_jax.tasks.measures import Measure, mean_of, ratio_of
from electra_jax.tasks.squad_metrics import words_f1

_WORD = re.compile(r"\w+|[^\w\s]")
_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")
Ngram = tuple[str, ...]


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return _WORD.findall(text.lower())


def ngrams(text: str, order: int) -> list[Ngram]:
    """Return all n-grams of a text's words, those that occur again too; [] where there are fewer words."""
    words = words_of(text)
    return list(zip(*(words[start:] for start in range(order))))


def exact_match(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Measure:
    """Return the share of texts that are one of their references, in percent; white space counts as one blank."""
    return mean_of(
        [
            " ".join(hypothesis.split()) in {" ".join(reference.split()) for reference in some}
            for hypothesis, some in zip(hypotheses, references, strict=True)
        ]
    )


def word_f1(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Measure:
    """Return the mean F1 of words, of several references the best, in percent, as ParlAI reports of dialogue.

    As there (parlai/core/metrics.py), case and articles are left out, and punctuation parts words: "don't" is two.
    """
    return mean_of(
        [
            max(words_f1(_parlai_words(reference), _parlai_words(hypothesis)) for reference in some)
            for hypothesis, some in zip(hypotheses, references, strict=True)
        ]
    )


def _parlai_words(text: str) -> list[str]:
    return re.sub(r"\b(a|an|the)\b", " ", _PUNCTUATION.sub(" ", text.lower())).split()


def length_ratio(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Measure:
    """Return words written per word of the references (1 is as long; no percentage).

    Of several references the nearest in length counts, of two as near the shorter, as in BLEU's brevity penalty.
    """
    written = [len(words_of(hypothesis)) for hypothesis in hypotheses]
    wanted = [
        min((abs(length - len(words_of(reference))), len(words_of(reference))) for reference in some)[1]
        for length, some in zip(written, references, strict=True)
    ]
    return ratio_of(written, wanted, scale=1.0)


def distinct(hypotheses: Sequence[str], order: int) -> Measure:
    """Return how many different n-grams there are among all that are written, in percent.

    That is Li et al. 2016 (https://arxiv.org/abs/1510.03055, section 5.2) with all n-grams as the denominator, not all
    words, so that it reaches 100. It falls with the number of texts: compare it on the same inputs only.
    """
    numbers: dict[Ngram, int] = {}
    each = [
        np.array([numbers.setdefault(gram, len(numbers)) for gram in ngrams(hypothesis, order)], np.int64)
        for hypothesis in hypotheses
    ]

    def measure(chosen: np.ndarray) -> float:
        together = np.concatenate([each[number] for number in chosen] or [np.zeros(0, np.int64)])
        return 100.0 * len(np.unique(together)) / len(together) if len(together) else 0.0

    return measure


def copy_rate(hypotheses: Sequence[str], sources: Sequence[str], order: int = 2) -> Measure:
    """Return the share of the written n-grams, here pairs of words, that the text's own source holds, in percent.

    An n-gram counts as often as it is written, however often the source has it: 100 minus the share of novel n-grams
    in See et al. 2017 (https://arxiv.org/abs/1704.04368, figure 6). Texts of fewer words count nothing.
    """
    written = [ngrams(hypothesis, order) for hypothesis in hypotheses]
    held = [set(ngrams(source, order)) for source in sources]
    copied = [sum(gram in there for gram in grams) for grams, there in zip(written, held, strict=True)]
    return ratio_of(copied, [len(grams) for grams in written])


def repetition(hypotheses: Sequence[str], order: int = 4) -> Measure:
    """Return the share of the written n-grams, here of four words, that the text itself has had before, in percent.

    Seq-rep-4 of Welleck et al. 2020 (https://arxiv.org/abs/1908.04319, section 6), over all texts together.
    """
    written = [ngrams(hypothesis, order) for hypothesis in hypotheses]
    again = [len(grams) - len(set(grams)) for grams in written]
    return ratio_of(again, [len(grams) for grams in written])
