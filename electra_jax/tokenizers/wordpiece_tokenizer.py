"""BERT's WordPiece, token for token, on the Rust `tokenizers` library."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer

from electra_jax.errors import UserError
from electra_jax.tokenizers.normalize import BertNormalizer
from electra_jax.tokenizers.protocol import SPECIAL_TOKENS, UNK, Encoding
from electra_jax.tokenizers.storage import fingerprint_of, write_tokenizer

CONTINUATION = "##"
# Longer words become [UNK]: the limit of the original (Hugging Face's is 100).
MAX_CHARACTERS_A_WORD = 200


class WordPieceTokenizer:
    """A BERT vocab.txt behind the `Tokenizer` protocol.

    Text is cleaned in Python as the original does it, since the Rust normaliser differs on unassigned code
    points and the final sigma. A token begins a word unless it begins with ``##``.
    """

    kind = "wordpiece"

    def __init__(self, vocabulary: bytes, *, lowercase: bool, strip_accents: bool, where: str = "vocab.txt"):
        """Reads the content of a vocab.txt, one token a line.

        Raises:
            UserError: not UTF-8, empty, a token twice, or without the special tokens.
        """
        self._tokens = _parse_vocabulary(vocabulary, where)
        self._content = vocabulary
        self._options = {"lowercase": lowercase, "strip_accents": strip_accents}
        self._normalize = BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
        ids = {token: i for i, token in enumerate(self._tokens)}
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (ids[t] for t in SPECIAL_TOKENS)
        self.vocab_size = len(self._tokens)
        # No added tokens: a typed "[MASK]" is split at its brackets like any other text.
        self._rust = tokenizers.Tokenizer(
            WordPiece(ids, unk_token=UNK, max_input_chars_per_word=MAX_CHARACTERS_A_WORD)
        )
        self._rust.pre_tokenizer = BertPreTokenizer()
        self.fingerprint = fingerprint_of(self.kind, self._options, vocabulary)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._content, self._options)

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``."""
        return self._rust.encode(self._normalize(text), add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts."""
        encodings = self._rust.encode_batch_fast(
            [self._normalize(t) for t in texts], add_special_tokens=False
        )
        return [encoding.ids for encoding in encodings]

    def encode_with_offsets(self, text: str) -> Encoding:
        """Ids with their places in ``text``."""
        normalized, origin = self._normalize.aligned(text)
        encoding = self._rust.encode(normalized, add_special_tokens=False)
        offsets = [(origin[begin], origin[end - 1] + 1) for begin, end in encoding.offsets]
        starts = [not token.startswith(CONTINUATION) for token in encoding.tokens]
        return Encoding(encoding.ids, offsets, starts)

    def decode(self, ids: Sequence[int]) -> str:
        """Tokens joined by spaces, continuations glued on."""
        return " ".join(self.token(i) for i in ids).replace(f" {CONTINUATION}", "")

    def token(self, id: int) -> str:
        """The token of an id."""
        return self._tokens[int(id)]

    def word_start_table(self) -> np.ndarray:
        """bool ``[vocab_size]``."""
        return np.array([not token.startswith(CONTINUATION) for token in self._tokens])

    def save(self, directory: Path) -> None:
        """Writes vocab.txt and its description."""
        write_tokenizer(
            directory,
            kind=self.kind,
            options=self._options,
            file="vocab.txt",
            content=self._content,
            fingerprint=self.fingerprint,
        )


def _rebuild(vocabulary: bytes, options: dict[str, Any]) -> WordPieceTokenizer:
    return WordPieceTokenizer(vocabulary, **options)


def _parse_vocabulary(content: bytes, where: str) -> list[str]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8 at byte {error.start}: expected a BERT vocab.txt") from None
    # Only real line ends: some vocabularies hold other separators as tokens.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    tokens = [line.strip() for line in lines]
    if not tokens:
        raise UserError(f"{where} is empty: expected a BERT vocab.txt, one token a line")
    first: dict[str, int] = {}
    for number, token in enumerate(tokens, start=1):
        if token in first:
            raise UserError(f"{where} has {token!r} twice, in lines {first[token]} and {number}")
        first[token] = number
    missing = [token for token in SPECIAL_TOKENS if token not in first]
    if missing:
        raise UserError(
            f"{where} lacks {' '.join(missing)}: a BERT vocab.txt has all of {' '.join(SPECIAL_TOKENS)}"
        )
    return tokens
