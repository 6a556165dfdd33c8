"""Training a SentencePiece vocabulary, bit for bit reproducible."""

import io
import random
import re
from collections.abc import Iterable, Iterator

import sentencepiece as spm

from electra_jax.config.schema import TokenizerConfig
from electra_jax.errors import UserError
from electra_jax.tokenizers.normalize import PlainNormalizer
from electra_jax.tokenizers.protocol import CLS, MASK, PAD, SEP, SPECIAL_TOKENS, UNK

DEFAULT_VOCAB_SIZE = 30522
# SentencePiece skips longer lines, without a word, so they are cut before.
SENTENCE_CHARACTERS = 1000
# The most that lower-casing, stripping and UTF-8 make of a character is 33 bytes (U+FDFA).
MAX_SENTENCE_BYTES = 40 * SENTENCE_CHARACTERS
# SentencePiece marks unknown characters with this one and skips, without a word, every line that has it.
RESERVED = "\u2585"
# The model depends on how many threads share the work: a fixed number, whatever the machine has.
THREADS = 4
# SentencePiece refuses less.
LEAST_COVERAGE = 0.98
NO_TEXT = "there is no text to train a tokenizer on: the training documents of data.source are empty"


def train_sentencepiece(config: TokenizerConfig, documents: Iterable[str]) -> bytes:
    """Trains a model on ``documents`` and returns it serialized.

    Raises:
        UserError: the vocabulary is too small for what it must hold, or too large for the text.
    """
    vocab_size = check_trainable(config)
    normalize = PlainNormalizer(lowercase=config.lowercase, strip_accents=bool(config.strip_accents))
    sample = reservoir_sample(sentences(documents), config.training_sentences)
    if not sample:
        raise UserError(NO_TEXT)
    written = io.BytesIO()
    try:
        spm.SentencePieceTrainer.train(
            sentence_iterator=(normalize(sentence).replace(RESERVED, " ") for sentence in sample),
            model_writer=written,
            vocab_size=vocab_size,
            model_type=config.model_type,
            byte_fallback=config.byte_fallback,
            character_coverage=config.character_coverage,
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            pad_piece=PAD,
            unk_piece=UNK,
            control_symbols=[CLS, SEP, MASK],
            normalization_rule_name="nmt_nfkc",
            max_sentence_length=MAX_SENTENCE_BYTES,
            num_threads=THREADS,
            minloglevel=2,
        )
    except (RuntimeError, ValueError) as error:  # ValueError: a number that its settings cannot hold
        raise _explain(error, vocab_size) from None
    return written.getvalue()


def check_trainable(config: TokenizerConfig) -> int:
    """The size of the vocabulary to train.

    Raises:
        UserError: no text could give a vocabulary with these settings.
    """
    vocab_size = DEFAULT_VOCAB_SIZE if config.vocab_size is None else config.vocab_size
    least = len(SPECIAL_TOKENS) + (256 if config.byte_fallback else 0)
    if vocab_size <= least:
        raise UserError(
            f"tokenizer.vocab_size {vocab_size} is too small: the special tokens"
            f"{' and 256 bytes' if config.byte_fallback else ''} take {least} already"
        )
    if config.character_coverage < LEAST_COVERAGE:
        raise UserError(
            f"tokenizer.character_coverage {config.character_coverage} is too small: "
            f"SentencePiece takes {LEAST_COVERAGE} to 1.0"
        )
    return vocab_size


def sentences(documents: Iterable[str]) -> Iterator[str]:
    """The lines of the documents, long ones cut at spaces."""
    for document in documents:
        for line in document.splitlines():
            line = line.strip()
            while len(line) > SENTENCE_CHARACTERS:
                cut = line.rfind(" ", 1, SENTENCE_CHARACTERS)
                cut = cut if cut > 0 else SENTENCE_CHARACTERS
                yield line[:cut]
                line = line[cut:].lstrip()
            if line:
                yield line


def reservoir_sample(items: Iterable[str], size: int) -> list[str]:
    """At most ``size`` items, each equally likely to be taken; the same ones each time (Vitter's algorithm R)."""
    rng = random.Random(0)
    sample: list[str] = []
    for number, item in enumerate(items):
        if number < size:
            sample.append(item)
        elif (place := rng.randrange(number + 1)) < size:
            sample[place] = item
    return sample


def _explain(error: Exception, vocab_size: int) -> UserError:
    message = str(error)
    if largest := re.search(r"set it to a value <= (\d+)", message):
        return UserError(
            f"tokenizer.vocab_size {vocab_size} is more than the text of data.source can fill: "
            f"set it to {largest[1]} or less, or use more text"
        )
    if required := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return UserError(
            f"tokenizer.vocab_size {vocab_size} is less than the {required[1]} single characters it must hold: "
            "raise it, or lower tokenizer.character_coverage"
        )
    if "all_chars_count" in message:  # nothing but characters that are dropped
        return UserError(NO_TEXT)
    return UserError(f"the tokenizer cannot be trained: {message}")
