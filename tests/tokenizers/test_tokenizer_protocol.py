"""What holds for every tokenizer."""

import copy
import pickle
import random

import numpy as np
import pytest

from electra_jax.tokenizers import load_tokenizer

TEXTS = [
    "",
    " ",
    "The unaffable ÉCOLE, walking... it's 3.14!",
    "e\u0301cole n\u0303 A\u030a\u0323 İstanbul Straße ﬁn Ⅷ ½ ℃",
    "日本語 テキスト ﾊﾟ 한국어 \u1112\u1161\u11ab mixed",
    "👩‍👩‍👧 family, ❤️ and 🇺🇳 flag 𝔘𝔫𝔦",
    "tabs\tand\r\nlines\n\n\u2028 and\u200b zero\ufeffwidth \xad soft\x00nul\x01",
    "  spaces   around  ▁ ▅ ",
    "ΟΔΥΣΣΕΥΣ ΣΑΣ'Α",
    "[MASK] [CLS][SEP] [PAD] [UNK] <s> </s> <pad> <unk> <0x41> ##ing ▁the [unused0]",
    "half \ud800 a pair",
]
ALPHABET = "abTHE .,'[]\t\u200b\u0301\u0323éÉßİΣ日가\u1100\u1161👩\u200d½ﬁ℃▁▅\x00\ud800\u2028"


def random_texts(number):
    rng = random.Random(0)
    return ["".join(rng.choices(ALPHABET, k=rng.randrange(1, 25))) for _ in range(number)]


