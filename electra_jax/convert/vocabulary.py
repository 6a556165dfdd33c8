"""The tokenizer of a foreign checkpoint, and its settings."""

from pathlib import Path
from typing import Any

from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from electra_jax.config.text import TokenizerConfig
from electra_jax.convert.huggingface_tokenizer import read_huggingface_tokenizer
from electra_jax.convert.tokenizer_agreement import check_agreement
from electra_jax.errors import UserError
from electra_jax.tokenizers import Tokenizer, vocabulary_notes
from electra_jax.tokenizers.build import KINDS
from electra_jax.tokenizers.characters_tokenizer import characters_file

# If more rows than this share come after the last token, the embeddings belong to another vocabulary.
_MAX_NAMELESS_SHARE = 0.25


def find_tokenizer(directory: Path, vocab: Path | None) -> tuple[Tokenizer | None, tuple[str, ...]]:
    """Return the tokenizer in ``directory``, or that of the file ``vocab``, and notes on how it was read.

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
    agreement_notes = [] if vocab is not None else check_agreement(tokenizer, directory)
    return tokenizer, (*found.notes, *agreement_notes, *map(_sentence, vocabulary_notes(tokenizer)))


def pad_vocabulary(tokenizer: Tokenizer, rows: int) -> tuple[Tokenizer, tuple[str, ...]]:
    """Return the tokenizer with names for the embedding rows after its last token, and a note on them.

    Embeddings are often rounded up to a multiple of 8 or 64. No text gives the ids of such rows; they are kept, since a
    generator's logits have them, too.

    Args:
        tokenizer: of a checkpoint.
        rows: of its embeddings; if they are fewer than the tokens, or far more, the tokenizer stays as it is, to be
            refused later.
    """
    size = tokenizer.vocab_size
    if not size < rows <= size * (1 + _MAX_NAMELESS_SHARE):
        return tokenizer, ()
    tokens = [tokenizer.token(i) for i in range(size)]
    names = [f"[row{number}]" for number in range(size, rows)]
    if not set(names).isdisjoint(tokens):
        return tokenizer, ()
    if tokenizer.kind == "wordpiece":
        content = "".join(f"{token}\n" for token in (*tokens, *names)).encode()
    elif tokenizer.kind == "characters":
        content = characters_file([*tokens, *names])
    else:
        model = ModelProto.FromString(tokenizer.content)
        for name in names:
            model.pieces.add(piece=name, type=ModelProto.SentencePiece.UNUSED)
        content = model.SerializeToString()
    made = KINDS[tokenizer.kind](content, **tokenizer.options, where="the vocabulary")
    return made, (
        f"The embeddings have {rows:,} rows, the vocabulary {size:,} entries: the last {rows - size:,} rows are kept "
        f"under names of their own ({names[0]} and so on), and no text gives them.",
    )


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}."


def tokenizer_settings(tokenizer: Tokenizer | None, rows: int) -> dict[str, Any]:
    """Return the section ``tokenizer`` of the configuration; the path of the file is known only once it is written."""
    if tokenizer is None:
        return {"vocab_size": rows}
    return {"kind": tokenizer.kind, "vocab_size": rows, "vocab_file": "vocabulary", **tokenizer.options}


def apply_tokenizer_overrides(
    tokenizer: Tokenizer | None, config: TokenizerConfig, derived: TokenizerConfig, where: str
) -> Tokenizer | None:
    """Return the tokenizer with overrides of ``tokenizer.lowercase`` and ``tokenizer.strip_accents`` applied.

    Args:
        tokenizer: of the checkpoint.
        config: settings with overrides.
        derived: settings without overrides.
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
    """Refuse two networks whose ids mean different tokens.

    Raises:
        UserError: they do.
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
