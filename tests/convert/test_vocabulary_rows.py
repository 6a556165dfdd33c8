"""Embeddings with more rows than the vocabulary has entries."""

import pytest
from huggingface_folder import words, write_folder

from electra_jax.config.text import TokenizerConfig
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.vocabulary import pad_vocabulary
from electra_jax.tokenizers import build_tokenizer
from electra_jax.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer


def wordpiece(tokens):
    return WordPieceTokenizer("\n".join(tokens).encode(), lowercase=True, strip_accents=False)


def test_rows_behind_the_last_token_are_kept_and_named():
    tokenizer = wordpiece([*words(30), "row"])
    made, notes = pad_vocabulary(tokenizer, 34)
    assert made.vocab_size == 34
    assert [made.token(i) for i in range(31)] == [tokenizer.token(i) for i in range(31)]
    assert [made.token(i) for i in range(31, 34)] == ["[row31]", "[row32]", "[row33]"]
    assert notes[0].startswith(
        "The embeddings have 34 rows, the vocabulary 31 entries: the last 3 rows are kept"
    )
    text = "row [row31] w7"
    assert made.encode(text) == tokenizer.encode(text)
    assert made.options == tokenizer.options


def test_rows_of_characters():
    config = TokenizerConfig(kind="characters")
    tokenizer = build_tokenizer(config, lambda: iter(["some text of a few words [row]"]))
    size = tokenizer.vocab_size
    made, notes = pad_vocabulary(tokenizer, size + 2)
    assert made.vocab_size == size + 2
    assert len(notes) == 1
    text = f"some [row{size}]"
    assert made.encode(text) == tokenizer.encode(text)
    assert made.detokenize([*made.encode("some"), size, size + 1]) == "some"


def test_rows_of_a_sentencepiece_model(sentencepiece):
    tokenizer = sentencepiece
    made, notes = pad_vocabulary(tokenizer, tokenizer.vocab_size + 2)
    assert made.vocab_size == tokenizer.vocab_size + 2
    assert len(notes) == 1
    for text in ("some text [row300]", f"[row{tokenizer.vocab_size}]"):
        assert made.encode(text) == tokenizer.encode(text)


@pytest.fixture(scope="module")
def sentencepiece():
    config = TokenizerConfig(vocab_size=290, character_coverage=1.0)
    lines = ["some text of a few words", "and more of it [row]", "the quick brown fox jumps over lazy dogs"]
    tokenizer = build_tokenizer(config, lambda: iter(lines * 9))
    assert isinstance(tokenizer, SentencePieceTokenizer)
    return tokenizer


@pytest.mark.parametrize("rows", [31, 30, 3, 39, 3_000_000_000])
def test_others_are_left_to_be_refused(rows):
    tokenizer = wordpiece([*words(30), "row"])
    assert pad_vocabulary(tokenizer, rows) == (tokenizer, ())


def test_a_folder_whose_embeddings_are_rounded_up_is_read(tmp_path):
    write_folder(tmp_path / "model", "discriminator")
    (tmp_path / "model" / "vocab.txt").write_text("\n".join(words(37)) + "\n")
    weights = read_huggingface([tmp_path / "model"])
    assert weights.tokenizer.vocab_size == weights.vocab_size == weights.config.tokenizer.vocab_size == 40
    assert weights.parameters["embeddings/word/embedding"].shape[0] == 40
    assert any("the vocabulary 37 entries: the last 3 rows" in note for note in weights.notes)
