"""What is odd about a vocabulary and yet can be used: sentences for whoever chose it."""

from collections import defaultdict
from collections.abc import Sequence

from electra_jax.errors import listed
from electra_jax.tokenizers.normalize import BertNormalizer, CharacterNormalizer, PlainNormalizer
from electra_jax.tokenizers.protocol import Tokenizer
from electra_jax.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from electra_jax.tokenizers.wordpiece_tokenizer import CONTINUATION

# BERT's uncased vocabulary has a handful of such entries itself.
_MIN_UNREACHABLE_SHARE = 0.01
_MAX_NAMED = 5
_LOST_OPTIONS = {"lowercase": "capitals", "strip_accents": "accents"}
NORMALIZERS: dict[str, type[BertNormalizer] | type[PlainNormalizer]] = {
    "wordpiece": BertNormalizer,
    "sentencepiece": PlainNormalizer,
    "characters": CharacterNormalizer,
}


def vocabulary_notes(tokenizer: Tokenizer) -> list[str]:
    """Return sentences on a vocabulary's oddities.

    They are lines that appear twice, and entries that can never match because of how text is cleaned.
    """
    tokens = [tokenizer.token(i) for i in range(tokenizer.vocab_size)]
    notes = [] if tokenizer.kind != "wordpiece" else list(_repeated(tokens))
    for option, what, origin in (
        ("lowercase", "capitals", "cased text"),
        ("strip_accents", "accents", "text with its accents"),
    ):
        if tokenizer.options[option] and (share := _unreachable_share(tokenizer.kind, tokens, option)):
            notes.append(
                f"{share:.1%} of the vocabulary's entries have {what} and can never match with "
                f"tokenizer.{option}=true: set it to false if the vocabulary was made from {origin}"
            )
    return notes


def what_is_lost(tokenizer: Tokenizer) -> str | None:
    """Return a sentence on what of a text does not survive `encode` and `detokenize`; None if everything does.

    Texts may be lossless all the same: those without what is named.
    """
    lost = [name for option, name in _LOST_OPTIONS.items() if tokenizer.options[option]]
    spells_everything = False
    if isinstance(tokenizer, SentencePieceTokenizer):
        spells_everything = tokenizer.spells_everything
        lost += [] if tokenizer.keeps_newlines else ["line ends and runs of blanks"]
        lost += ["compatible forms of characters (ﬁ becomes fi)"] if tokenizer.folds_characters else []
    elif tokenizer.kind == "wordpiece":
        lost += ["line ends", "where blanks stood beside punctuation"]
    lost += [] if spells_everything else ["characters that its vocabulary has not"]
    return f"the tokenizer does not keep {listed(lost)}" if lost else None


def _repeated(tokens: Sequence[str]) -> list[str]:
    lines = defaultdict(list)
    for number, token in enumerate(tokens, start=1):
        lines[token].append(number)
    repeated = [(token, numbers) for token, numbers in lines.items() if len(numbers) > 1]
    if not repeated:
        return []
    named = [f"{token!r:.40} in lines {' and '.join(map(str, numbers[:3]))}" for token, numbers in repeated]
    return [
        f"the vocabulary has {'an entry' if len(repeated) == 1 else f'{len(repeated):,} entries'} more than once "
        f"({listed(named, _MAX_NAMED)}): the last line of each counts, as in BERT's own "
        "reader, and no text gives the ids of the others"
    ]


def _unreachable_share(kind: str, tokens: Sequence[str], option: str) -> float:
    """Return the share of the entries that cleaning with this option alone alters; 0 where it is next to nothing."""
    plain = NORMALIZERS[kind](lowercase=False, strip_accents=False)
    options = {"lowercase": False, "strip_accents": False, option: True}
    cleaned = NORMALIZERS[kind](**options)
    words = [token.removeprefix(CONTINUATION) for token in tokens if not _is_name(token)]
    share = sum(cleaned(word) != plain(word) for word in words) / max(len(words), 1)
    return share if share >= _MIN_UNREACHABLE_SHARE else 0.0


def _is_name(token: str) -> bool:
    """Return whether a token is a name: [UNK], [unused1], or a byte piece of SentencePiece such as <0x0A>."""
    return token[:1] in ("[", "<") and token[-1:] in ("]", ">")
