"""WordPiece against the original's figures, and against its description over all of Unicode."""

import json
import random
import unicodedata

import bert_reference
import pytest

from electra_jax.config.text import TokenizerConfig
from electra_jax.errors import UserError
from electra_jax.tokenizers import build_tokenizer, wordpiece_tokenizer
from electra_jax.tokenizers.pinned_unicode import category
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VARIANTS = {"uncased": (True, True), "uncased_keep_accents": (True, False), "cased": (False, False)}


def code_points():
    """Every assigned character but the bulk of the ideographs and syllables, and some unassigned ones."""
    bulk = [(0x3401, 0x4DBE), (0x4E01, 0x9FFE), (0xAC10, 0xD700), (0x17000, 0x18CFF), (0x20001, 0x323AF)]
    for code in [*range(0x33480), 0xE0001, 0xE0100, 0xF0000, 0x10FFFF]:
        char = chr(code)
        if any(low <= code <= high for low, high in bulk) and code % 997:
            continue
        if category(char) not in ("Cn", "Co", "Cs") or code % 997 == 0:
            yield char


def spelling_vocabulary(characters):
    """A vocabulary that spells every word, so that [UNK] hides no difference."""
    forms = {
        form for c in characters for form in (c, c.lower(), unicodedata.normalize("NFD", c.lower()), "ς")
    }
    forms |= {unicodedata.normalize("NFD", c) for c in characters}
    single = sorted({c for form in forms for c in form if not c.isspace() and not "\ud800" <= c <= "\udfff"})
    return SPECIAL + single + [f"##{c}" for c in single]


def tokens(tokenizer, text):
    return [tokenizer.token(i) for i in tokenizer.encode(text)]


@pytest.mark.shared_data
@pytest.mark.parametrize("variant", VARIANTS)
def test_all_golden_strings_agree_with_the_original(shared, variant):
    """No exceptions: where Hugging Face differs from the original, this follows the original."""
    lowercase, strip_accents = VARIANTS[variant]
    content = (shared / "data/vocab/bert-base-uncased.txt").read_bytes()
    tokenizer = WordPieceTokenizer(content, lowercase=lowercase, strip_accents=strip_accents)
    rows = json.loads((shared / "golden/tokenizer.json").read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 262
    assert any(row[variant] != row[f"hf_{variant}"] for row in rows)
    for row in rows:
        assert tokens(tokenizer, row["text"]) == row[variant], ascii(row["text"])
        if variant == "uncased":
            assert tokenizer.encode(row["text"]) == row["uncased_ids"]
        assert tokenizer.encode_with_offsets(row["text"]).ids == tokenizer.encode(row["text"])


def test_every_character_is_treated_as_by_the_original(options):
    characters = list(code_points())
    assert len(characters) > 30_000
    vocabulary = spelling_vocabulary([*characters, *"ABab"])
    tokenizer = WordPieceTokenizer("\n".join(vocabulary).encode(), **options)
    known = set(vocabulary)
    for char in characters:
        text = f"A{char}b {char} B"
        assert tokens(tokenizer, text) == bert_reference.full_tokens(text, known, **options), ascii(char)


def test_characters_in_company_are_treated_as_by_the_original(options):
    """Final sigma, canonical order of marks (some of which are not stripped), length-changing lower case."""
    alphabet = "aBΣσς'İß\u0301\u0323\u302e\U0001d165\u0345가각ᄀ\u0344ΐ .\u037e\u1fef`。¿日\u2028\x1c\0\xad"
    vocabulary = spelling_vocabulary(alphabet)
    tokenizer = WordPieceTokenizer("\n".join(vocabulary).encode(), **options)
    rng = random.Random(0)
    for _ in range(3000):
        text = "".join(rng.choices(alphabet, k=rng.randrange(12)))
        expected = bert_reference.full_tokens(text, set(vocabulary), **options)
        assert tokens(tokenizer, text) == expected, ascii(text)
        assert tokenizer.encode_with_offsets(text).ids == tokenizer.encode(text), ascii(text)


@pytest.mark.parametrize(("length", "known"), [(200, True), (201, False)])
def test_longest_word(make, length, known):
    tokenizer = make("wordpiece")
    assert (tokenizer.unk_id not in tokenizer.encode("a" * length)) == known
    assert tokenizer.encode_with_offsets("a" * length).offsets[-1][1] == length


def test_a_full_cache_changes_nothing(vocabulary, make, monkeypatch):
    monkeypatch.setattr(wordpiece_tokenizer, "CACHED_WORDS", 2)
    config = TokenizerConfig(kind="wordpiece", vocab_file=str(vocabulary))
    small, text = build_tokenizer(config, lambda: iter(())), "un unaffable walking un the " * 3
    assert small.encode(text) == make("wordpiece").encode(text)
    assert len(small._word_ids) == 2


def test_continuations_do_not_begin_words(make):
    tokenizer = make("wordpiece")
    table = tokenizer.word_start_table()
    for token, expected in [("##aff", False), ("un", True), (".", True), ("[CLS]", True)]:
        assert table[[tokenizer.token(i) for i in range(tokenizer.vocab_size)].index(token)] == expected


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark_are_no_part_of_tokens(line_end, mark):
    content = (mark + line_end.join([*SPECIAL, "a", ""])).encode()
    tokenizer = WordPieceTokenizer(content, lowercase=True, strip_accents=True)
    assert [tokenizer.token(i) for i in range(tokenizer.vocab_size)] == [*SPECIAL, "a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        ("\n".join(SPECIAL[:-1]).encode(), r"lacks \[MASK\]"),
        (b"a\nb\n", r"lacks \[PAD\] \[UNK\] \[CLS\] \[SEP\] \[MASK\]"),
        ("\n".join([*SPECIAL, "a", "b", "[SEP]"]).encode(), r"\[SEP\] twice, in lines 4 and 8"),
        ("\n".join(SPECIAL).encode() + b"\nab\xff", "not UTF-8 at byte 33"),
        ("\n".join([*SPECIAL, "a"]).encode(), "has 6 entries, but tokenizer.vocab_size is 7: set it to 6"),
    ],
)
def test_wrong_vocabulary_is_a_user_error(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    config = TokenizerConfig(kind="wordpiece", vocab_file=str(path), vocab_size=7)
    with pytest.raises(UserError, match=rf"tokenizer\.vocab_file .*vocab\.txt .*{message}"):
        build_tokenizer(config, lambda: iter(()))
