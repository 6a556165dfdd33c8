"""SentencePiece: case and accents, characters outside the vocabulary, and models made elsewhere."""

import io
import unicodedata

import pytest
import sentencepiece as spm

from electra_jax.config.text import TokenizerConfig
from electra_jax.errors import UserError
from electra_jax.tokenizers import build_tokenizer
from electra_jax.tokenizers.normalize import PlainNormalizer
from electra_jax.tokenizers.pinned_unicode import category
from electra_jax.tokenizers.sampling import SENTENCE_CHARACTERS
from electra_jax.tokenizers.training import MAX_SENTENCE_BYTES

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def train_elsewhere(corpus, **options):
    written = io.BytesIO()
    defaults = {"vocab_size": 400, "minloglevel": 2, "hard_vocab_limit": False}
    sentences = (line for text in corpus for line in text.splitlines())
    spm.SentencePieceTrainer.train(
        sentence_iterator=sentences, model_writer=written, **{**defaults, **options}
    )
    return written.getvalue()


def load(tmp_path, content, **options):
    (tmp_path / "my.model").write_bytes(content)
    config = TokenizerConfig(vocab_file=str(tmp_path / "my.model"), **options)
    return build_tokenizer(config, lambda: iter(()))


@pytest.mark.parametrize("sort", ["unigram", "bpe", "no_bytes"])
def test_special_tokens_are_first(make, sort):
    tokenizer = make(sort)
    assert [tokenizer.token(i) for i in range(5)] == SPECIAL
    ids = (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    assert ids == (0, 1, 2, 3, 4)
    assert tokenizer.vocab_size == 1000


@pytest.mark.parametrize(
    ("lowercase", "strip_accents", "expected"),
    [
        (True, True, "ecole istanbul °c fin σασ 가"),
        (True, False, "école i\u0307stanbul °c fin σασ 가"),
        (False, True, "Ecole Istanbul °C fin ΣΑΣ 가"),
        (False, False, "École İstanbul °C fin ΣΑΣ 가"),
    ],
)
def test_case_and_accents_are_independent(make, lowercase, strip_accents, expected):
    tokenizer = make("unigram", lowercase=lowercase, strip_accents=strip_accents)
    assert tokenizer.decode(tokenizer.encode("École İstanbul ℃ ﬁn ΣΑΣ 가")) == expected


def test_no_capitals_and_no_accents_are_left(make, options):
    """Not even those that appear when NFKC takes a character apart."""
    tokenizer = make("unigram", **options)
    characters = [c for c in map(chr, range(0x1F200)) if category(c) not in ("Cn", "Co", "Cs")]
    characters = [c for c in characters if not ("㐁" <= c <= "鿼" or "가" < c < "힣" or "𗀀" <= c <= "𘳿")]
    assert len(characters) > 30_000
    for char, ids in zip(characters, tokenizer.encode_batch(characters)):
        text = tokenizer.decode(ids)
        if options["lowercase"]:
            assert text == text.lower(), ascii(char)
        if options["strip_accents"]:
            marks = [c for c in unicodedata.normalize("NFD", text) if category(c) == "Mn"]
            assert not marks, ascii(char)


@pytest.mark.parametrize("text", ["日本語", "👩‍👩‍👧", "한국어", "ß▅☃"])
@pytest.mark.parametrize("sort", ["unigram", "bpe", "no_bytes"])
def test_bytes_spell_what_the_vocabulary_lacks(make, sort, text):
    tokenizer = make(sort)
    ids = tokenizer.encode(text)
    if sort == "no_bytes":
        assert tokenizer.unk_id in ids
    else:
        assert tokenizer.unk_id not in ids
        assert tokenizer.decode(ids) == text


COMPOSED = [
    "ｶﾞ",
    "ﾊﾟ",
    "ｳﾞ",
    "カ\u3099",
    "ハﾟ",
    "e\u0301",
    "Ａ\u030a",
    "각",
    "하\u11ab",
    "ᄒ\u1161ᆫ",
    "ㅎㅏㄴ",
    "ﾾￂﾤ",
    "\u0915\u093c",
]


@pytest.mark.parametrize("sort", ["unigram", "bpe", "no_bytes"])
@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("text", COMPOSED, ids=ascii)
def test_tokens_of_characters_that_are_composed_span_all_of_them(make, sort, lowercase, text):
    """Of one token, of its bytes, and of what stands behind it; NFKC makes one character of several."""
    tokenizer = make(sort, lowercase=lowercase)
    # The rules compose no syllable that is half composed already: 하 and \u11ab.
    composed = tokenizer.decode(tokenizer.encode(text))
    for before, behind in (("the ", " the"), ("x", "y"), ("", ""), (text, text)):
        encoding = tokenizer.encode_with_offsets(before + text + behind)
        begin, end = len(before), len(before) + len(text)
        inner = [span for span in encoding.offsets if span[0] < end and span[1] > begin]
        assert inner
        if len(composed) == 1 and sort != "no_bytes":
            assert set(inner) == {(begin, end)}, encoding
        covered = {i for b, e in encoding.offsets for i in range(b, e)}
        assert covered == {i for i, c in enumerate(before + text + behind) if c != " "}


def test_the_mark_of_a_space_is_a_space(make):
    tokenizer = make("unigram")
    assert tokenizer.encode("the▁word ▁▁ is▁") == tokenizer.encode("the word is")


def test_normalising_keeps_sentences_below_the_limit(options):
    normalize = PlainNormalizer(**options)
    longest = max(len(normalize(chr(code)).encode()) for code in range(0x110000))
    assert longest * SENTENCE_CHARACTERS <= MAX_SENTENCE_BYTES


def test_a_saved_model_gives_the_same_tokenizer(make, corpus, tmp_path):
    trained = make("bpe")
    trained.save(tmp_path / "saved")
    loaded = load(tmp_path, (tmp_path / "saved" / "sentencepiece.model").read_bytes(), vocab_size=1000)
    assert loaded.fingerprint == trained.fingerprint
    assert loaded.encode_batch(corpus) == trained.encode_batch(corpus)


def test_special_tokens_of_another_model_are_found(corpus, tmp_path):
    content = train_elsewhere(
        corpus, pad_id=7, pad_piece="<pad>", unk_id=3, control_symbols=["[MASK]", "[CLS]", "[SEP]"]
    )
    tokenizer = load(tmp_path, content)
    assert (tokenizer.pad_id, tokenizer.unk_id) == (7, 3)
    named = {tokenizer.token(i) for i in (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)}
    assert named == {"[CLS]", "[SEP]", "[MASK]"}
    assert tokenizer.word_start_table()[[7, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]].all()


ELSEWHERE = {"pad_id": 0, "unk_id": 1, "pad_piece": "[PAD]", "bos_id": -1, "eos_id": -1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"lacks the special tokens \[PAD\] \[CLS\] \[SEP\] \[MASK\]"),
        ({**ELSEWHERE, "control_symbols": ["[CLS]", "[SEP]"]}, r"lacks the special tokens \[MASK\]"),
        (
            {**ELSEWHERE, "control_symbols": ["[CLS]", "[SEP]"], "user_defined_symbols": ["[MASK]"]},
            r"has \[MASK\] as an ordinary piece",
        ),
    ],
)
def test_models_without_special_tokens_are_user_errors(corpus, tmp_path, options, message):
    with pytest.raises(UserError, match=rf"tokenizer\.vocab_file .*my\.model {message}"):
        load(tmp_path, train_elsewhere(corpus, **options))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda model: b"", "is empty"),
        (lambda model: b"[PAD]\n[UNK]\n", "is not a SentencePiece model"),
        (lambda model: model[: len(model) // 2], "is not a SentencePiece model"),
        (lambda model: model.replace(b"the", b"\xff\xff\xff"), "is not a SentencePiece model"),
    ],
)
def test_damaged_models_are_user_errors(corpus, tmp_path, damage, message, capfd):
    content = train_elsewhere(corpus)
    with pytest.raises(UserError, match=rf"tokenizer\.vocab_file .*my\.model {message}"):
        load(tmp_path, damage(content))
    assert capfd.readouterr().err == ""


def test_wrong_size_is_a_user_error(corpus, tmp_path):
    content = train_elsewhere(corpus, **ELSEWHERE, control_symbols=["[CLS]", "[SEP]", "[MASK]"])
    with pytest.raises(UserError, match=r"has 400 entries, but tokenizer\.vocab_size is 999: set it to 400"):
        load(tmp_path, content, vocab_size=999)


@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece"])
@pytest.mark.parametrize(("name", "message"), [("missing", "does not exist"), ("", "cannot be read")])
def test_unreadable_vocab_file_is_a_user_error(tmp_path, kind, name, message):
    config = TokenizerConfig(kind=kind, vocab_file=str(tmp_path / name))
    with pytest.raises(UserError, match=rf"tokenizer\.vocab_file .* {message}"):
        build_tokenizer(config, lambda: iter(()))
