"""Which ids may be written: none that is special, free, a part of a character, or beyond the vocabulary."""

import json

import numpy as np

from electra_jax.config.text import TokenizerConfig
from electra_jax.tokenizers import build_tokenizer
from electra_jax.tokenizers.characters_tokenizer import CharactersTokenizer
from electra_jax.tokenizers.text_ids import text_ids, whole_text_ids
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_free_entries_and_rows_beyond_the_vocabulary_are_no_text():
    words = WordPieceTokenizer(
        "\n".join([*SPECIAL, "[unused3]", "ann", "##s", "[", "unused"]).encode(),
        lowercase=True,
        strip_accents=True,
    )
    assert np.flatnonzero(text_ids(words, 16)).tolist() == [6, 7, 8, 9]
    assert np.flatnonzero(whole_text_ids(words)).tolist() == [6, 7, 8, 9]
    letters = CharactersTokenizer(
        json.dumps([*SPECIAL, "a", "[unused1]", "\n"]).encode(), lowercase=False, strip_accents=False
    )
    assert np.flatnonzero(text_ids(letters)).tolist() == [5, 7]


def test_bytes_are_text_and_not_by_themselves():
    pieces = build_tokenizer(TokenizerConfig(vocab_size=267), lambda: iter(["ab ba abba"] * 9))
    assert np.flatnonzero(~text_ids(pieces)).tolist() == [0, 1, 2, 3, 4]
    assert np.flatnonzero(~whole_text_ids(pieces)).tolist() == list(range(261))
