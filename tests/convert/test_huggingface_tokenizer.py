"""Tokenizers as files of Hugging Face: the same ids there, and the same tokenizer back."""

import functools
import itertools
import json
import lzma
import random
import unicodedata
from pathlib import Path

import pytest
import tokenizers

from electra_jax.config.text import TokenizerConfig
from electra_jax.convert.huggingface_tokenizer import (
    read_huggingface_tokenizer,
    write_huggingface_tokenizer,
)
from electra_jax.errors import UserError
from electra_jax.tokenizers import build_tokenizer
from electra_jax.tokenizers.build import KINDS
from electra_jax.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

ROOT = Path(__file__).parents[2]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "walk", "##ing", "##s", "un", "##able", "ecole", "école", "日", "本", "[", "]", ".", ","]
VOCABULARY = [*SPECIAL, "[unused1]", *WORDS, *"abcdefghijklmnopqrstuvwxyz0123456789"]
CONTENT = "".join(f"{token}\n" for token in VOCABULARY).encode()
CLEANING = [(True, True), (True, False), (False, True), (False, False)]
MODELS = [("unigram", True), ("unigram", False), ("bpe", True), ("bpe", False)]
# Special tokens that stand in a text are tokens there and text here.
TYPED = ["[CLS] [SEP] [MASK] [UNK] [PAD]", "[MASK]ed", "a[SEP]b"]


@functools.cache
def lines() -> tuple[str, ...]:
    """This repository's own text, which is always there, without names of bytes, which Hugging Face takes for bytes."""
    files = [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "electra_jax").rglob("*.py")),
    ]
    text = (line for path in files for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in text if "<0x" not in line)


@functools.cache
def trained(model_type: str, byte_fallback: bool, lowercase: bool, strip_accents: bool) -> bytes:
    config = TokenizerConfig(
        vocab_size=900, model_type=model_type, byte_fallback=byte_fallback, lowercase=lowercase,
        strip_accents=strip_accents, character_coverage=0.999,
    )  # fmt: skip
    return build_tokenizer(config, lambda: iter(lines()[::4])).content


def sentencepiece(model_type="unigram", byte_fallback=True, lowercase=True, strip_accents=True):
    model = trained(model_type, byte_fallback, lowercase, strip_accents)
    return SentencePieceTokenizer(model, lowercase=lowercase, strip_accents=strip_accents)


def wordpiece(lowercase=True, strip_accents=True, content=CONTENT):
    return WordPieceTokenizer(content, lowercase=lowercase, strip_accents=strip_accents)


def written(tokenizer, directory) -> tokenizers.Tokenizer:
    write_huggingface_tokenizer(tokenizer, directory, 128)
    return tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))


def differing(tokenizer, fast, texts) -> list[str]:
    theirs = fast.encode_batch(list(texts), add_special_tokens=False)
    return [t for t, a, b in zip(texts, tokenizer.encode_batch(texts), theirs) if a != b.ids]


def assert_same_but_for_ties(tokenizer, fast, texts, most=0.001):
    """Ids are equal, or as likely: "000" is "0" "00" or "00" "0" at the very same score.

    SentencePiece adds the scores in float32, and rounding decides for one of them.
    """
    ties = differing(tokenizer, fast, texts)
    score = tokenizer._processor.get_score
    for text in ties:
        theirs = fast.encode(text, add_special_tokens=False).ids
        assert len(tokenizer.encode(text)) == len(theirs)
        assert sum(map(score, tokenizer.encode(text))) == pytest.approx(sum(map(score, theirs)), rel=1e-6)
    assert len(ties) <= most * len(texts)


def restored(directory, **changes):
    found = read_huggingface_tokenizer(directory, **changes)
    assert found is not None
    return KINDS[found.kind](
        found.content, lowercase=found.lowercase, strip_accents=found.strip_accents
    ), found.notes


@pytest.mark.parametrize("cleaning", CLEANING)
@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "bpe"])
def test_what_was_written_is_read_back(tmp_path, kind, cleaning):
    tokenizer = wordpiece(*cleaning) if kind == "wordpiece" else sentencepiece(kind, True, *cleaning)
    notes = write_huggingface_tokenizer(tokenizer, tmp_path / "model", 128)
    assert notes
    assert all(note.endswith(".") for note in notes)
    again, found = restored(tmp_path / "model")
    assert again.fingerprint == tokenizer.fingerprint
    assert found == ()


