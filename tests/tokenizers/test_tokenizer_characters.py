"""Characters as a vocabulary: which there are, in which order, and what is refused."""

import json

import pytest

from electra_jax.config.text import TokenizerConfig
from electra_jax.errors import UserError
from electra_jax.tokenizers import build_tokenizer, load_tokenizer, vocabulary_notes

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def characters(documents, **options):
    config = TokenizerConfig(**{"kind": "characters", "lowercase": False, **options})
    return build_tokenizer(config, lambda: iter(documents))


def tokens(tokenizer):
    return [tokenizer.token(i) for i in range(tokenizer.vocab_size)]


def test_the_most_frequent_come_first_and_equals_by_code_point():
    documents = ["bbb aa\n", "Aé 漢 c"]
    assert tokens(characters(documents)) == [*SPECIAL, *" ba", *"\nAcé漢"]
    assert tokens(characters(documents, vocab_size=8)) == [*SPECIAL, *" ba"]
    assert tokens(characters(documents, lowercase=True)) == [*SPECIAL, *" ab\ncé漢"]
    assert tokens(characters(documents, lowercase=True, strip_accents=True)) == [*SPECIAL, *" ab\nce漢"]
    assert vocabulary_notes(characters(documents)) == []


def test_characters_that_are_not_in_it_are_unknown():
    tokenizer = characters(["ab"])
    assert tokenizer.encode("aXb\ud800") == [5, tokenizer.unk_id, 6, tokenizer.unk_id]
    assert tokenizer.detokenize(tokenizer.encode("aXb")) == "ab"


def test_every_letter_is_a_word_where_there_are_no_blanks():
    assert characters(["MKVLA"]).word_start_table().all()
    with_blank = characters(["ab c"])
    starts = with_blank.word_start_table()
    assert [with_blank.token(i) for i in starts.nonzero()[0]] == ["[PAD]", "[CLS]", "[SEP]", "[MASK]", " "]


def test_a_file_of_characters_is_read(tmp_path):
    made = characters(["some text"])
    made.save(tmp_path / "saved")
    file = tmp_path / "saved" / "characters.json"
    assert json.loads(file.read_text()) == tokens(made)
    again = characters([], vocab_file=str(file), vocab_size=made.vocab_size)
    assert again.fingerprint == load_tokenizer(tmp_path / "saved").fingerprint == made.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not valid JSON"),
        ('{"a": 1}', "is not a list of characters"),
        (json.dumps([*SPECIAL, 1]), "is not a list of characters"),
        (json.dumps([*SPECIAL, ""]), "is not a list of characters"),
        (json.dumps(["a", *SPECIAL]), "does not begin with [PAD]"),
        (json.dumps([*SPECIAL, "a", "a"]), "has 'a' twice: remove one of them"),
        (json.dumps([*SPECIAL, "\ud800"]), "half of a character"),
    ],
)
def test_another_file_is_refused(tmp_path, content, message):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(UserError) as error:
        characters([], vocab_file=str(tmp_path / "c.json"))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("documents", "size", "message"),
    [
        (["ab"], 5, "tokenizer.vocab_size 5 is too small: the special tokens take 5 already"),
        (["ab"], 8, "set it to 7 or less, or to null for all of them"),
        ([], None, "there is no text to take characters from"),
    ],
)
def test_a_size_that_does_not_fit_is_refused(documents, size, message):
    with pytest.raises(UserError, match=r"^" + message if size == 5 else message):
        characters(documents, vocab_size=size)
