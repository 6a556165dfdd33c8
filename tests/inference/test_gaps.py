"""Gaps: [MASK] in their places, the text around them as it is cut without them, and tokens put in."""

import random

import pytest
from small_run import OBJECTS, SUBJECTS, VERBS

from electra_jax.config.text import TokenizerConfig
from electra_jax.inference.gaps import encode_gaps, has_gap, replace_tokens
from electra_jax.tokenizers import build_tokenizer
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "cat",
    "sat",
    "on",
    "mat",
    "##s",
    "un",
    "##able",
    ".",
    ",",
    "ok",
]


@pytest.fixture(scope="module", params=["wordpiece", "bytes", "no_bytes"])
def tokenizer(request):
    if request.param == "wordpiece":
        return WordPieceTokenizer("\n".join(WORDS).encode(), lowercase=True, strip_accents=True)
    rng = random.Random(0)
    text = [f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(OBJECTS)}, ok." for _ in range(300)]
    bytes = request.param == "bytes"
    config = TokenizerConfig(vocab_size=315 if bytes else 59, byte_fallback=bytes)
    return build_tokenizer(config, lambda: iter(text))


TEXTS = [
    "The ___ sat on the [MASK].",
    "___",
    "[MASK] cat ____, ok",
    "The un___able cat",
    "[MASK][MASK] sat",
    "The ___ ___ sat, ___",
]


@pytest.mark.parametrize("text", TEXTS)
def test_each_gap_is_one_mask_at_its_place(tokenizer, text):
    encoding = encode_gaps(tokenizer, text)
    spans = [span for id, span in zip(encoding.ids, encoding.offsets) if id == tokenizer.mask_id]
    gaps = [text[begin:end] for begin, end in spans]
    assert len(gaps) == text.count("_ ") + text.count("_,") + text.count("[MASK]") + text.endswith("_") + (
        "_able" in text
    )
    assert all(gap in ("___", "____", "[MASK]") for gap in gaps)
    assert spans == sorted(set(spans))
    outside = [text[begin:end] for begin, end in encoding.offsets if (begin, end) not in spans]
    assert not any("_" in part or "[" in part for part in outside)
    assert "".join(outside) == text.replace("_", "").replace("[MASK]", "").replace(" ", "")


def test_what_follows_without_a_blank_begins_no_word(tokenizer):
    tokens = [tokenizer.token(id) for id in encode_gaps(tokenizer, "The ___, ok").ids]
    assert tokens[tokens.index("[MASK]") + 1] == ","
    assert tokens[tokens.index("[MASK]") - 1] != "\u2581"


def test_a_text_without_a_gap_is_encoded_as_ever(tokenizer):
    assert not has_gap("the __ cat [mask]")
    assert encode_gaps(tokenizer, "the cat") == tokenizer.encode_with_offsets("the cat")


def test_tokens_are_put_in_and_the_rest_is_as_it_was(tokenizer):
    def put(text, *tokens):
        table = {tokenizer.token(id): id for id in range(tokenizer.vocab_size)}
        ids = [table[token] for token in tokens]
        encoding = encode_gaps(tokenizer, text)
        spans = [span for id, span in zip(encoding.ids, encoding.offsets) if id == tokenizer.mask_id]
        return replace_tokens(tokenizer, text, spans, ids)

    if tokenizer.kind == "wordpiece":
        assert put("The ___ SAT  on the ___.", "cat", "mat") == "The cat SAT  on the mat."
        assert put("The cat [MASK]", "##s") == "The cats"
        assert put("An un___able cat[MASK].", "mat", "the") == "An un mat able cat the."
    else:
        tokens = map(tokenizer.token, range(tokenizer.vocab_size))
        word = next(token for token in tokens if token.startswith("\u2581") and token[1:].isalpha())
        assert put("The ___ SAT  on.", word) == f"The {word[1:]} SAT  on."
        assert put("The cat [MASK]", "s") == "The cats"
        assert put("The cat[MASK]", word) == f"The cat {word[1:]}"