def untyped() -> list[str]:
    return [line for line in lines() if not any(token in line for token in SPECIAL)]


WHOLE = ["", " ", "  a\n\n\tb  c \n", "\r\n x\u00a0é ﬁ\u2028½ 漢\n", "        return x\n    pass", "\n\n\n"]


@pytest.mark.parametrize("cleaning", CLEANING)
def test_characters_are_the_same_there_and_read_back(tmp_path, cleaning):
    config = TokenizerConfig(kind="characters", lowercase=cleaning[0], strip_accents=cleaning[1])
    tokenizer = build_tokenizer(config, lambda: iter([*lines()[::9], *WHOLE[:-2], "É"]))
    fast = written(tokenizer, tmp_path)
    texts = [*untyped()[::5], *WHOLE, "unknown \u0416 Ж 🇺🇳", "É é İ ﬀ"]
    assert differing(tokenizer, fast, texts) == []
    for text in WHOLE[:-2]:
        ids = tokenizer.encode(text)
        assert fast.decode(ids) == tokenizer.detokenize(ids)
    again, found = restored(tmp_path)
    assert again.fingerprint == tokenizer.fingerprint
    assert found == ()


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_line_ends_and_runs_of_blanks_are_the_same_there(tmp_path, model_type):
    config = TokenizerConfig(vocab_size=900, model_type=model_type, lowercase=False, keep_newlines=True)
    tokenizer = build_tokenizer(config, lambda: iter(lines()[::4]))
    fast = written(tokenizer, tmp_path)
    texts = [*WHOLE, *("\n".join(untyped()[at : at + 5]) for at in range(0, 2000, 50))]
    assert_same_but_for_ties(tokenizer, fast, texts, most=0.05)
    for text in texts:
        assert fast.decode(tokenizer.encode(text)) == text
    assert restored(tmp_path)[0].fingerprint == tokenizer.fingerprint


def test_a_vocabulary_keeps_its_bytes(tmp_path):
    tokenizer = wordpiece(content=b"\xef\xbb\xbf" + CONTENT.replace(b"\n", b"\r\n") + b"\n")
    written(tokenizer, tmp_path)
    assert (tmp_path / "vocab.txt").read_bytes() == tokenizer.content
    assert restored(tmp_path)[0].fingerprint == tokenizer.fingerprint


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("variant", "cleaning", "exceptions"),
    [
        # ς at the end of a word; a code point that is newer than the library's tables.
        ("uncased", (True, True), ["Ελληνικά ΣΊΣΥΦΟΣ", "\u2063b"]),
        ("cased", (False, False), ["\u2063b"]),
        ("uncased_keep_accents", (True, False), ["\u2063b"]),
    ],
)
def test_wordpiece_ids_of_the_golden_strings(shared, tmp_path, variant, cleaning, exceptions):
    rows = json.loads((shared / "golden/tokenizer.json").read_text(encoding="utf-8"))["rows"]
    tokenizer = wordpiece(*cleaning, content=(shared / "data/vocab/bert-base-uncased.txt").read_bytes())
    fast = written(tokenizer, tmp_path)
    assert len(rows) == 262
    differ = differing(tokenizer, fast, [row["text"] for row in rows])
    expected = [*TYPED, *exceptions]
    assert len(differ) == len(expected)
    assert all(text.startswith(start) for text, start in zip(differ, expected))
    # Hugging Face's recorded tokens are those of the file, but that words of 101 to 200 characters are kept.
    for row in rows:
        if fast.encode(row["text"], add_special_tokens=False).tokens != row[f"hf_{variant}"]:
            assert 100 < max(map(len, row["text"].split())) <= 200


