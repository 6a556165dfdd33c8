"""BERT's WordPiece, token for token, on the Rust `tokenizers` library."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
from tokenizers.models import WordPiece

from electra_jax.errors import UserError
from electra_jax.tokenizers.normalize import BertNormalizer
from electra_jax.tokenizers.protocol import SPECIAL_TOKENS, UNK, Encoding
from electra_jax.tokenizers.stored_tokenizer import StoredTokenizer
from electra_jax.tokenizers.written_words import write_words

CONTINUATION = "##"
# Longer words become [UNK]: the limit of the original (Hugging Face's is 100).
MAX_CHARACTERS_PER_WORD = 200
CACHED_WORDS = 1 << 18
# A run of other characters, or one of ASCII punctuation (all that is neither letter, digit nor control).
_WORD = re.compile(r"[^\s!-/:-@\[-`{-~]+|[!-/:-@\[-`{-~]")


class WordPieceTokenizer(StoredTokenizer):
    """A BERT vocab.txt behind the `Tokenizer` protocol.

    Text is cleaned and cut into words in Python as the original does it, since the Rust library differs on
    unassigned code points, newer punctuation and the final sigma; words are remembered, which makes it the
    faster way too. A token begins a word unless it begins with ``##``.
    """

    kind = "wordpiece"
    file = "vocab.txt"
    encodes_lines_alone = True

    def __init__(self, vocabulary: bytes, *, lowercase: bool, strip_accents: bool, where: str = "vocab.txt"):
        """Read the content of a vocab.txt, one token a line.

        Raises:
            UserError: not UTF-8, empty, without the special tokens, or with one of them twice. Of another entry
                that is there twice the last line counts, as in the original.
        """
        tokens = _parse_vocabulary(vocabulary, where)
        super().__init__(vocabulary, tokens, lowercase=lowercase, strip_accents=strip_accents)
        self._normalize = BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
        ids = {token: i for i, token in enumerate(self._tokens)}
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (ids[t] for t in SPECIAL_TOKENS)
        # The bare model knows no special tokens: a typed "[MASK]" is split at its brackets like any other text.
        model = WordPiece(ids, unk_token=UNK, max_input_chars_per_word=MAX_CHARACTERS_PER_WORD)
        self._word_ids = _WordIds(lambda word: [token.id for token in model.tokenize(word)])
        self._set_word_starts(np.array([not token.startswith(CONTINUATION) for token in tokens]))

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``."""
        words = _WORD.findall(self._normalize(text))
        return list(chain.from_iterable(map(self._word_ids.__getitem__, words)))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts."""
        return [self.encode(text) for text in texts]

    def encode_with_offsets(self, text: str) -> Encoding:
        """Return the ids of ``text`` with their places in it; [UNK] has that of the whole word."""
        normalized, origin = self._normalize.aligned(text)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for word in _WORD.finditer(normalized):
            for number, begin, end in self._pieces(word[0]):
                ids.append(number)
                span = origin[word.start() + begin : word.start() + end]
                offsets.append((min(span), max(span) + 1))
        return Encoding(ids, offsets)

    def _pieces(self, word: str) -> Iterator[tuple[int, int, int]]:
        """Yield (id, begin, end) of the tokens of a normalised word."""
        begin = 0
        for number in self._word_ids[word]:
            token = self._tokens[number].removeprefix(CONTINUATION) if begin else self._tokens[number]
            end = len(word) if number == self.unk_id else begin + len(token)
            yield number, begin, end
            begin = end

    def decode(self, ids: Sequence[int]) -> str:
        """Return the tokens joined by spaces, continuations glued on."""
        return " ".join(self.token(i) for i in ids).replace(f" {CONTINUATION}", "")

    def detokenize(self, ids: Sequence[int]) -> str:
        """Return the tokens as a person would write them, see `written_words`; without [UNK] and other names."""
        words: list[str] = []
        for token in map(self._tokens.__getitem__, ids):
            if len(token) > 1 and token[0] == "[" and token[-1] == "]":
                continue  # text is cut at brackets, so this is the name of something else
            if words and len(token) > len(CONTINUATION) and token.startswith(CONTINUATION):
                words[-1] += token[len(CONTINUATION) :]
            else:
                words.append(token.removeprefix(CONTINUATION) or token)
        return write_words(words)


class _WordIds(dict[str, list[int]]):
    """Ids of the words met so far; once full, new words are tokenised each time."""

    def __init__(self, tokenize: Callable[[str], list[int]]):
        super().__init__()
        self._tokenize = tokenize

    def __missing__(self, word: str) -> list[int]:
        ids = self._tokenize(word)
        if len(self) < CACHED_WORDS and len(word) <= MAX_CHARACTERS_PER_WORD:
            self[word] = ids
        return ids


def _parse_vocabulary(content: bytes, where: str) -> list[str]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8 at byte {error.start}: expected a BERT vocab.txt") from None
    # Only real line ends, and a line that is nothing but another separator is a token: some vocabularies hold those.
    tokens = [line.strip() or line.strip(" \t\r") for line in text.removeprefix("\ufeff").split("\n")]
    while tokens and not tokens[-1]:
        tokens.pop()
    if not tokens:
        raise UserError(f"{where} is empty: expected a BERT vocab.txt, one token a line")
    counts = Counter(tokens)
    if twice := [token for token in SPECIAL_TOKENS if counts[token] > 1]:
        lines = [str(number) for number, token in enumerate(tokens, start=1) if token == twice[0]]
        raise UserError(
            f"{where} has {twice[0]} twice, in lines {' and '.join(lines[:2])}: remove one of them"
        )
    missing = [token for token in SPECIAL_TOKENS if token not in counts]
    if missing:
        raise UserError(
            f"{where} lacks {' '.join(missing)}: a BERT vocab.txt has all of {' '.join(SPECIAL_TOKENS)}"
        )
    return tokens
