"""Reading the file a tokenizer is made of: a vocab.txt, or a SentencePiece model."""

import os
from pathlib import Path

from electra_jax.errors import UserError
from electra_jax.files.regular_files import read_regular

# The largest vocabularies in use, of a million entries, take 20 MB.
MAX_VOCABULARY_BYTES = 64 << 20


def vocabulary_path(vocab_file: str) -> Path:
    """Return the path that ``tokenizer.vocab_file`` names."""
    return Path(os.path.expanduser(vocab_file))


def read_vocabulary(path: Path, where: str) -> bytes:
    """Return the bytes of a vocab.txt or of a SentencePiece model.

    Raises:
        UserError: there is no such regular file, or it is larger than any vocabulary; ``where`` begins the message.
    """
    try:
        return read_regular(path, MAX_VOCABULARY_BYTES)
    except FileNotFoundError:
        raise UserError(f"{where} does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UserError(f"{where} cannot be read: {getattr(error, 'strerror', error)}") from None
