"""Training a vocabulary: reproducible, silent, from every line, and clear about what is impossible."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from electra_jax.config.text import TokenizerConfig
from electra_jax.errors import UserError
from electra_jax.tokenizers import build_tokenizer, sentencepiece_worker, training
from electra_jax.tokenizers.sampling import SENTENCE_CHARACTERS, sample_sentences, sentences
from electra_jax.tokenizers.training import train_sentencepiece

PLAIN = {"lowercase": False, "strip_accents": False}
OTHER_PROCESS = """
import json, sys
from electra_jax.config.text import TokenizerConfig
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


@pytest.mark.parametrize("keep_blanks", [False, True])
def test_long_lines_are_cut_at_the_last_space_that_leaves_them_short_enough(keep_blanks):
    rng = random.Random(0)
    line = "".join(rng.choice(["word", "x" * rng.randrange(1200), " ", "  ", "\t"]) + " " for _ in range(900))

    def as_defined(rest):
        """What is left, and not a position in it, each time."""
        rest = rest if keep_blanks else rest.strip()
        while len(rest) > SENTENCE_CHARACTERS:
            cut = rest.rfind(" ", 1, SENTENCE_CHARACTERS)
            cut = cut if cut > 0 else SENTENCE_CHARACTERS
            yield rest[:cut]
            rest = rest[cut:] if keep_blanks else rest[cut:].lstrip()
        if rest and not rest.isspace():
            yield rest

    assert list(sentences([line], keep_blanks=keep_blanks)) == list(as_defined(line))


def sample(items, max_sentences=10**9, max_characters=10**9):
    return sample_sentences(items, max_sentences, max_characters, lambda read: None)


def test_a_sample_that_is_not_bounded_is_all_of_the_text():
    items = [str(number) for number in range(500)]
    taken = sample(iter(items))
    assert taken.sentences == items
    assert taken.characters == taken.characters_read == len("".join(items))


@pytest.mark.parametrize("bounds", [{"max_sentences": 2000}, {"max_characters": 10_000}])
def test_a_bounded_sample_is_fair_and_the_same_each_time(bounds):
    items = [f"{number:05}" for number in range(20_000)]
    taken = sample(iter(items), **bounds)
    assert taken == sample(iter(items), **bounds)
    assert len(set(taken.sentences)) == 2000
    assert taken.sentences == sorted(taken.sentences)
    assert (taken.characters, taken.characters_read) == (10_000, 100_000)
    # Each quarter gets its share: binomial, so within four standard deviations of 500.
    for quarter in range(4):
        share = sum(quarter * 5000 <= int(number) < (quarter + 1) * 5000 for number in taken.sentences)
        assert abs(share - 500) < 4 * (2000 * 0.25 * 0.75) ** 0.5


def test_text_without_blanks_costs_more():
    letters = ["ACGT" * 25] * 1000
    words = ["four " * 20] * 1000
    assert sample(letters, max_characters=80_000).characters == 10_000
    assert sample(words, max_characters=40_000).characters == 40_000
    assert sample(letters).share_without_blanks == 1
    assert sample(words).share_without_blanks == 0
    assert sample(["x" * 1000], max_characters=1).sentences == ["x" * 1000]


def test_progress_is_told_with_the_time_it_took(corpus, monkeypatch):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(training, "_SECONDS_BETWEEN_LOOKS", 0.01)
    lines = []
    config = TokenizerConfig(vocab_size=500, training_characters=50_000)
    train_sentencepiece(config, iter(corpus), lines.append)
    assert re.fullmatch(r"reading text for the vocabulary, [\d,]+ characters, \d+ s", lines[0])
    assert any(
        re.fullmatch(r"the vocabulary: trained on 4\d,\d+ of [\d,]+ characters, at random", x) for x in lines
    )
    assert re.fullmatch(r"training the vocabulary on 4\d,\d+ characters, \d+ s", lines[-1])


@pytest.mark.parametrize(
    ("alphabet", "model_type", "expected"),
    [
        (
            "ACGT",
            "unigram",
            r"blanks \(100% .*model_type=bpe is faster, and with tokenizer\.vocab_size=266 its 4",
        ),
        ([chr(0x4E00 + i) for i in range(500)], "unigram", "model_type=bpe is faster$"),
        ("ACGT", "bpe", None),
        (["a few ", "words "], "unigram", None),
    ],
)
def test_text_without_blanks_gets_a_sentence(alphabet, model_type, expected, monkeypatch):
    """And the vocabulary of single characters that it speaks of can be had."""
    rng = random.Random(0)
    documents = ["".join(rng.choices(alphabet, k=2000)) for _ in range(60)]
    lines = []
    config = TokenizerConfig(vocab_size=4096, model_type=model_type)
    monkeypatch.setattr(training, "_run_worker", lambda request, waiting: b"\0model")
    train_sentencepiece(config, documents, lines.append)
    notes = [line for line in lines if line.startswith("note: ")]
    assert len(notes) == (expected is not None)
    assert not notes or re.search(expected, notes[0])


def test_a_vocabulary_of_single_characters():
    config = TokenizerConfig(vocab_size=266, model_type="bpe")
    rng = random.Random(0)
    tokenizer = build_tokenizer(config, lambda: iter(["".join(rng.choices("ACGT", k=5000))]))
    assert [tokenizer.token(i).strip("▁") for i in tokenizer.encode("GATTACA")][-7:] == list("gattaca")


def test_an_interrupt_ends_training_at_once(corpus, monkeypatch):
    """SentencePiece's C++ would go on to its end."""
    workers = []
    popen = subprocess.Popen

    def start(arguments, **options):
        workers.append(popen([sys.executable, "-c", "import time; time.sleep(600)"], **options))
        return workers[-1]

    def interrupt(_, __):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.subprocess, "Popen", start)
    monkeypatch.setattr(training._Progress, "report", lambda self, what: workers and interrupt(self, what))
    with pytest.raises(KeyboardInterrupt):
        train_sentencepiece(TokenizerConfig(vocab_size=500), iter(corpus))
    assert workers[0].returncode == -signal.SIGKILL


def test_the_process_ends_with_the_one_that_started_it(corpus):
    """Its input ends when that is killed, whatever SentencePiece is doing."""
    worker = subprocess.Popen(
        [sys.executable, "-P", sentencepiece_worker.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    request = json.dumps({"settings": {"vocab_size": 8000}, "sentences": [*corpus] * 50}).encode()
    worker.stdin.write(len(request).to_bytes(8, "little") + request)
    worker.stdin.close()
    assert worker.stdout.read() == b""
    assert worker.wait() == 1


def test_a_process_that_is_killed_is_a_user_error(corpus, monkeypatch):
    monkeypatch.setattr(training.sentencepiece_worker, "__file__", os.devnull)  # a program that ends at once
    with pytest.raises(UserError, match=r"ended unexpectedly \(status 0\).*training_characters to a smaller"):
        train_sentencepiece(TokenizerConfig(vocab_size=500), iter(corpus))


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
