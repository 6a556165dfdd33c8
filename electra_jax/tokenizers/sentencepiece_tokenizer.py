"""SentencePiece with ELECTRA's special tokens, its own case and accent rules, and exact offsets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece as spm

from electra_jax.errors import UserError
from electra_jax.tokenizers.normalize import PlainNormalizer
from electra_jax.tokenizers.protocol import SPECIAL_TOKENS, Encoding
from electra_jax.tokenizers.storage import fingerprint_of, write_tokenizer

SPACE = "\u2581"  # how SentencePiece writes the space before a word


class SentencePieceTokenizer:
    """A trained SentencePiece model behind the `Tokenizer` protocol.

    A token begins a word if it begins with a space; punctuation glued to a word belongs to that word.
    """

    kind = "sentencepiece"

    def __init__(self, model: bytes, *, lowercase: bool, strip_accents: bool, where: str = "the model"):
        """Reads a serialized model.

        Raises:
            UserError: not a SentencePiece model, or one without the special tokens.
        """
        try:
            self._processor = spm.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise UserError(f"{where} is not a SentencePiece model: {error}") from None
        self._model = model
        self._options = {"lowercase": lowercase, "strip_accents": strip_accents}
        self._normalize = PlainNormalizer(lowercase=lowercase, strip_accents=strip_accents)
        self.vocab_size: int = self._processor.vocab_size()
        pieces = {self._processor.id_to_piece(i): i for i in range(self.vocab_size)}
        missing = [token for token in SPECIAL_TOKENS if token not in pieces]
        if missing:
            raise UserError(
                f"{where} lacks the special tokens {' '.join(missing)}: train it with them as control symbols "
                "(pad_piece and unk_piece for [PAD] and [UNK]), or leave tokenizer.vocab_file out to train one"
            )
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (pieces[t] for t in SPECIAL_TOKENS)
        for token in SPECIAL_TOKENS:
            if token != "[UNK]" and not self._processor.is_control(pieces[token]):
                raise UserError(f"{where} has {token} as an ordinary piece: it must be a control symbol")
        self.fingerprint = fingerprint_of(self.kind, self._options, model)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._model, self._options)

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``."""
        return self._processor.encode(self._normalize(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts."""
        return self._processor.encode([self._normalize(text) for text in texts], num_threads=1)

    def encode_with_offsets(self, text: str) -> Encoding:
        """Ids with their places in ``text``."""
        normalized, origin = self._normalize.aligned(text)
        pieces = self._processor.encode(normalized, return_type="proto").pieces
        ids = [piece.id for piece in pieces]
        # SentencePiece counts UTF-8 bytes.
        character = [i for i, char in enumerate(normalized) for _ in char.encode("utf-8", "surrogatepass")]
        character.append(len(normalized))
        offsets = []
        for piece in pieces:
            begin, end = character[piece.begin], character[piece.end]
            while begin < end and normalized[begin].isspace():
                begin += 1  # the space before a word is not part of it
            if begin < end:
                offsets.append((origin[begin], origin[end - 1] + 1))
            else:
                place = origin[begin] if begin < len(origin) else len(text)
                offsets.append((place, place))
        starts = self.word_start_table()
        return Encoding(ids, offsets, [bool(starts[i]) for i in ids])

    def decode(self, ids: Sequence[int]) -> str:
        """Readable text; special tokens are shown by name."""
        special = {self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id}
        parts: list[str] = []
        run: list[int] = []
        for number in [*ids, self.pad_id]:
            if number not in special:
                run.append(int(number))
                continue
            if run:
                parts.append(self._processor.decode(run))
                run = []
            parts.append(self.token(number))
        return " ".join(parts[:-1])

    def token(self, id: int) -> str:
        """The piece of an id."""
        return self._processor.id_to_piece(int(id))

    def word_start_table(self) -> np.ndarray:
        """bool ``[vocab_size]``."""
        pieces = self._processor.id_to_piece(list(range(self.vocab_size)))
        return np.array([piece.startswith(SPACE) or piece in SPECIAL_TOKENS for piece in pieces])

    def save(self, directory: Path) -> None:
        """Writes sentencepiece.model and its description."""
        write_tokenizer(
            directory,
            kind=self.kind,
            options=self._options,
            file="sentencepiece.model",
            content=self._model,
            fingerprint=self.fingerprint,
        )


def _rebuild(model: bytes, options: dict[str, Any]) -> SentencePieceTokenizer:
    return SentencePieceTokenizer(model, **options)
