"""Characters as tokens: those of the training text, line ends and blanks among them."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from electra_jax.errors import UserError
from electra_jax.files.json_files import parse_json
from electra_jax.tokenizers.normalize import CharacterNormalizer
from electra_jax.tokenizers.protocol import SPECIAL_TOKENS, Encoding
from electra_jax.tokenizers.stored_tokenizer import StoredTokenizer

CHARACTERS_FILE = "characters.json"
_WHAT_IT_IS = "a JSON list of the five special tokens and then of characters"
_REPORT_EVERY = 1 << 24  # characters


class CharactersTokenizer(StoredTokenizer):
    """A list of characters behind the `Tokenizer` protocol; a character that is not in it is [UNK].

    White space begins a word and belongs to it. In a vocabulary without any, such as that of proteins, every character
    is a word. An entry of more than one character is the name of a row that no text gives.
    """

    kind = "characters"
    file = CHARACTERS_FILE
    encodes_lines_alone = True

    def __init__(self, content: bytes, *, lowercase: bool, strip_accents: bool, where: str = CHARACTERS_FILE):
        """Read the content of a characters.json.

        Raises:
            UserError: not a list of characters behind the special tokens, or one of them is there twice.
        """
        super().__init__(content, _parse(content, where), lowercase=lowercase, strip_accents=strip_accents)
        self._normalize = CharacterNormalizer(lowercase=lowercase, strip_accents=strip_accents)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = range(len(SPECIAL_TOKENS))
        self._ids = {token: i for i, token in enumerate(self._tokens) if len(token) == 1}
        self._written = ["" if len(token) > 1 else token for token in self._tokens]
        self._set_word_starts(_word_starts(self._tokens, self.unk_id))

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``."""
        find, unknown = self._ids.get, self.unk_id
        return [find(char, unknown) for char in self._normalize(text)]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts."""
        return [self.encode(text) for text in texts]

    def encode_with_offsets(self, text: str) -> Encoding:
        """Return the ids of ``text`` with their places in it."""
        normalized, origin = self._normalize.aligned(text)
        ids = [self._ids.get(char, self.unk_id) for char in normalized]
        return Encoding(ids, [(place, place + 1) for place in origin])

    def decode(self, ids: Sequence[int]) -> str:
        """Return readable text; special tokens are shown by name."""
        between_words = {self.pad_id, self.cls_id, self.sep_id, self.mask_id}
        shown = (f" {self.token(i)} " if i in between_words else self.token(i) for i in map(int, ids))
        return "".join(shown).strip(" ").replace("  ", " ")

    def detokenize(self, ids: Sequence[int]) -> str:
        """Return the text that ids spell; special tokens are left out."""
        return "".join([self._written[i] for i in ids])


def characters_file(tokens: Iterable[str]) -> bytes:
    """Return the content of the characters.json that holds these tokens, the special ones first."""
    return (json.dumps(list(tokens)) + "\n").encode()


def collect_characters(
    documents: Iterable[str],
    vocab_size: int | None,
    *,
    lowercase: bool,
    strip_accents: bool,
    report: Callable[[str], None] = lambda line: None,
) -> bytes:
    """Return the characters.json of a text: its most frequent characters first, equally frequent ones by code point.

    Args:
        documents: all training text.
        vocab_size: entries, special tokens included; None for every character there is.
        lowercase: count characters as they are in lower case.
        strip_accents: and without accents.
        report: is given lines that say how far it is.

    Raises:
        UserError: there is no text, or there are fewer characters than asked for.
    """
    check_size(vocab_size)
    met: Counter[str] = Counter()
    characters, said = 0, 0
    for document in documents:
        met.update(document)
        characters += len(document)
        if characters - said >= _REPORT_EVERY:
            said = characters
            report(f"reading text for the vocabulary, {characters:,} characters")
    normalize = CharacterNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    counts: Counter[str] = Counter()
    for char, count in met.items():
        for part in normalize(char):
            counts[part] += count
    if not counts:
        raise UserError(
            "there is no text to take characters from: the training documents of data.source are empty"
        )
    entries = [*SPECIAL_TOKENS, *sorted(counts, key=lambda char: (-counts[char], char))]
    if vocab_size is not None and vocab_size > len(entries):
        raise UserError(
            f"tokenizer.vocab_size {vocab_size} is more than the {len(entries)} entries that the characters of "
            f"data.source and the special tokens are: set it to {len(entries)} or less, or to null for all of them"
        )
    return characters_file(entries[:vocab_size])


def check_size(vocab_size: int | None) -> None:
    """Refuse a vocabulary that holds no character.

    Raises:
        UserError: it would.
    """
    if vocab_size is not None and vocab_size <= len(SPECIAL_TOKENS):
        raise UserError(
            f"tokenizer.vocab_size {vocab_size} is too small: the special tokens take {len(SPECIAL_TOKENS)} already"
        )


def _word_starts(tokens: Sequence[str], unk_id: int) -> np.ndarray:
    blank = np.array([token.isspace() for token in tokens])
    starts = blank if blank.any() else np.ones(len(tokens), bool)
    starts[: len(SPECIAL_TOKENS)] = True
    starts[unk_id] = not blank.any()
    return starts


def _parse(content: bytes, where: str) -> list[str]:
    tokens = parse_json(content, where, f"expected {_WHAT_IT_IS}")
    if not isinstance(tokens, list) or not all(isinstance(token, str) and token for token in tokens):
        raise UserError(f"{where} is not a list of characters: expected {_WHAT_IT_IS}")
    if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
        raise UserError(f"{where} does not begin with {' '.join(SPECIAL_TOKENS)}: expected {_WHAT_IT_IS}")
    counts = Counter(tokens)
    if len(counts) < len(tokens):
        twice = next(token for token in tokens if counts[token] > 1)
        raise UserError(f"{where} has {twice!r:.40} twice: remove one of them")
    return tokens
