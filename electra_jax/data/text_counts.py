"""What the text of prepared rows measures, whatever the tokenizer: bits per byte and word perplexity are made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from electra_jax.tokenizers import Tokenizer


@dataclass(frozen=True)
class TextCounts:
    """Counts over the documents of prepared rows, as they were read.

    Attributes:
        num_bytes: of their UTF-8.
        num_words: words between white space and one for each line end, as papers on WikiText-2 count.
        changed_documents: documents that the tokenizer does not give back as they were; while there are any, a figure
            for each byte leaves out what they lost.
    """

    num_bytes: int
    num_words: int
    changed_documents: int


def count_text(tokenizer: Tokenizer, text: str, ids: Sequence[int]) -> tuple[int, int, int]:
    """Return the bytes and words of a document, and 1 if ``ids``, its tokens, do not spell it, else 0."""
    num_words = len(text.split()) + text.count("\n")
    return len(text.encode("utf-8", "surrogatepass")), num_words, int(tokenizer.detokenize(ids) != text)


def sum_counts(counts: np.ndarray) -> TextCounts:
    """Add up the rows of int ``[documents, 3]``, see `count_text`."""
    return TextCounts(*counts.sum(axis=0, dtype=np.int64).tolist())
