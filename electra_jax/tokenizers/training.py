"""Training a SentencePiece vocabulary, bit for bit reproducible."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from electra_jax.config.text import TokenizerConfig
from electra_jax.errors import UserError
from electra_jax.tokenizers import sentencepiece_worker
from electra_jax.tokenizers.normalize import PlainNormalizer
from electra_jax.tokenizers.protocol import CLS, MASK, PAD, SEP, SPECIAL_TOKENS, UNK
from electra_jax.tokenizers.sampling import (
    MAX_WORD_LENGTH,
    SENTENCE_CHARACTERS,
    Sample,
    sample_sentences,
    sentences,
)
from electra_jax.tokenizers.sentencepiece_worker import REFUSED

DEFAULT_VOCAB_SIZE = 30522
# The most that lower-casing, stripping and UTF-8 make of a character is 33 bytes (U+FDFA).
MAX_SENTENCE_BYTES = 40 * SENTENCE_CHARACTERS
# SentencePiece marks unknown characters with this one and skips, without a word, every line that has it.
RESERVED = "\u2585"
# The model depends on how many threads share the work: a fixed number, whatever the machine has.
THREADS = 4
SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_LOOKS = 0.5
# So many characters and fewer are no language's letters with their capitals and signs.
_SMALL_ALPHABET = 40
# SentencePiece refuses less.
MIN_COVERAGE = 0.98
# What it takes for text to come back as it was: no rules that fold characters, no blank that is put in front or taken
# away; and pieces for line ends, which lines do not have, for tabs, which SentencePiece leaves out of all others, and
# for runs of blanks.
_KEPT = ["\n", "\t"]
_KEEPING = {
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "allow_whitespace_only_pieces": True,
    "user_defined_symbols": _KEPT,
}
NO_TEXT = "there is no text to train a tokenizer on: the training documents of data.source are empty"


def train_sentencepiece(
    config: TokenizerConfig, documents: Iterable[str], report: Callable[[str], None] = lambda line: None
) -> bytes:
    """Train a model on a sample of ``documents`` and return it serialized.

    Args:
        config: its settings decide the sample and the model.
        documents: all training text.
        report: is given lines that say what is being done and for how long.

    Raises:
        UserError: the vocabulary is too small for what it must hold, or too large for the text.
    """
    vocab_size = check_trainable(config)
    normalize = PlainNormalizer(lowercase=config.lowercase, strip_accents=bool(config.strip_accents))
    clock = _Progress(report)
    sample = sample_sentences(
        sentences(documents, keep_blanks=config.keep_newlines),
        config.training_sentences,
        config.training_characters,
        lambda read: clock.report(f"reading text for the vocabulary, {read:,} characters"),
    )
    if not sample.sentences:
        raise UserError(NO_TEXT)
    if sample.characters < sample.characters_read:
        report(
            f"the vocabulary: trained on {sample.characters:,} of {sample.characters_read:,} characters, at random"
        )
    if note := _slow_training_note(config, sample):
        report(note)
    settings = {
        "vocab_size": vocab_size,
        "model_type": config.model_type,
        "byte_fallback": config.byte_fallback,
        "character_coverage": config.character_coverage,
        "pad_id": 0,
        "unk_id": 1,
        "bos_id": -1,
        "eos_id": -1,
        "pad_piece": PAD,
        "unk_piece": UNK,
        "control_symbols": [CLS, SEP, MASK],
        **(_KEEPING if config.keep_newlines else {"normalization_rule_name": "nmt_nfkc"}),
        "max_sentence_length": MAX_SENTENCE_BYTES,
        "num_threads": THREADS,
        "minloglevel": 2,
    }
    lines = [normalize(sentence).replace(RESERVED, " ") for sentence in sample.sentences]
    answer = _run_worker(
        {"settings": settings, "sentences": lines},
        lambda: clock.report(f"training the vocabulary on {sample.characters:,} characters"),
    )
    if answer[:1] == REFUSED:
        raise _explain(answer[1:].decode(), vocab_size, _least_size(config))
    return answer[1:]


def _run_worker(request: dict[str, Any], waiting: Callable[[], None]) -> bytes:
    """Return what `sentencepiece_worker` answers; whatever ends the wait for it ends it too."""
    worker = subprocess.Popen(
        [sys.executable, "-P", sentencepiece_worker.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Ctrl-C in a terminal reaches this program only, which then ends its worker.
        process_group=0,
    )
    frame = json.dumps(request, ensure_ascii=False).encode()
    answers: list[bytes] = []

    def exchange() -> None:
        assert worker.stdin is not None
        assert worker.stdout is not None
        with suppress(BrokenPipeError):  # it ended, which its status says
            worker.stdin.write(len(frame).to_bytes(8, "little") + frame)
            worker.stdin.flush()
        answers.append(worker.stdout.read())

    thread = threading.Thread(target=exchange, daemon=True, name="vocabulary")
    try:
        thread.start()
        while thread.is_alive():
            thread.join(_SECONDS_BETWEEN_LOOKS)
            waiting()
        status = worker.wait()
    finally:
        worker.kill()
        worker.wait()
        thread.join()
        for pipe in (worker.stdin, worker.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
    if not answers[0]:
        raise UserError(
            f"the process that trains the vocabulary ended unexpectedly (status {status}), perhaps for lack of memory: "
            "set tokenizer.training_characters to a smaller number and run again"
        )
    return answers[0]


class _Progress:
    """Lines on what is being done and the time it has taken, every few seconds."""

    def __init__(self, report: Callable[[str], None]):
        self._report = report
        self._begun = self._said = time.monotonic()

    def report(self, what: str) -> None:
        now = time.monotonic()
        if now - self._said >= SECONDS_BETWEEN_LINES:
            self._said = now
            self._report(f"{what}, {now - self._begun:.0f} s")


def _slow_training_note(config: TokenizerConfig, sample: Sample) -> str | None:
    """Return a sentence on text that has hardly any blanks, which a unigram model is slow on; None for other text."""
    if config.model_type != "unigram" or sample.share_without_blanks < 0.5 or sample.characters < 100_000:
        return None
    line = (
        f"note: the text has hardly any blanks ({sample.share_without_blanks:.0%} of it in runs of more than "
        f"{MAX_WORD_LENGTH} characters), on which a unigram vocabulary trains slowly: tokenizer.model_type=bpe is "
        "faster"
    )
    alphabet = len(set("".join(sample.sentences)) - {" "})
    if alphabet > _SMALL_ALPHABET:
        return line
    size = _least_size(config) + alphabet + 1
    return f"{line}, and with tokenizer.vocab_size={size} its {alphabet} characters are the vocabulary"


def check_trainable(config: TokenizerConfig) -> int:
    """Return the size of the vocabulary to train.

    Raises:
        UserError: no text could give a vocabulary with these settings.
    """
    vocab_size = DEFAULT_VOCAB_SIZE if config.vocab_size is None else config.vocab_size
    least = _least_size(config)
    if vocab_size <= least:
        raise UserError(
            f"tokenizer.vocab_size {vocab_size} is too small: the special tokens"
            f"{', line end and tab' if config.keep_newlines else ''}{' and 256 bytes' if config.byte_fallback else ''} "
            f"take {least} already"
        )
    if config.character_coverage < MIN_COVERAGE:
        raise UserError(
            f"tokenizer.character_coverage {config.character_coverage} is too small: "
            f"SentencePiece takes {MIN_COVERAGE} to 1.0"
        )
    return vocab_size


def _least_size(config: TokenizerConfig) -> int:
    """Count the entries that are there whatever the text."""
    kept = len(_KEPT) if config.keep_newlines else 0
    return len(SPECIAL_TOKENS) + kept + (256 if config.byte_fallback else 0)


def _explain(message: str, vocab_size: int, least_size: int) -> UserError:
    """Say in our words why SentencePiece could not train; 0.2.2 says in others than 0.2.3 that nothing was left."""
    largest = re.search(r"set it to a value <= (\d+)", message)
    nothing_left = "all_chars_count" in message or "!required_chars_.empty()" in message
    if nothing_left or (largest and int(largest[1]) <= least_size):
        return UserError(NO_TEXT)  # all characters are ones that cleaning drops
    if largest:
        return UserError(
            f"tokenizer.vocab_size {vocab_size} is more than the text of data.source can fill: "
            f"set it to {largest[1]} or less, or use more text"
        )
    if required := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return UserError(
            f"tokenizer.vocab_size {vocab_size} is less than the {required[1]} single characters it must hold: "
            "raise it, or lower tokenizer.character_coverage"
        )
    return UserError(f"the tokenizer cannot be trained: {message}")
