"""SentencePiece with ELECTRA's special tokens, its own case and accent rules, and exact offsets."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import sentencepiece as spm

from electra_jax.errors import UserError
from electra_jax.tokenizers.normalize import CharacterMap, PlainNormalizer
from electra_jax.tokenizers.protocol import CLS, MASK, PAD, SEP, Encoding
from electra_jax.tokenizers.stored_tokenizer import StoredTokenizer

_COMPATIBLE, _NO_CHARACTER = "\ufb01", "\U0010fffd"  # a ligature; the last private character
# Each sort of blank, doubled and at both ends.
_ALL_BLANKS = "  a\n\n a\t \n"
SPACE = "\u2581"  # how SentencePiece writes the space before a word


class SentencePieceTokenizer(StoredTokenizer):
    """A trained SentencePiece model behind the `Tokenizer` protocol.

    A token begins a word if it begins with a space; punctuation glued to a word belongs to that word, and in
    languages written without spaces everything up to the next space is one word.

    Attributes:
        keeps_newlines: the model was trained with tokenizer.keep_newlines, or as if: it keeps line ends and every blank
            and adds none, so that `detokenize` gives back what `encode` was given. Blanks are part of tokens then, and
            a line end begins a word, too.
        folds_characters: the model writes some characters as others, as NFKC does.
        spells_everything: characters that are not in the vocabulary are spelled as bytes.
    """

    kind = "sentencepiece"
    file = "sentencepiece.model"

    def __init__(self, model: bytes, *, lowercase: bool, strip_accents: bool, where: str = "the model"):
        """Read a serialized model.

        Raises:
            UserError: not a SentencePiece model, or one without the special tokens.
        """
        self._processor, tokens = _load(model, where)
        super().__init__(model, tokens, lowercase=lowercase, strip_accents=strip_accents)
        self._normalize = PlainNormalizer(lowercase=lowercase, strip_accents=strip_accents)
        self._visible = CharacterMap(lambda c: self._processor.normalize(c).strip(f" {SPACE}"))
        self.unk_id: int = self._processor.unk_id()
        self.pad_id, self.cls_id, self.sep_id, self.mask_id = _special_ids(self._processor, where)
        self._special = {self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id}
        # What the model does to blanks: one in front (or behind) that the text does not have, others taken away.
        spelled = self._processor.normalize("a  a")
        self._puts_blank_before, self._puts_blank_behind = spelled[:1] == SPACE, spelled[-1:] == SPACE
        self._keeps_blanks = f"a{SPACE * 2}a" in spelled
        self.keeps_newlines: bool = self._processor.normalize(_ALL_BLANKS) == _ALL_BLANKS.replace(
            " ", SPACE
        ) and self.unk_id not in self._processor.encode("\n\t")
        self.folds_characters: bool = self._processor.normalize(_COMPATIBLE).strip(SPACE) != _COMPATIBLE
        self.spells_everything: bool = self.unk_id not in self._processor.encode(_NO_CHARACTER)
        # Where every blank begins a piece and lines get theirs, what stands before a line does not matter to it.
        only_in_front = not any(SPACE in token[1:].lstrip(SPACE) for token in self._tokens)
        self.encodes_lines_alone: bool = only_in_front and (
            self.keeps_newlines
            or (self._puts_blank_before and not self._puts_blank_behind and not self._keeps_blanks)
        )
        between_words = self._special - {self.unk_id}
        self._set_word_starts(
            np.array([i in between_words or self._begins_word(token) for i, token in enumerate(self._tokens)])
        )
        self._written = [self._bytes_of(i) for i in range(self.vocab_size)]

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``."""
        return self._processor.encode(self._normalize(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts."""
        return self._processor.encode([self._normalize(text) for text in texts], num_threads=1)

    def encode_with_offsets(self, text: str) -> Encoding:
        """Return the ids of ``text`` with their places in it.

        Tokens that share a character (its bytes, or the parts of ½) have its place each, and so have those that
        share several that were composed to one (ｶﾞ); a bare space has an empty one, before the character that follows.
        """
        normalized, origin = self._normalize.aligned(text)
        pieces = self._processor.encode(normalized, return_type="proto").pieces
        # What the model's own rules make of it, and from which character on they read to write each of theirs.
        normalized_text, read_from = self._processor.normalize(normalized, with_offsets=True)
        read_to = _ends(read_from)
        visible = [bool(self._visible[ord(char)]) for char in normalized]
        offsets = []
        for first, last in self._spans(pieces, normalized_text):
            if self.keeps_newlines:
                offsets.append((origin[read_from[first]], origin[read_to[last - 1] - 1] + 1))
                continue
            while first < last and normalized_text[first] == SPACE:
                first += 1
            begin = read_from[first]
            end = read_to[last - 1] if first < last else len(normalized)
            # Spaces, and characters that SentencePiece drops, are no part of a token.
            while begin < end and not visible[begin]:
                begin += 1
            while begin < end and not visible[end - 1]:
                end -= 1
            if begin < end and first < last:
                offsets.append((origin[begin], origin[end - 1] + 1))
            else:
                place = origin[begin] if begin < len(origin) else len(text)
                offsets.append((place, place))
        ids = [piece.id for piece in pieces]
        return Encoding(ids, offsets)

    def _spans(self, pieces: Any, normalized_text: str) -> Iterator[tuple[int, int]]:
        """Yield (first, last + 1) of the characters of normalised text that each piece spells; bytes share theirs."""
        at = used = 0
        for piece in pieces:
            if self._processor.is_byte(piece.id):
                yield at, at + 1
                used += 1
                if used == len(normalized_text[at].encode()):
                    at, used = at + 1, 0
            else:
                yield at, at + len(piece.piece)
                at += len(piece.piece)

    def decode(self, ids: Sequence[int]) -> str:
        """Return readable text; special tokens are shown by name."""
        text = ""
        for special, group in groupby(map(int, ids), key=self._special.__contains__):
            run = list(group)
            if special:
                # [UNK] stands inside words, the others between them.
                text += "".join(self.token(i) if i == self.unk_id else f" {self.token(i)} " for i in run)
            else:
                space = " " if self.token(run[0]).startswith(SPACE) else ""
                text += space + self._processor.decode(run)
        return text.strip(" ").replace("  ", " ")

    def detokenize(self, ids: Sequence[int]) -> str:
        """Return the text that ids spell, without special tokens and without the blank that the model puts in front.

        Bytes that are no UTF-8 become U+FFFD, one for a character that is not complete yet.
        """
        text = b"".join([self._written[i] for i in ids]).decode("utf-8", "replace")
        if self._puts_blank_before:
            text = text.removeprefix(" ") if self._keeps_blanks else text.lstrip(" ")
        return text.removesuffix(" ") if self._puts_blank_behind else text

    def _begins_word(self, token: str) -> bool:
        return token.startswith(SPACE) or (self.keeps_newlines and token.isspace())

    def _bytes_of(self, id: int) -> bytes:
        """Return what an id adds to a text in UTF-8."""
        processor = self._processor
        if id in self._special or processor.is_control(id) or processor.is_unused(id):
            return b""
        if processor.is_byte(id):
            return bytes([int(self._tokens[id][3:5], 16)])
        return self._tokens[id].replace(SPACE, " ").encode()


def _ends(starts: Sequence[int]) -> list[int]:
    """Return, for each place but the last, the next larger one: characters that were read together end together."""
    ends = list(starts[1:])
    for i in reversed(range(len(ends) - 1)):
        if ends[i] == starts[i]:
            ends[i] = ends[i + 1]
    return ends


def _load(model: bytes, where: str) -> tuple[spm.SentencePieceProcessor, list[str]]:
    """Return the processor of a model, and all its pieces."""
    if not model:
        raise UserError(f"{where} is empty: expected a SentencePiece .model")
    try:
        processor = spm.SentencePieceProcessor(model_proto=model)
        size = processor.vocab_size()
        if not (0 <= processor.unk_id() < size and processor.pad_id() < size):
            raise IndexError
        return processor, processor.id_to_piece(list(range(size)))
    except (RuntimeError, UnicodeDecodeError, IndexError):
        raise UserError(
            f"{where} is not a SentencePiece model, or a damaged one: expected a .model file"
        ) from None


def _special_ids(processor: spm.SentencePieceProcessor, where: str) -> tuple[int, ...]:
    """Return the ids of [PAD], [CLS], [SEP] and [MASK], found by name; the padding may have another one."""
    by_name = {token: processor.piece_to_id(token) for token in (PAD, CLS, SEP, MASK)}
    ids = {token: i for token, i in by_name.items() if processor.id_to_piece(i) == token}
    if PAD not in ids and processor.pad_id() >= 0:
        ids[PAD] = processor.pad_id()
    missing = [token for token in by_name if token not in ids]
    if missing:
        raise UserError(
            f"{where} lacks the special tokens {' '.join(missing)}: train it with them as control symbols "
            "([PAD] as its pad_piece), or leave tokenizer.vocab_file out to train one"
        )
    for token, i in ids.items():
        if not processor.is_control(i):
            raise UserError(
                f"{where} has {token} as an ordinary piece, which text could contain: "
                "train it with control symbols, or leave tokenizer.vocab_file out to train one"
            )
    return tuple(ids[token] for token in by_name)
