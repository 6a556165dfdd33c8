"""Which ids of a vocabulary are text: what models may write."""

import re

import numpy as np

from electra_jax.tokenizers.protocol import Tokenizer

# By kind of tokenizer, entries that are no text though they are not special: places that a vocabulary keeps free.
_FREE = {"wordpiece": re.compile(r"\[unused\d+\]"), "characters": re.compile(r"..+", re.DOTALL)}
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def text_ids(tokenizer: Tokenizer, rows: int | None = None) -> np.ndarray:
    """Return bool ``[rows]``: the rows of a table that are text.

    Special tokens, [UNK], rows that a vocabulary keeps free and rows that only round the table up are none.

    Args:
        tokenizer: whose ids they are.
        rows: of the table; None: as many as the vocabulary has entries.
    """
    size, free = tokenizer.vocab_size, _FREE.get(tokenizer.kind)
    found = np.arange(rows or size) < size
    if free is not None:
        found[:size] = [not free.fullmatch(tokenizer.token(id)) for id in range(size)]
    found[[tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]] = False
    return found


def whole_text_ids(tokenizer: Tokenizer) -> np.ndarray:
    """Return bool ``[vocab_size]``: those of `text_ids` that are text by themselves, and no single byte of it."""
    found = text_ids(tokenizer)
    if tokenizer.kind == "sentencepiece":
        found &= [not _BYTE.fullmatch(tokenizer.token(id)) for id in range(tokenizer.vocab_size)]
    return found
