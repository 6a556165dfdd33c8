"""The tokenizer that belongs to a foreign checkpoint, and its settings."""

from pathlib import Path
from typing import Any

from electra_jax.convert.huggingface_tokenizer import read_huggingface_tokenizer
from electra_jax.tokenizers import Tokenizer
from electra_jax.tokenizers.build import KINDS


def find_tokenizer(directory: Path, vocab: Path | None) -> tuple[Tokenizer | None, tuple[str, ...]]:
    """The tokenizer in ``directory``, or of the file ``vocab``, and notes on how it was read.

    Raises:
        UserError: its files cannot be read.
    """
    found = read_huggingface_tokenizer(directory, vocab)
    if found is None:
        return None, (f"no vocabulary in {directory}: weights only (--vocab FILE gives one)",)
    tokenizer = KINDS[found.kind](
        found.content,
        lowercase=found.lowercase,
        strip_accents=found.strip_accents,
        where=str(vocab or directory),
    )
    return tokenizer, tuple(found.notes)


def tokenizer_settings(tokenizer: Tokenizer | None, rows: int) -> dict[str, Any]:
    """The configuration's section ``tokenizer``; the file's path is known only where it is written."""
    if tokenizer is None:
        return {"vocab_size": rows}
    return {"kind": tokenizer.kind, "vocab_size": rows, "vocab_file": "vocabulary", **tokenizer.options}
