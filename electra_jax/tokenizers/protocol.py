"""What every tokenizer offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Encoding:
    """Tokens of a text with where they stand in it.

    Attributes:
        ids: token ids, no special tokens added.
        offsets: (begin, end) of each token, in characters of the original text.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]


class Tokenizer(Protocol):
    """Text to ids and back. Special ids never come out of text: a typed "[MASK]" is text.

    Attributes:
        kind: "sentencepiece", "wordpiece" or "characters".
        vocab_size: entries of the vocabulary.
        fingerprint: hex hash of everything that decides the output.
        encodes_lines_alone: the ids of a text are those of its lines, each with its line end, one after another.
    """

    kind: str
    vocab_size: int
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    fingerprint: str
    encodes_lines_alone: bool

    @property
    def content(self) -> bytes:
        """The vocabulary's file, byte for byte."""

    @property
    def options(self) -> dict[str, bool]:
        """How text is cleaned: ``lowercase`` and ``strip_accents``."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, no special tokens added."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts; much faster than one at a time."""

    def encode_with_offsets(self, text: str) -> Encoding:
        """Return the ids of ``text`` with their places in it."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return readable text; special tokens are shown by name."""

    def detokenize(self, ids: Sequence[int]) -> str:
        """Return the text a person would read, without special tokens; where everything is kept, the original.

        Of ids that end inside a character, which bytes spell, the text ends with U+FFFD. What stands before the last
        blank stays as it is when more ids are added.
        """

    def token(self, id: int) -> str:
        """Return the token of an id, as the vocabulary spells it."""

    def word_start_table(self) -> np.ndarray:
        """Return bool ``[vocab_size]``: whether the token begins a word; [PAD], [CLS], [SEP] and [MASK] do."""

    def save(self, directory: Path) -> None:
        """Write all files to ``directory``, whole or not at all.

        Raises:
            UserError: it cannot be written, or another tokenizer is there.
        """
