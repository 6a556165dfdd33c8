"""How text was cleaned when a vocabulary was made: what the files beside it say, and what is known of BERT's own."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electra_jax.config.text import TokenizerConfig
from electra_jax.errors import UserError
from electra_jax.files.json_files import read_object
from electra_jax.tokenizers.vocabulary_file import read_vocabulary, vocabulary_path

CONFIG_FILE = "tokenizer_config.json"
FAST_FILE = "tokenizer.json"

# BERT's English uncased vocabulary, which ELECTRA's releases use too: behind its special and unused entries, which
# some replace, it is these lines; some add others at the end.
_ENGLISH_LINES = slice(999, 30522)
_ENGLISH_SHA256 = "6e5240e23ad5990076014d05ac77f3ea580dce7715672d0fef65a454e6b8129b"


@dataclass(frozen=True)
class DescribedCleaning:
    """What the files beside a vocabulary say of it; None where they do not.

    Attributes:
        lowercase: text is lower-cased.
        strip_accents: accents are removed.
        split_chinese: each Chinese character is a word.
    """

    lowercase: bool | None = None
    strip_accents: bool | None = None
    split_chinese: bool | None = None


def with_cleaning(config: TokenizerConfig) -> TokenizerConfig:
    """Return the settings with ``strip_accents`` true or false; where it is null, as the vocabulary was made.

    Accents are kept unless somebody asked to lose them: in most scripts they are letters (й, vowel signs, ガ).

    Raises:
        UserError: tokenizer.vocab_file, or what describes it, cannot be read.
    """
    if config.strip_accents is not None:
        return config
    return config.model_copy(update={"strip_accents": _asks_to_strip(config)})


def _asks_to_strip(config: TokenizerConfig) -> bool:
    if config.vocab_file is None:
        return False
    path = vocabulary_path(config.vocab_file)
    config_file, fast_file = (read_optional_object(path.parent / name) for name in (CONFIG_FILE, FAST_FILE))
    described = describe_cleaning(config_file, fast_file, path.parent)
    if described.strip_accents is not None:
        return described.strip_accents
    if config.kind != "wordpiece":
        return False
    if described.lowercase is not None:
        return described.lowercase  # as transformers reads a description that is silent on accents
    return is_english_uncased(read_vocabulary(path, f"tokenizer.vocab_file {config.vocab_file}"))


def is_english_uncased(content: bytes) -> bool:
    """Return whether a vocab.txt is that of BERT's English uncased models.

    Entries replaced in its unused ones, or added at its end, do not count.
    """
    lines = [line.strip() for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    return hashlib.sha256(b"\n".join(lines[_ENGLISH_LINES])).hexdigest() == _ENGLISH_SHA256


def describe_cleaning(
    config: Mapping[str, Any], fast: Mapping[str, Any], directory: Path
) -> DescribedCleaning:
    """Return what a tokenizer_config.json and, where that is silent, a tokenizer.json say of cleaning.

    Args:
        config: the content of the first.
        fast: that of the second, Hugging Face's or one that `Tokenizer.save` wrote.
        directory: where they are, for messages.

    Raises:
        UserError: a setting is neither true nor false.
    """

    def flag(source: Mapping[str, Any], name: str, file: str) -> bool | None:
        value = source.get(name)
        if value is not None and not isinstance(value, bool):
            raise UserError(f"{directory / file} has {name} {value!r:.40}: set it to true or false")
        return value

    steps = {step["type"]: step for step in normalizer_steps(fast)}
    bert = steps.get("BertNormalizer", {})
    own = fast.get("options")
    saved = own if isinstance(own, dict) else {}
    found = []
    for in_config, in_fast, step in (
        ("do_lower_case", "lowercase", "Lowercase"),
        ("strip_accents", "strip_accents", "StripAccents"),
        ("tokenize_chinese_chars", "handle_chinese_chars", ""),
    ):
        value = flag(config, in_config, CONFIG_FILE)
        value = flag(bert or saved, in_fast, FAST_FILE) if value is None else value
        found.append(step in steps if value is None and steps and not bert and step else value)
    return DescribedCleaning(*found)


def normalizer_steps(fast: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the normalizers of a tokenizer.json that say their type, sequences unrolled."""
    steps, waiting = [], [fast.get("normalizer")]
    while waiting:
        step = waiting.pop()
        if not isinstance(step, dict) or not isinstance(step.get("type"), str):
            continue
        if step["type"] != "Sequence":
            steps.append(step)
        elif isinstance(inner := step.get("normalizers"), list):
            waiting += reversed(inner)
    return steps


def read_optional_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one where there is no such file.

    Raises:
        UserError: it cannot be read, or is something else.
    """
    return read_object(path, "fetch it again") if os.path.lexists(path) else {}
