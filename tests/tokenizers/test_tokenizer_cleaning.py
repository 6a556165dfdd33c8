"""How text is cleaned where the configuration does not say, and what is said of vocabularies that do not fit."""

import json
import os
import unicodedata

import pytest

from electra_jax.config.text import TokenizerConfig
from electra_jax.errors import UserError
from electra_jax.tokenizers import build_tokenizer, load_tokenizer, vocabulary_notes, with_cleaning
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Most of the world's scripts have letters or vowel signs that Unicode calls combining marks.
SENTENCES = ["ガラスのグラスでビール", "हिन्दी में", "ที่นี่", "й", "ö", "Việt", "السَّلام"]


@pytest.mark.parametrize("text", SENTENCES)
def test_by_default_no_script_loses_its_letters(text):
    config = TokenizerConfig(vocab_size=320, character_coverage=1.0, byte_fallback=True)
    tokenizer = build_tokenizer(config, lambda: iter([*SENTENCES * 3, *map(chr, range(0x61, 0x7B))]))
    kept = TokenizerConfig(lowercase=True, strip_accents=False)
    assert tokenizer.options == {"lowercase": True, "strip_accents": False}
    assert with_cleaning(TokenizerConfig()) == kept
    # SentencePiece's NFKC composes and takes presentation forms apart; nothing else changes.
    assert tokenizer.decode(tokenizer.encode(text)) == unicodedata.normalize("NFKC", text).lower()


def vocabulary(directory, tokens=("a", "b"), **beside):
    directory.mkdir(exist_ok=True)
    (directory / "vocab.txt").write_text("\n".join([*SPECIAL, *tokens]) + "\n", encoding="utf-8")
    for name, content in beside.items():
        (directory / f"{name}.json").write_text(json.dumps(content))
    return str(directory / "vocab.txt")


def bert(**options):
    return {"normalizer": {"type": "Sequence", "normalizers": [{"type": "BertNormalizer", **options}]}}


@pytest.mark.parametrize(
    ("beside", "stripped"),
    [
        ({}, False),
        ({"tokenizer_config": {}}, False),
        ({"tokenizer_config": {"strip_accents": True, "do_lower_case": False}}, True),
        ({"tokenizer_config": {"strip_accents": False, "do_lower_case": True}}, False),
        ({"tokenizer_config": {"strip_accents": None, "do_lower_case": True}}, True),
        ({"tokenizer_config": {"do_lower_case": False}}, False),
        ({"tokenizer": bert(strip_accents=True, lowercase=False)}, True),
        ({"tokenizer": bert(strip_accents=None, lowercase=True)}, True),
        ({"tokenizer_config": {"strip_accents": False}, "tokenizer": bert(strip_accents=True)}, False),
        ({"tokenizer": {"kind": "wordpiece", "options": {"lowercase": True, "strip_accents": True}}}, True),
        ({"tokenizer": {"kind": "wordpiece", "options": {"lowercase": True, "strip_accents": False}}}, False),
        ({"tokenizer": {"options": 5, "normalizer": [1, {"type": 3}]}}, False),
    ],
    ids=str,
)
def test_a_vocabulary_is_used_as_what_is_beside_it_says(tmp_path, beside, stripped):
    config = TokenizerConfig(kind="wordpiece", vocab_file=vocabulary(tmp_path, **beside))
    assert with_cleaning(config).strip_accents is stripped
    assert build_tokenizer(config, lambda: iter(())).options["strip_accents"] is stripped
    for given in (True, False):  # what is given wins
        said = config.model_copy(update={"strip_accents": given})
        assert with_cleaning(said) is said


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"tokenizer_config": {"strip_accents": "no"}}, r"tokenizer_config\.json has strip_accents 'no'"),
        ({"tokenizer_config": []}, r"tokenizer_config\.json does not hold a JSON object"),
    ],
)
def test_a_wrong_description_is_a_user_error(tmp_path, beside, message):
    config = TokenizerConfig(kind="wordpiece", vocab_file=vocabulary(tmp_path, **beside))
    with pytest.raises(UserError, match=message):
        with_cleaning(config)