@pytest.mark.parametrize(("model_type", "byte_fallback"), MODELS)
@pytest.mark.parametrize("cleaning", CLEANING)
def test_sentencepiece_ids_of_this_repository(tmp_path, model_type, byte_fallback, cleaning):
    tokenizer = sentencepiece(model_type, byte_fallback, *cleaning)
    # Lines that are not trained on, and what is told apart by white space, bytes and unknown characters.
    texts = [line for line in lines()[1::4] if not any(token in line for token in SPECIAL)]
    texts += [
        "",
        "   ",
        "\u3000",
        "a  b",
        "\t",
        "▁a",
        "x ▁ y",
        "🙂 smile 🙂🙂",
        "½ ℃ ﬁ Ａ",
        "e\u0301te\u0301 É",
        "(ｶﾞ) ﾊﾟ ﾊ\u309a カ\u3099",
    ]
    # Not the name of a byte, "<0x41>", which the Rust library may cut in pieces of its own (docs/parity.md).
    texts += ["<0x4", "[CLSX]", "[cls]", "a\0b", "\u200b\ufeffz", "ꙮꙮꙮ x ꙮꙮ"]
    assert len(texts) > 2000
    assert_same_but_for_ties(
        tokenizer, written(tokenizer, tmp_path), texts, most=0.005 if model_type == "unigram" else 0
    )


@pytest.mark.shared_data
@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
@pytest.mark.parametrize("cleaning", [(True, True), (False, False)])
def test_sentencepiece_ids_of_three_languages(shared, tmp_path, model_type, cleaning):
    text = shared / "data/text"
    english = [line for line in (text / "simplewiki.valid.txt").read_text("utf-8").splitlines() if line]
    with lzma.open(text / "de_novels.txt.xz", "rt", encoding="utf-8") as file:
        german = list(itertools.islice(file, 1200))
    with lzma.open(text / "zhwiki.txt.xz", "rt", encoding="utf-8") as file:
        chinese = [line[:400] for line in itertools.islice(file, 300)]
    config = TokenizerConfig(
        vocab_size=4000, model_type=model_type, lowercase=cleaning[0], strip_accents=cleaning[1]
    )
    tokenizer = build_tokenizer(config, lambda: iter([*english[:800], *german[:600], *chinese[:150]]))
    texts = [*english[800:1400], *german[600:], *chinese[150:]]
    assert_same_but_for_ties(tokenizer, written(tokenizer, tmp_path), texts)


def cleaned(tokenizer, text) -> str:
    """The text that SentencePiece cuts into pieces."""
    return tokenizer._processor.normalize(tokenizer._normalize(text)).replace("▁", " ").strip(" ")


@pytest.mark.parametrize("cleaning", CLEANING)
def test_sentencepiece_cleans_every_old_character_alike(tmp_path, cleaning):
    """Characters of Unicode 3.2, which all tables know; one in 40 of the large blocks of letters."""
    tokenizer = sentencepiece("unigram", True, *cleaning)
    normalizer = written(tokenizer, tmp_path).normalizer
    differ = []
    for code in range(0x30000):
        category = unicodedata.ucd_3_2_0.category(chr(code))
        if category in ("Cn", "Cs", "Co") or (category == "Lo" and code > 0x3400 and code % 40):
            continue
        text = f"a{chr(code)}b"
        if normalizer.normalize_str(text) != cleaned(tokenizer, text):
            differ.append(code)
    # Two accents in one character, which are composed with the letter there.
    assert differ == ([] if any(cleaning) else [0x344])


@pytest.mark.parametrize("cleaning", [(True, True), (False, True)])
def test_sentencepiece_cleans_any_mixture_alike_without_accents(tmp_path, cleaning):
    tokenizer = sentencepiece("unigram", True, *cleaning)
    normalizer = written(tokenizer, tmp_path).normalizer
    alphabet = "aeAEcsΣ\u0301\u0302\u0308\u0327\u0323²½ﬁＡ\u200d\ufe0f \r\n\u00a0の가각🙂İß"
    rng = random.Random(0)
    for _ in range(2000):
        text = "".join(rng.choices(alphabet, k=8))
        assert normalizer.normalize_str(text) == cleaned(tokenizer, text)


