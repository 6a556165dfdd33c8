"""From the configuration, or from a directory, to a tokenizer."""

from collections.abc import Callable, Iterator
from pathlib import Path

from electra_jax.config.text import TokenizerConfig
from electra_jax.errors import UserError
from electra_jax.tokenizers.characters_tokenizer import CharactersTokenizer, check_size, collect_characters
from electra_jax.tokenizers.cleaning import with_cleaning
from electra_jax.tokenizers.protocol import Tokenizer
from electra_jax.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from electra_jax.tokenizers.storage import read_tokenizer
from electra_jax.tokenizers.training import check_trainable, train_sentencepiece
from electra_jax.tokenizers.vocabulary_file import read_vocabulary, vocabulary_path
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

KINDS: dict[str, type[SentencePieceTokenizer] | type[WordPieceTokenizer] | type[CharactersTokenizer]] = {
    "sentencepiece": SentencePieceTokenizer,
    "wordpiece": WordPieceTokenizer,
    "characters": CharactersTokenizer,
}


def build_tokenizer(
    config: TokenizerConfig,
    documents: Callable[[], Iterator[str]],
    report: Callable[[str], None] = lambda line: None,
) -> Tokenizer:
    """Return the tokenizer of ``tokenizer.vocab_file``, or one trained on ``documents()``.

    Args:
        config: the section ``tokenizer``.
        documents: gives the training text; not called where there is a file.
        report: is given lines on the progress of training.

    Raises:
        UserError: the file is missing or wrong, has another size than asked for, or nothing can be trained.
    """
    config = with_cleaning(config)
    if config.vocab_file is not None:
        file = vocabulary_path(config.vocab_file)
        content = read_vocabulary(file, f"tokenizer.vocab_file {config.vocab_file}")
    elif config.kind == "sentencepiece":
        content = train_sentencepiece(config, documents(), report)
    elif config.kind == "characters":
        content = collect_characters(
            documents(),
            config.vocab_size,
            lowercase=config.lowercase,
            strip_accents=bool(config.strip_accents),
            report=report,
        )
    else:
        raise UserError("tokenizer.kind=wordpiece needs tokenizer.vocab_file, the path of a BERT vocab.txt")
    tokenizer = KINDS[config.kind](
        content,
        lowercase=config.lowercase,
        strip_accents=bool(config.strip_accents),
        where=f"tokenizer.vocab_file {config.vocab_file}" if config.vocab_file else "the trained model",
    )
    if (
        config.keep_newlines
        and isinstance(tokenizer, SentencePieceTokenizer)
        and not tokenizer.keeps_newlines
    ):
        raise UserError(
            f"tokenizer.vocab_file {config.vocab_file} was trained without tokenizer.keep_newlines, and loses line "
            "ends or blanks: leave tokenizer.keep_newlines out, or set tokenizer.vocab_file to null to train another"
        )
    if config.vocab_size is not None and config.vocab_size != tokenizer.vocab_size:
        raise UserError(
            f"tokenizer.vocab_file {config.vocab_file} has {tokenizer.vocab_size} entries, but tokenizer.vocab_size is "
            f"{config.vocab_size}: set it to {tokenizer.vocab_size} or null"
        )
    return tokenizer


def check_tokenizer(config: TokenizerConfig) -> None:
    """Raise what `build_tokenizer` would, as far as it is known without text.

    Raises:
        UserError: a vocabulary that is missing or of another kind.
    """
    if config.kind == "sentencepiece" and config.vocab_file is None:
        check_trainable(config)
    elif config.kind == "characters" and config.vocab_file is None:
        check_size(config.vocab_size)
    else:
        build_tokenizer(config, lambda: iter(()))


def load_tokenizer(directory: Path) -> Tokenizer:
    """Return the tokenizer that `Tokenizer.save` wrote to ``directory``.

    Raises:
        UserError: there is none, or its files were altered.
    """
    kind, options, content = read_tokenizer(directory)
    if kind not in KINDS:
        raise UserError(f"{directory} holds a tokenizer of unknown kind {kind!r}; known: {', '.join(KINDS)}")
    return KINDS[kind](content, **options, where=str(directory))
