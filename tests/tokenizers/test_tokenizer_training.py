"""Training a vocabulary: reproducible, silent, from every line, and clear about what is impossible."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from electra_jax.config.schema import TokenizerConfig
from electra_jax.errors import UserError
from electra_jax.tokenizers import build_tokenizer
from electra_jax.tokenizers.training import (
    SENTENCE_CHARACTERS,
    reservoir_sample,
    sentences,
    train_sentencepiece,
)

PLAIN = {"lowercase": False, "strip_accents": False}
OTHER_PROCESS = """
import json, sys
from electra_jax.config.schema import TokenizerConfig
from electra_jax.tokenizers.training import train_sentencepiece
config = TokenizerConfig(vocab_size=1000, training_sentences=3000, model_type=sys.argv[1])
sys.stdout.buffer.write(train_sentencepiece(config, json.load(sys.stdin)))
"""


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_training_is_reproducible_bit_for_bit(corpus, model_type, capfd):
    config = TokenizerConfig(vocab_size=1000, training_sentences=3000, model_type=model_type)
    models = [train_sentencepiece(config, iter(corpus)) for _ in range(3)]
    root = Path(__file__).parents[2]
    models.append(
        subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS, model_type],
            env={"PYTHONHASHSEED": "7", "PYTHONPATH": str(root)},
            input=json.dumps(corpus).encode(),
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    )
    assert all(model == models[0] for model in models)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("change", [{"model_type": "bpe"}, {"byte_fallback": False}, {"vocab_size": 900}])
def test_settings_reach_the_model(corpus, make, change):
    settings = {"vocab_size": 1000, **change}
    tokenizer = build_tokenizer(TokenizerConfig(**settings), lambda: iter(corpus))
    assert tokenizer.vocab_size == settings["vocab_size"]
    assert tokenizer.encode_batch(corpus) != make("unigram").encode_batch(corpus)
    has_bytes = "<0x41>" in {tokenizer.token(i) for i in range(tokenizer.vocab_size)}
    assert has_bytes == settings.get("byte_fallback", True)


@pytest.mark.parametrize(
    "line",
    [
        "x" * 5000 + " zebra",
        "ﷺ" * 950 + " zebra",
        "zebra ▅▅ bars",
        "zebra▁stripes",
        "zebra\0stripes",
        "zebra\ttab",
        "zebra \ud800 half a pair",
    ],
    ids=lambda line: ascii(line[-15:]),
)
@pytest.mark.parametrize("options", [{}, PLAIN], ids=["folded", "plain"])
def test_no_line_is_skipped(line, options):
    config = TokenizerConfig(vocab_size=320, character_coverage=1.0, **options)
    try:
        model = build_tokenizer(config, lambda: iter(["some other words\nof text", line]))
    except UserError as error:  # as many as this text gives
        size = int(re.search(r"set it to (\d+) or less", str(error))[1])
        config = config.model_copy(update={"vocab_size": size})
        model = build_tokenizer(config, lambda: iter(["some other words\nof text", line]))
    assert any("z" in model.token(i) for i in range(5 + 256, model.vocab_size))


def test_only_the_sample_is_trained_on():
    documents = [f"{chr(0x4E00 + i)} a" for i in range(200)]
    config = TokenizerConfig(vocab_size=30, byte_fallback=False, character_coverage=1.0, training_sentences=9)
    with pytest.raises(UserError, match="set it to") as error:
        build_tokenizer(config, lambda: iter(documents))
    size = int(re.search(r"set it to (\d+) or less", str(error.value))[1])
    tokenizer = build_tokenizer(config.model_copy(update={"vocab_size": size}), lambda: iter(documents))
    pieces = [tokenizer.token(i).strip("▁") for i in range(tokenizer.vocab_size)]
    assert len({piece for piece in pieces if "\u4e00" <= piece <= "\u9fff"}) == 9


def test_sentences_lose_nothing_and_are_short(corpus):
    long = ["word " * 3000, "x" * 12345, "a" * 999 + " b", "", " \n \n", "one\r\ntwo\u2028three"]
    documents = [*corpus, *long]
    cut = list(sentences(documents))
    assert all(0 < len(line) <= SENTENCE_CHARACTERS and line == line.strip() for line in cut)
    assert "".join("".join(cut).split()) == "".join("".join(documents).split())


def test_reservoir_sample():
    assert reservoir_sample(map(str, range(5)), 9) == list("01234")
    sample = [int(item) for item in reservoir_sample(map(str, range(20_000)), 2000)]
    assert sample == [int(item) for item in reservoir_sample(map(str, range(20_000)), 2000)]
    assert len(set(sample)) == 2000
    # Each quarter gets its share: binomial, so within four standard deviations of 500.
    for quarter in range(4):
        share = sum(quarter * 5000 <= number < (quarter + 1) * 5000 for number in sample)
        assert abs(share - 500) < 4 * (2000 * 0.25 * 0.75) ** 0.5


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
@pytest.mark.parametrize("byte_fallback", [True, False])
def test_too_large_a_vocabulary_names_the_largest(corpus, model_type, byte_fallback, capfd):
    def train(vocab_size):
        config = TokenizerConfig(vocab_size=vocab_size, model_type=model_type, byte_fallback=byte_fallback)
        return build_tokenizer(config, lambda: iter(corpus[:40]))

    with pytest.raises(UserError, match=r"tokenizer\.vocab_size 50000 .*set it to \d+ or less") as error:
        train(50_000)
    largest = int(re.search(r"set it to (\d+)", str(error.value))[1])
    assert train(largest).vocab_size == largest
    with pytest.raises(UserError, match="or less"):
        train(largest + 1)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("settings", "documents", "message"),
    [
        (
            {"vocab_size": 261},
            None,
            r"vocab_size 261 is too small: the special tokens and 256 bytes take 261",
        ),
        ({"vocab_size": 5, "byte_fallback": False}, None, "too small: the special tokens take 5"),
        (
            {"vocab_size": 12, "byte_fallback": False},
            ["abcdefghijkl"],
            r"less than the \d+ single characters",
        ),
        ({"vocab_size": 500}, [], "there is no text"),
        ({"vocab_size": 500}, ["", " \n "], "there is no text"),
        ({"vocab_size": 500}, ["\u200b\x01"], "there is no text"),
    ],
)
@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_impossible_training_is_a_user_error(settings, documents, message, model_type, capfd):
    def read():
        assert documents is not None, "the settings are wrong before any text is read"
        yield from documents

    config = TokenizerConfig(model_type=model_type, **settings)
    with pytest.raises(UserError, match=message):
        build_tokenizer(config, read)
    assert capfd.readouterr().err == ""