def test_a_saved_tokenizer_says_how_it_cleans(tmp_path, make):
    """So that a vocabulary of before, when accents were stripped by default, is used as it was made."""
    make("unigram", strip_accents=True).save(tmp_path / "saved")
    config = TokenizerConfig(vocab_file=str(tmp_path / "saved" / "sentencepiece.model"))
    assert build_tokenizer(config, lambda: iter(())).options["strip_accents"]


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("change", "stripped"),
    [
        (lambda lines: lines, True),
        (lambda lines: [*lines, "another"], True),
        (lambda lines: ["[PAD]", "mine", *lines[2:]], True),  # in the place of [unused0]
        (lambda lines: [line + "\r" for line in lines], True),
        (lambda lines: [*lines[:2000], *lines[2001:]], False),
    ],
)
def test_the_english_uncased_vocabulary_is_known(shared, tmp_path, change, stripped):
    lines = (shared / "data/vocab/bert-base-uncased.txt").read_text(encoding="utf-8").splitlines()
    (tmp_path / "vocab.txt").write_text("\n".join(change(lines)), encoding="utf-8", newline="")
    config = TokenizerConfig(kind="wordpiece", vocab_file=str(tmp_path / "vocab.txt"))
    assert with_cleaning(config).strip_accents is stripped


def test_a_description_of_before_unicode_was_pinned_is_read(tmp_path, make):
    tokenizer = make("wordpiece")
    tokenizer.save(tmp_path / "saved")
    path = tmp_path / "saved" / "tokenizer.json"
    description = json.loads(path.read_text())
    del description["unicode"]
    path.write_text(json.dumps(description))
    assert load_tokenizer(tmp_path / "saved").fingerprint == tokenizer.fingerprint


def notes(tokens, **options):
    options = {"lowercase": True, "strip_accents": False, **options}
    return vocabulary_notes(WordPieceTokenizer("\n".join([*SPECIAL, *tokens]).encode(), **options))


def test_entries_that_can_never_match_are_counted():
    tokens = ["the", "The", "##ER", "##er", "[unused1]", "日", "É", "é"]
    (note,) = notes(tokens)
    assert note.startswith("42.9% of the vocabulary's entries have capitals and can never match")
    lowercase, accents = notes(tokens, strip_accents=True)
    assert lowercase == note
    assert accents.startswith("28.6% of the vocabulary's entries have accents")
    assert notes(tokens, lowercase=False) == []
    assert notes(["the", "[CLS2]", "##er"]) == []


def test_lines_that_appear_twice_are_named():
    (note,) = notes(["a", "b", "a", "c", "a", "c"])
    assert "2 entries more than once ('a' in lines 6 and 8 and 10, 'c' in lines 9 and 11)" in note
    tokenizer = WordPieceTokenizer(
        "\n".join([*SPECIAL, "a", "b", "a"]).encode(), lowercase=True, strip_accents=False
    )
    assert tokenizer.vocab_size == 8
    assert tokenizer.encode("a b") == [7, 6]
    assert len(notes([f"t{i}" for i in range(50)] * 2)[0]) < 500


def test_notes_on_a_sentencepiece_model(make):
    assert vocabulary_notes(make("unigram")) == []
    cased = make("unigram", lowercase=False)
    lowered = type(cased)(cased.content, lowercase=True, strip_accents=False)
    assert "have capitals and can never match" in vocabulary_notes(lowered)[0]


def test_only_files_that_can_be_a_vocabulary_are_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("pipe", "it is a pipe, not a regular file"), ("", "it is a directory")):
        config = TokenizerConfig(kind="wordpiece", vocab_file=str(tmp_path / name), strip_accents=False)
        with pytest.raises(UserError, match=message):
            build_tokenizer(config, lambda: iter(()))
    monkeypatch.setattr("electra_jax.tokenizers.vocabulary_file.MAX_VOCABULARY_BYTES", 10)
    config = TokenizerConfig(kind="wordpiece", vocab_file=vocabulary(tmp_path), strip_accents=False)
    with pytest.raises(UserError, match="more than the 10 bytes"):
        build_tokenizer(config, lambda: iter(()))
