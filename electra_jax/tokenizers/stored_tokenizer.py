"""What every kind of tokenizer is besides its way of cutting text: one file, two options, a list of tokens."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.tokenizers.storage import fingerprint_of, write_tokenizer


class StoredTokenizer:
    """The part of the `Tokenizer` protocol that is the same for all kinds.

    Attributes:
        kind: Its name in the configuration.
        file: What its file is called on disk.
    """

    kind: str
    file: str

    def __init__(self, content: bytes, tokens: Sequence[str], *, lowercase: bool, strip_accents: bool):
        """Keep what a kind has read.

        Args:
            content: Its file, byte for byte.
            tokens: The token of each id.
            lowercase: Whether text is lower-cased.
            strip_accents: Whether accents are removed.
        """
        self._content, self._tokens = content, tokens
        self._options = {"lowercase": lowercase, "strip_accents": strip_accents}
        self._starts = np.zeros(len(tokens), bool)
        self.vocab_size: int = len(tokens)
        self.fingerprint: str = fingerprint_of(self.kind, self._options, content)

    def __reduce__(self) -> tuple[Any, ...]:
        kind: Any = type(self)
        return partial(kind, **self._options), (self._content,)

    def _set_word_starts(self, starts: np.ndarray) -> None:
        starts.setflags(write=False)
        self._starts = starts

    @property
    def content(self) -> bytes:
        """Its file, byte for byte."""
        return self._content

    @property
    def options(self) -> dict[str, bool]:
        """``lowercase`` and ``strip_accents``."""
        return dict(self._options)

    def token(self, id: int) -> str:
        """Return the token of an id, as the vocabulary spells it."""
        return self._tokens[int(id)]

    def word_start_table(self) -> np.ndarray:
        """Return bool ``[vocab_size]``, read-only: whether a token begins a word; see the class."""
        return self._starts

    def save(self, directory: Path) -> None:
        """Write its file and a description.

        Raises:
            UserError: it cannot be written, or another tokenizer is there.
        """
        write_tokenizer(
            directory,
            kind=self.kind,
            options=self._options,
            file=self.file,
            content=self._content,
            fingerprint=self.fingerprint,
        )