@pytest.mark.parametrize("tokenizer", [wordpiece, sentencepiece])
def test_special_tokens_and_pairs(tmp_path, tokenizer):
    tokenizer = tokenizer()
    fast = written(tokenizer, tmp_path)
    a, b = tokenizer.encode("the walk"), tokenizer.encode("unable")
    cls, sep = tokenizer.cls_id, tokenizer.sep_id
    pair = fast.encode("the walk", "unable")
    assert pair.ids == [cls, *a, sep, *b, sep]
    assert pair.type_ids == [0] * (len(a) + 2) + [1] * (len(b) + 1)
    assert fast.encode("the walk").ids == [cls, *a, sep]
    assert fast.encode("[MASK]", add_special_tokens=False).ids == [tokenizer.mask_id]
    assert fast.get_vocab_size() == tokenizer.vocab_size
    assert [fast.id_to_token(i) for i in range(tokenizer.vocab_size)] == [
        tokenizer.token(i) for i in range(tokenizer.vocab_size)
    ]
    assert fast.decode(fast.encode("the walk").ids) == "the walk"
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["model_max_length"] == 128
    assert config["mask_token"] == "[MASK]"


def test_the_chinese_characters_of_which_the_notes_speak(tmp_path):
    """One block begins 256 characters late in the Rust library; at both ends of it the two agree."""
    tokenizer = wordpiece()
    notes = write_huggingface_tokenizer(tokenizer, tmp_path, 128)
    assert any("U+2B820 to U+2B91F" in note for note in notes)
    fast = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    characters = [chr(code) for code in (0x2B81D, 0x2B820, 0x2B91F, 0x2B920, 0x2CEA1)]
    words = [
        len(fast.pre_tokenizer.pre_tokenize_str(fast.normalizer.normalize_str(f"a{c}b"))) for c in characters
    ]
    ours = [len(tokenizer.encode(f"a{c}b")) for c in characters]
    assert words == [3, 1, 1, 3, 3]
    assert ours == [3] * 5


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the tokenizer"):
        write_huggingface_tokenizer(wordpiece(), tmp_path / "file", 128)


