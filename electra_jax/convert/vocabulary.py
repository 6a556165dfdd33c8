"""The tokenizer that belongs to a foreign checkpoint, and its settings."""

from pathlib import Path
from typing import Any

from electra_jax.config.schema import TokenizerConfig
from electra_jax.convert.huggingface_tokenizer import read_huggingface_tokenizer
from electra_jax.convert.tokenizer_agreement import check_agreement
from electra_jax.errors import UserError
from electra_jax.tokenizers import Tokenizer, vocabulary_notes
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
    said = [] if vocab is not None else check_agreement(tokenizer, directory)
    return tokenizer, (*found.notes, *said, *map(_sentence, vocabulary_notes(tokenizer)))


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}."


def tokenizer_settings(tokenizer: Tokenizer | None, rows: int) -> dict[str, Any]:
    """The configuration's section ``tokenizer``; the file's path is known only where it is written."""
    if tokenizer is None:
        return {"vocab_size": rows}
    return {"kind": tokenizer.kind, "vocab_size": rows, "vocab_file": "vocabulary", **tokenizer.options}


def overridden_tokenizer(
    tokenizer: Tokenizer | None, config: TokenizerConfig, derived: TokenizerConfig, where: str
) -> Tokenizer | None:
    """The tokenizer as overrides of ``tokenizer.lowercase`` and ``tokenizer.strip_accents`` want it.

    Args:
        tokenizer: the checkpoint's.
        config: settings with overrides.
        derived: settings without.
        where: the checkpoint, for messages.

    Raises:
        UserError: an override of what the vocabulary itself decides.
    """
    for key in ("kind", "vocab_size", "vocab_file"):
        if getattr(config, key) != getattr(derived, key):
            raise UserError(
                f"tokenizer.{key} follows from the vocabulary of {where} and cannot be set: leave it out, or give "
                "another vocabulary with --vocab FILE"
            )
    if tokenizer is None:
        return None
    own = tokenizer.options["strip_accents"]
    options = {
        "lowercase": config.lowercase,
        "strip_accents": own if config.strip_accents is None else config.strip_accents,
    }
    if options == tokenizer.options:
        return tokenizer
    return KINDS[tokenizer.kind](tokenizer.content, **options, where=where)


def check_same_vocabulary(one: Tokenizer, other: Tokenizer, where_one: str, where_other: str) -> None:
    """Refuses two networks whose ids mean different tokens.

    Raises:
        UserError: see above.
    """
    if one.vocab_size != other.vocab_size:
        what = f"its vocabulary has {other.vocab_size} entries, there are {one.vocab_size}"
    elif (i := next((i for i in range(one.vocab_size) if one.token(i) != other.token(i)), None)) is not None:
        what = f"token {i} of its vocabulary is {other.token(i)!r}, there {one.token(i)!r}"
    else:
        return
    raise UserError(
        f"{where_other} does not belong to {where_one}: {what}; give the generator trained with it"
    )