def test_the_ways_to_encode_agree(make, sort, options):
    tokenizer = make(sort, **options)
    texts = [*TEXTS, *random_texts(500)]
    ids = [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch(texts) == ids
    assert tokenizer.encode_batch([]) == []
    for text, expected in zip(texts, ids):
        encoding = tokenizer.encode_with_offsets(text)
        assert encoding.ids == expected, ascii(text)
        assert all(isinstance(i, int) for i in expected)


def test_special_ids_never_come_from_text(make, sort, options):
    tokenizer = make(sort, **options)
    special = {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id}
    if sort in ("unigram", "bpe", "newlines"):
        special.add(tokenizer.unk_id)  # bytes spell everything
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<unk>", "<pad>"]
    every = [f"{left}{name}{right}" for name in names for left in ("", " ", "a", "▁") for right in ("", "a")]
    for text in [*every, *TEXTS, "".join(names)]:
        assert special.isdisjoint(tokenizer.encode(text)), ascii(text)


def test_typed_special_tokens_are_read_as_text(make, sort):
    tokenizer = make(sort)
    spelled = "".join(tokenizer.token(i).replace("##", "").strip("▁") for i in tokenizer.encode("[MASK]"))
    assert spelled == "[mask]"


@pytest.mark.parametrize(
    ("sort", "text", "expected"),
    [
        ("wordpiece", "UNaffable!", ["UN", "aff", "able", "!"]),
        ("wordpiece", "\u00c9\u0301cole  the", ["\u00c9\u0301cole", "the"]),
        ("wordpiece", "日本", ["日", "本"]),
        ("wordpiece", "q👩 [MASK]", ["q👩", "[", "MASK", "]"]),
        ("wordpiece", "ab\x00\u200bC", ["a", "b", "C"]),
        ("wordpiece", "İ", ["İ"]),
        ("no_bytes", " THE\u200b \u200bthe\x01", ["THE", "the"]),
        ("unigram", "👩\u3000日", ["", *"👩👩👩👩", "", *"日日日"]),
        ("characters", "É\nİ👩", ["É", "\n", "İ", "İ", "👩"]),
    ],
)
def test_offsets_cut_the_original_text(make, sort, text, expected):
    offsets = make(sort).encode_with_offsets(text).offsets
    assert [text[begin:end] for begin, end in offsets] == expected


def test_offsets_are_ordered_and_cover_all_but_what_is_dropped(make, sort, options):
    tokenizer = make(sort, **options)
    for text in [*TEXTS, *random_texts(500)]:
        offsets = tokenizer.encode_with_offsets(text).offsets
        covered = set()
        last = 0
        for begin, end in offsets:
            assert 0 <= begin <= end <= len(text), ascii(text)
            assert begin >= last - 1, ascii(text)  # tokens may share a character
            covered.update(range(begin, end))
            last = max(last, begin)
        dropped = [c for i, c in enumerate(text) if i not in covered]
        assert not any(tokenizer.encode(c) for c in dropped if c not in "\u0301\u0323"), ascii(text)


def test_words_cut_out_by_their_offsets_give_the_same_tokens(make, sort, options):
    """From the start of a word to the start of the next: the offsets of each word are those of its text."""
    tokenizer = make(sort, **options)
    texts = [text for text in [*TEXTS, *random_texts(500)] if not set(text) & set("Σ")]
    starts, checked = tokenizer.word_start_table(), 0
    for text in texts:
        encoding = tokenizer.encode_with_offsets(text)
        begins = [i for i, token in enumerate(encoding.ids) if starts[token]]
        for first, after in zip(begins, [*begins[1:], len(encoding.ids)]):
            spans = encoding.offsets[first:after]
            begin, end = min(b for b, _ in spans), max(e for _, e in spans)
            others = encoding.offsets[:first] + encoding.offsets[after:]
            shared = any(b < end and e > begin for b, e in others)
            if not shared:  # a character that became two words cannot be cut
                checked += 1
                assert tokenizer.encode(text[begin:end]) == encoding.ids[first:after], ascii(text)
    assert checked > (150 if sort in ("characters", "newlines") else 500)


def test_decoding_gives_readable_text(make, sort):
    tokenizer = make(sort)
    assert tokenizer.decode(tokenizer.encode("the walking dog")) == "the walking dog"
    body = tokenizer.encode("the dog")
    ids = [tokenizer.cls_id, *body, tokenizer.mask_id, tokenizer.sep_id, tokenizer.pad_id, tokenizer.pad_id]
    assert tokenizer.decode(np.array(ids, np.int32)) == "[CLS] the dog [MASK] [SEP] [PAD] [PAD]"
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode([*body, tokenizer.unk_id]).startswith("the dog")


def test_word_start_table(make, sort):
    tokenizer = make(sort)
    table = tokenizer.word_start_table()
    assert table.dtype == bool
    assert table.shape == (tokenizer.vocab_size,)
    special = [tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]
    assert len(set(special)) == 5
    # SentencePiece's [UNK] follows a bare space, or stands inside a word.
    assert table[special].tolist() == [True, sort == "wordpiece", True, True, True]
    # Where blanks are part of tokens, it is they that begin a word.
    keeps_blanks = sort in ("characters", "newlines")
    assert table[tokenizer.encode("the walking unaffable dogs")].sum() == 4 - keeps_blanks


@pytest.mark.parametrize("way", ["pickle", "deepcopy", "save"])
def test_a_copy_is_the_same_tokenizer(make, sort, options, tmp_path, way):
    tokenizer = make(sort, **options)
    tokenizer.save(tmp_path / "saved")
    copies = {
        "pickle": lambda: pickle.loads(pickle.dumps(tokenizer)),
        "deepcopy": lambda: copy.deepcopy(tokenizer),
        "save": lambda: load_tokenizer(tmp_path / "saved"),
    }
    other = copies[way]()
    assert (other.kind, other.vocab_size, other.fingerprint) == (
        tokenizer.kind,
        tokenizer.vocab_size,
        tokenizer.fingerprint,
    )
    assert other.mask_id == tokenizer.mask_id
    assert other.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)


def test_fingerprints_tell_tokenizers_apart(make):
    settings = [(lower, strip) for lower in (True, False) for strip in (True, False)]
    every = [
        make(sort, lowercase=lower, strip_accents=strip).fingerprint
        for sort in ("wordpiece", "unigram", "bpe", "no_bytes", "characters", "newlines")
        for lower, strip in settings
    ]
    assert len(set(every)) == len(every)