def test_models_of_other_sorts(tmp_path):
    import io

    import sentencepiece as spm

    def train(**changes):
        written = io.BytesIO()
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(lines()[:400]), model_writer=written, vocab_size=300, pad_id=0, unk_id=1,
            bos_id=-1, eos_id=-1, pad_piece="[PAD]", unk_piece="[UNK]", minloglevel=2,
            control_symbols=["[CLS]", "[SEP]", "[MASK]"], hard_vocab_limit=False, **changes,
        )  # fmt: skip
        return SentencePieceTokenizer(written.getvalue(), lowercase=False, strip_accents=False)

    with pytest.raises(UserError, match="neither unigram nor bpe"):
        write_huggingface_tokenizer(train(model_type="word"), tmp_path / "word", 128)
    notes = write_huggingface_tokenizer(train(user_defined_symbols=["<x>"]), tmp_path / "symbols", 128)
    assert any("user-defined" in note for note in notes)
    # Other rules than NFKC, and pieces across spaces, are taken from the model.
    for changes in (
        {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
        {"split_by_whitespace": False, "add_dummy_prefix": False},
    ):
        tokenizer = train(**changes)
        fast = written(tokenizer, tmp_path / next(iter(changes)))
        texts = [*lines()[400:700], "  two  spaces ½ e\u0301 "]
        texts = [text for text in texts if not any(token in text for token in SPECIAL)]
        assert_same_but_for_ties(tokenizer, fast, texts, most=0.01)


# ------------------------------------------------------------------------------------------------------- reading


def folder(tmp_path, *, vocabulary=CONTENT, config=None, fast=None) -> Path:
    if vocabulary is not None:
        (tmp_path / "vocab.txt").write_bytes(vocabulary)
    for name, value in (("tokenizer_config.json", config), ("tokenizer.json", fast)):
        if value is not None:
            (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return tmp_path


def bert(**changes):
    options = {"lowercase": True, "strip_accents": None, "handle_chinese_chars": True}
    return {"normalizer": {"type": "BertNormalizer", "clean_text": True} | options | changes}


def sequence(*types):
    return {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [t if isinstance(t, dict) else {"type": t} for t in types],
        }
    }


GENERIC = {"tokenizer_class": "PreTrainedTokenizerFast"}


@pytest.mark.parametrize(
    ("config", "fast", "lowercase", "strip_accents", "noted"),
    [
        ({"do_lower_case": True}, None, True, True, None),
        ({"do_lower_case": False}, None, False, False, None),
        ({"do_lower_case": True, "strip_accents": False}, None, True, False, None),
        ({"do_lower_case": False, "strip_accents": True}, None, False, True, None),
        ({"do_lower_case": False, "strip_accents": None}, None, False, False, None),
        (None, bert(), True, True, None),
        (None, bert(lowercase=False), False, False, "tokenizer.json is followed where"),
        (None, bert(strip_accents=False), True, False, "tokenizer.json is followed where"),
        ({}, bert(lowercase=False, strip_accents=True), False, True, "tokenizer.json is followed where"),
        # The first file decides, key by key.
        ({"do_lower_case": True}, bert(lowercase=False), True, True, "tokenizer_config.json is followed"),
        ({"do_lower_case": False}, bert(strip_accents=True), False, True, "tokenizer_config.json is followed"),
        (None, sequence(bert(lowercase=False)["normalizer"]), False, False, "tokenizer.json is followed where"),
        (None, sequence("NFD", "Lowercase"), True, False, "is not BERT's"),
        (None, sequence("NFD", "StripAccents"), False, True, "is not BERT's"),
        # For the generic class the second does.
        ({**GENERIC, "do_lower_case": True}, bert(), True, True, None),
        ({**GENERIC, "do_lower_case": True}, bert(lowercase=False), False, False, "tokenizer.json is followed"),
        ({**GENERIC, "strip_accents": False}, bert(), True, True, "tokenizer.json is followed"),
        ({**GENERIC, "do_lower_case": True}, sequence("NFD"), False, False, "is not BERT's"),
        ({**GENERIC, "do_lower_case": True}, None, True, True, None),
    ],
)  # fmt: skip
def test_how_text_is_cleaned(tmp_path, config, fast, lowercase, strip_accents, noted):
    found = read_huggingface_tokenizer(folder(tmp_path, config=config, fast=fast))
    assert (found.kind, found.content) == ("wordpiece", CONTENT)
    assert (found.lowercase, found.strip_accents) == (lowercase, strip_accents)
    assert bool(found.notes) == (noted is not None)
    assert noted is None or noted in found.notes[0]


@pytest.mark.parametrize(
    ("tokens", "lowercase"),
    [([], True), (["É"], False), (["##xx", "Walk"], False), (["[Unused2]"], True), (["ℝ", "ς"], True)],
)
def test_capitals_decide_where_nothing_else_does(tmp_path, tokens, lowercase):
    content = CONTENT + "".join(f"{token}\n" for token in tokens).encode()
    found = read_huggingface_tokenizer(folder(tmp_path, vocabulary=content))
    assert found.lowercase == found.strip_accents == lowercase
    assert len(found.notes) == 1
    assert found.notes[0].endswith("capitals.")


@pytest.mark.shared_data
def test_the_vocabulary_of_the_releases_alone_is_uncased(shared, tmp_path):
    """It holds ℝ, which is an upper-case letter that lower-casing leaves alone."""
    vocabulary = (shared / "data/vocab/bert-base-uncased.txt").read_bytes()
    found = read_huggingface_tokenizer(folder(tmp_path, vocabulary=vocabulary))
    assert found.lowercase
    assert found.strip_accents


def test_what_is_done_otherwise_is_noted(tmp_path):
    config = {
        "do_lower_case": False,
        "tokenize_chinese_chars": False,
        "tokenizer_class": "BertJapaneseTokenizer",
    }
    notes = read_huggingface_tokenizer(folder(tmp_path, config=config)).notes
    assert [word for word in ("Chinese", "BertJapaneseTokenizer") if any(word in note for note in notes)]
    assert len(notes) == 2
    config = {"tokenizer_class": "ElectraTokenizer"}
    notes = read_huggingface_tokenizer(
        folder(tmp_path, config=config, fast=bert(handle_chinese_chars=False))
    ).notes
    assert len(notes) == 1
    assert "Chinese" in notes[0]


def test_a_vocabulary_inside_tokenizer_json(tmp_path):
    tokenizer = wordpiece(lowercase=False)
    written(tokenizer, tmp_path)
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).unlink()
    assert restored(tmp_path)[0].fingerprint == tokenizer.fingerprint
    # Files of the first versions name no type.
    content = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    del content["model"]["type"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert restored(tmp_path)[0].fingerprint == tokenizer.fingerprint


def test_another_vocabulary(tmp_path):
    other = tmp_path / "other.txt"
    other.write_bytes(CONTENT + b"more\n")
    home = folder(tmp_path, config={"do_lower_case": False})
    found = read_huggingface_tokenizer(home, other)
    assert (found.content, found.lowercase) == (CONTENT + b"more\n", False)
    model = tmp_path / "other.model"
    model.write_bytes(sentencepiece().content)
    assert read_huggingface_tokenizer(home, model).kind == "sentencepiece"
    with pytest.raises(UserError, match=r"nothing\.txt does not exist"):
        read_huggingface_tokenizer(home, tmp_path / "nothing.txt")


def test_a_sentencepiece_model_without_options(tmp_path):
    (tmp_path / "spiece.model").write_bytes(trained("unigram", True, False, False))
    found = read_huggingface_tokenizer(tmp_path)
    assert (found.kind, found.lowercase, found.strip_accents) == ("sentencepiece", False, False)
    (tmp_path / "spiece.model").write_bytes(trained("unigram", True, True, True))
    assert read_huggingface_tokenizer(tmp_path).lowercase


def test_a_folder_without_a_tokenizer(tmp_path):
    assert read_huggingface_tokenizer(tmp_path) is None
    assert read_huggingface_tokenizer(tmp_path / "nowhere") is None
    assert (
        read_huggingface_tokenizer(folder(tmp_path, vocabulary=None, config={"do_lower_case": True})) is None
    )


def vocabulary(tokens, **changes):
    return {"model": {"type": "WordPiece", "continuing_subword_prefix": "##", "vocab": tokens} | changes}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config": '{\n  "a": 1,\n  b\n}'}, r"tokenizer_config\.json, line 3: not valid JSON \(Expecting"),
        ({"config": "[1]"}, "does not hold a JSON object in braces but a list"),
        ({"config": "[" * 100_000}, "nested too deeply"),
        ({"config": {"do_lower_case": "yes"}}, "do_lower_case 'yes': set it to true or false"),
        ({"fast": bert(strip_accents=1)}, "strip_accents 1: set it"),
        ({"vocabulary": None, "fast": {"model": {"type": "BPE"}}}, r"cannot be read here \(BPE\)"),
        ({"vocabulary": None, "fast": {"version": "1.0"}}, r"cannot be read here \(of no named model\)"),
        ({"vocabulary": None, "fast": vocabulary({"a": 0}, continuing_subword_prefix="@")}, "continuation"),
        ({"vocabulary": None, "fast": vocabulary({"a": 0, "b": 2})}, "0, 1, 2 and so on"),
        ({"vocabulary": None, "fast": vocabulary({"a": 0, "b": "1"})}, "0, 1, 2 and so on"),
        ({"vocabulary": None, "fast": vocabulary(["a"])}, "0, 1, 2 and so on"),
        ({"vocabulary": None, "fast": vocabulary({"a\nb": 0})}, "line end"),
        ({"vocabulary": b"\xff\n"}, r"vocab\.txt is not UTF-8"),
    ],
)
def test_files_that_are_wrong(tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        read_huggingface_tokenizer(folder(tmp_path, **files))


def test_a_file_that_is_not_utf8(tmp_path):
    (tmp_path / "tokenizer_config.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UserError, match="line 1: not UTF-8"):
        read_huggingface_tokenizer(tmp_path)


@pytest.mark.parametrize("with_config", [False, True])
@pytest.mark.parametrize("tokenizer", [wordpiece, sentencepiece])
def test_autotokenizer_gives_the_same_ids(tmp_path, tokenizer, with_config):
    transformers = pytest.importorskip("transformers")
    tokenizer = tokenizer()
    fast = written(tokenizer, tmp_path)  # the same ids as ours but for ties, as tests above show
    if with_config:
        (tmp_path / "config.json").write_text('{"model_type": "electra"}')
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [line for line in lines()[1::20] if not any(token in line for token in SPECIAL)]
    for text in [*texts, "a" * 150]:
        ids = fast.encode(text, add_special_tokens=False).ids
        expected = [tokenizer.cls_id, *ids, tokenizer.sep_id]
        assert theirs(text)["input_ids"] == expected
    assert theirs("the", "walk")["token_type_ids"][-1] == 1
    assert (theirs.model_max_length, theirs.mask_token_id) == (128, tokenizer.mask_id)
    assert (theirs.pad_token_id, len(theirs)) == (tokenizer.pad_id, tokenizer.vocab_size)
