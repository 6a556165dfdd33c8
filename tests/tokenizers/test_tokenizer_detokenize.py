"""What tokens are as text again: the original where the tokenizer keeps everything, else what a person would write."""

import io
import random

import numpy as np
import pytest
import sentencepiece as spm
from hypothesis import given
from hypothesis import strategies as st

from electra_jax.config.text import TokenizerConfig
from electra_jax.data.tokenizing import tokenize_chunk
from electra_jax.errors import UserError
from electra_jax.tokenizers import build_tokenizer, what_is_lost
from electra_jax.tokenizers.characters_tokenizer import CharactersTokenizer, characters_file
from electra_jax.tokenizers.written_words import write_words

SORTS = ["wordpiece", "unigram", "bpe", "no_bytes", "characters", "newlines"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# But for half of a pair, NUL, and the sign that SentencePiece writes for a space.
any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\u2581"), max_size=40)
blank_text = st.text("ab \n\t\r\u00a0\u2028é.", max_size=40)


@given(any_text | blank_text)
def test_kept_newlines_give_back_any_text(make, text):
    tokenizer = make("newlines", lowercase=False)
    assert tokenizer.detokenize(tokenizer.encode(text)) == text


@given(blank_text)
def test_characters_give_back_the_text_they_know(text):
    tokenizer = CharactersTokenizer(
        characters_file([*SPECIAL, *"ab \n\t\r\u00a0\u2028é."]), lowercase=False, strip_accents=False
    )
    assert tokenizer.detokenize(tokenizer.encode(text)) == text
    assert tokenizer.encode_with_offsets(text).offsets == [(i, i + 1) for i in range(len(text))]


def test_lowercase_keeps_line_ends_and_blanks(make):
    tokenizer = make("newlines", lowercase=True)
    text = "  Def f(X):\n\n\treturn  É \n"
    assert tokenizer.detokenize(tokenizer.encode(text)) == text.lower()


def test_runs_of_blanks_and_line_ends_are_single_tokens(make, corpus):
    tokenizer = make("newlines", lowercase=False)
    assert [tokenizer.token(i) for i in tokenizer.encode("\n\n\t")] == ["\n", "\n", "\t"]
    assert len(tokenizer.encode("        ")) <= 2
    assert not tokenizer.word_start_table()[tokenizer.encode("a")[0]]
    assert tokenizer.word_start_table()[tokenizer.encode("\n")[0]]


@pytest.mark.parametrize("sort", ["wordpiece", "unigram", "bpe", "no_bytes"])
def test_plain_sentences_come_back(make, sort):
    tokenizer = make(sort)
    assert (
        tokenizer.detokenize(tokenizer.encode("  the walking dog,\n walked. ")) == "the walking dog, walked."
    )
    assert tokenizer.detokenize([]) == ""


def test_no_special_token_is_ever_written(make, sort):
    tokenizer = make(sort)
    special = [tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]
    body = tokenizer.encode("the dog")
    mixed = [*special, body[0], *special, *body[1:], *special]
    assert tokenizer.detokenize(np.array(mixed, np.int32)) == tokenizer.detokenize(body) == "the dog"
    assert tokenizer.detokenize(special) == ""


def test_names_of_rows_are_never_written(make):
    tokenizer = make("wordpiece")
    assert tokenizer.token(0) == "[unused0]"
    assert tokenizer.detokenize([0, *tokenizer.encode("the"), 0]) == "the"


def test_bytes_that_end_inside_a_character_end_with_the_sign_for_it(make):
    tokenizer = make("newlines", lowercase=False)
    ids = tokenizer.encode("漢")
    assert [tokenizer.detokenize(ids[:n]) for n in range(4)] == ["", "\ufffd", "\ufffd", "漢"]
    assert tokenizer.detokenize([*ids[:2], *tokenizer.encode("a")]) == "\ufffda"


def test_what_stands_before_the_last_blank_stays_when_tokens_are_added(make, sort):
    """What a stream may show; but for characters that are not whole yet."""
    tokenizer = make(sort)
    rng = random.Random(0)
    marks = [
        tokenizer.encode(mark)[-1] for mark in "'\"-.,/(" if tokenizer.unk_id not in tokenizer.encode(mark)
    ]
    for _ in range(60):
        ids = [
            rng.choice(marks) if marks and rng.random() < 0.5 else rng.randrange(tokenizer.vocab_size)
            for _ in range(20)
        ]
        texts = [tokenizer.detokenize(ids[:n]) for n in range(len(ids) + 1)]
        for shorter in texts:
            certain = shorter[: shorter.rfind(" ") + 1].rstrip(" \ufffd")
            assert all(text.startswith(certain) for text in texts[texts.index(shorter) :])


@pytest.mark.parametrize(
    "text",
    [
        "the dog's bone, isn't it? we're here (really) and \"quoted text\" with 'single' ones.",
        "it cost $5.50, or 1,000 yen; 50% of 3.14 at 10:30.",
        "in 1999, 2000 people: rock 'n' roll o'clock... what?!",
        "a well-known state-of-the-art and/or http://www.example.com/path_to.html thing",
        "the u.s. and e.g. this, i.e. that -- or not",
        'the dogs\' tails were "long." he said: "go!"',
        "don’t “quote” ‘me’ [sic] {x} ¿qué? 1939–1945 – the war",
        "日本語、漢字。",
        "-5 degrees, plan b. a new one",
    ],
)
def test_words_are_written_as_a_person_would(text):
    assert write_words(_cut(text)) == text


def _cut(text):
    """As BERT does: at white space, and on both sides of every mark and every Chinese character."""
    return "".join(c if c.isalnum() and c < "\u3040" else f" {c} " for c in text).split()


@given(
    st.lists(st.sampled_from([*"'\".,-/:([)]?$_@–’“”。", "s", "t", "u", "dogs", "com", "12", "000", "日"]))
)
def test_nothing_but_blanks_is_added_to_words(words):
    written = write_words(words)
    assert written.replace(" ", "") == "".join(words)
    assert "  " not in written
    assert written == written.strip()


def test_what_is_lost_is_said(make):
    assert what_is_lost(make("newlines", lowercase=False)) is None
    assert what_is_lost(make("newlines")) == "the tokenizer does not keep capitals"
    assert what_is_lost(make("unigram", strip_accents=True)) == (
        "the tokenizer does not keep capitals, accents, line ends and runs of blanks, compatible forms of characters "
        "(ﬁ becomes fi)"
    )
    unknown = "characters that its vocabulary has not"
    assert what_is_lost(make("characters", lowercase=False)) == f"the tokenizer does not keep {unknown}"
    assert what_is_lost(make("no_bytes")).endswith(unknown)
    assert what_is_lost(make("wordpiece")) == (
        f"the tokenizer does not keep capitals, line ends, where blanks stood beside punctuation, {unknown}"
    )


def test_a_model_that_loses_blanks_is_refused_where_they_are_to_be_kept(make, tmp_path):
    for sort in ("unigram", "newlines"):
        (tmp_path / f"{sort}.model").write_bytes(make(sort).content)
    given = TokenizerConfig(vocab_file=str(tmp_path / "unigram.model"), keep_newlines=True)
    with pytest.raises(UserError, match=r"unigram\.model was trained without tokenizer\.keep_newlines"):
        build_tokenizer(given, lambda: iter(()))
    kept = TokenizerConfig(vocab_file=str(tmp_path / "newlines.model"), keep_newlines=True)
    assert build_tokenizer(kept, lambda: iter(())).fingerprint == make("newlines").fingerprint


def test_a_model_with_blanks_behind_words(tmp_path):
    written = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(["the dog walks home", "a dog walks"] * 9),
        model_writer=written, vocab_size=290, byte_fallback=True, treat_whitespace_as_suffix=True, pad_id=0, unk_id=1,
        bos_id=-1, eos_id=-1, pad_piece="[PAD]", control_symbols=["[CLS]", "[SEP]", "[MASK]"], minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    (tmp_path / "a.model").write_bytes(written.getvalue())
    tokenizer = build_tokenizer(TokenizerConfig(vocab_file=str(tmp_path / "a.model")), lambda: iter(()))
    assert tokenizer.detokenize(tokenizer.encode("the dog walks")) == "the dog walks"


@given(any_text | blank_text)
def test_lines_alone_have_the_ids_they_have_in_their_text(make, text):
    text = f"{text}\nthe {text}"
    *lines, last = text.split("\n")
    parts = [*(f"{line}\n" for line in lines), last]
    for sort in SORTS:
        tokenizer = make(sort)
        assert tokenizer.encodes_lines_alone
        assert tokenizer.encode(text) == [i for part in parts for i in tokenizer.encode(part)], sort


def test_the_end_of_a_long_text_is_cut_as_its_beginning(make, corpus):
    """SentencePiece's float32 sums cannot tell small differences any more, a million characters on."""
    tokenizer = make("newlines", lowercase=False)
    line = "".join(corpus)[:2000].replace("\n", " ") + "\n"
    chunk = tokenize_chunk(tokenizer, [line * 300], by_sentence=False, count_texts=True)
    assert chunk.ids.tolist() == tokenizer.encode(line) * 300
    assert chunk.text_counts[0, 2] == 0
