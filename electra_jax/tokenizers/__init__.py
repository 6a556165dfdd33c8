"""Tokenizers behind one protocol: SentencePiece, BERT's WordPiece, and characters."""

from electra_jax.tokenizers.build import build_tokenizer, check_tokenizer, load_tokenizer
from electra_jax.tokenizers.cleaning import with_cleaning
from electra_jax.tokenizers.notes import vocabulary_notes, what_is_lost
from electra_jax.tokenizers.protocol import Encoding, Tokenizer

__all__ = [
    "Encoding",
    "Tokenizer",
    "build_tokenizer",
    "check_tokenizer",
    "load_tokenizer",
    "vocabulary_notes",
    "what_is_lost",
    "with_cleaning",
]
