"""From a configuration to a tokenizer and rows of tokens: found in the cache, or made and put there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from electra_jax.config.text import DataConfig, TokenizerConfig
from electra_jax.data.cache import cache_errors, key_of
from electra_jax.data.prepared_rows import RowsJob, prepare_rows, print_progress
from electra_jax.data.sources import TextSource, check_source, open_source
from electra_jax.data.token_rows import TokenRows
from electra_jax.errors import UserError
from electra_jax.files.local_paths import check_folder, local_path
from electra_jax.tokenizers import (
    Tokenizer,
    build_tokenizer,
    check_tokenizer,
    load_tokenizer,
    vocabulary_notes,
    with_cleaning,
)

_MAKING = {
    "sentencepiece": "training a sentencepiece vocabulary on",
    "characters": "collecting the characters of",
}


@dataclass(frozen=True)
class Prepared:
    """What training reads.

    Attributes:
        tokenizer_dir: where the tokenizer is saved.
        tokenizer: itself.
        train: training rows.
        eval: evaluation rows.
    """

    tokenizer_dir: Path
    tokenizer: Tokenizer
    train: TokenRows
    eval: TokenRows


def check_prepare(data: DataConfig, tokenizer: TokenizerConfig) -> None:
    """Raise what `prepare` would, as far as it is known at once: nothing is made, hashed or written.

    Raises:
        UserError: a source is missing or no text, or the tokenizer cannot be had.
    """
    check_folder(_cache(data), "data.cache_dir", to_write=False)  # what is complete there need only be read
    check_tokenizer(tokenizer)
    if data.eval_source is not None:
        check_source(data.source, data)
    check_prepare_eval(data)  # which reads data.source where there is no other


def check_prepare_eval(data: DataConfig) -> None:
    """Raise what `prepare_eval_rows` would, as far as it is known at once.

    Raises:
        UserError: see `check_prepare`.
    """
    if data.eval_source is not None:
        check_source(data.eval_source, data)
    elif data.eval_fraction == 0:
        raise UserError(
            "data.eval_fraction is 0 and data.eval_source is not set, which leaves nothing to evaluate on: "
            "set one of them"
        )
    else:
        check_source(data.source, data)


def prepare(
    data: DataConfig,
    tokenizer: TokenizerConfig,
    *,
    progress: bool = True,
    validate_tokenizer: Callable[[Tokenizer], None] | None = None,
    saved_tokenizer: Path | None = None,
) -> Prepared:
    """Find or make the tokenizer, the training rows and the evaluation rows of a configuration.

    Args:
        data: the section ``data``: sources, rows and where the cache is.
        tokenizer: the section ``tokenizer``.
        progress: whether to say on stderr what is being done.
        validate_tokenizer: is given the tokenizer before the rows are made, which takes longest, and may refuse it.
        saved_tokenizer: directory of the tokenizer that a run with these settings began with; used where another
            version of this program could train another one.

    Raises:
        UserError: the source, the tokenizer or the cache cannot be used, or there is too little text.
    """
    check_prepare(data, tokenizer)
    source = open_source(data.source, data)
    eval_source = _open_eval_source(data)
    directory, made = _prepare_tokenizer(data, tokenizer, source, progress, saved_tokenizer)
    if validate_tokenizer is not None:
        validate_tokenizer(made)
    job = _rows_job(data, made, progress)
    if eval_source is None:
        rows = prepare_rows(job, source, ("train", "eval"))
        train, evaluation = rows["train"], rows["eval"]
    else:
        train = prepare_rows(job, source, ("all",))["all"]
        evaluation = prepare_rows(job, eval_source, ("all",))["all"]
    return Prepared(directory, made, train, evaluation)


def prepare_eval_rows(data: DataConfig, tokenizer: Tokenizer, *, progress: bool = True) -> TokenRows:
    """Find or make the evaluation rows alone, with the tokenizer of a trained model.

    Args:
        data: the section ``data``.
        tokenizer: that of the model.
        progress: whether to say on stderr what is being done.

    Raises:
        UserError: the source or the cache cannot be used, or there is too little text.
    """
    check_prepare_eval(data)
    eval_source = _open_eval_source(data)
    job = _rows_job(data, tokenizer, progress)
    if eval_source is not None:
        return prepare_rows(job, eval_source, ("all",))["all"]
    return prepare_rows(job, open_source(data.source, data), ("eval",))["eval"]


def _open_eval_source(data: DataConfig) -> TextSource | None:
    return None if data.eval_source is None else open_source(data.eval_source, data)


def _held_out_fraction(data: DataConfig) -> float:
    """Return the share of data.source that is not trained on; 0 when evaluation has its own text."""
    return data.eval_fraction if data.eval_source is None else 0.0


def _rows_job(data: DataConfig, tokenizer: Tokenizer, progress: bool) -> RowsJob:
    return RowsJob(
        data=data,
        fraction=_held_out_fraction(data),
        tokenizer=tokenizer,
        directory=_cache(data) / "tokens",
        progress=progress,
    )


def _prepare_tokenizer(
    data: DataConfig,
    config: TokenizerConfig,
    source: TextSource,
    progress: bool,
    saved_tokenizer: Path | None,
) -> tuple[Path, Tokenizer]:
    """Return a tokenizer and the directory it is saved in; training it reads training documents only."""
    fraction = _held_out_fraction(data)
    settings = with_cleaning(config)

    def documents() -> Iterator[str]:
        return (text for is_held_out, text in source.divided(fraction) if not is_held_out)

    if config.vocab_file is not None:
        tokenizer = build_tokenizer(settings, documents)
        directory = _cache(data) / "tokenizers" / key_of({"fingerprint": tokenizer.fingerprint})
        _save(tokenizer, directory)
        for note in vocabulary_notes(tokenizer):
            print_progress(progress, f"note: {note}")
        return directory, tokenizer
    if saved_tokenizer is not None:
        return saved_tokenizer, load_tokenizer(saved_tokenizer)
    key = key_of(
        {
            # Not named where it is not set, so that vocabularies from before there was such a key are found.
            "tokenizer": settings.model_dump(exclude=set() if settings.keep_newlines else {"keep_newlines"}),
            "source": source.fingerprint,
            "eval_fraction": fraction,
        }
    )
    directory = _cache(data) / "tokenizers" / key
    if not directory.exists():
        print_progress(progress, f"{_MAKING[config.kind]} {source.name}")
        tokenizer = build_tokenizer(settings, documents, lambda line: print_progress(progress, line))
        _save(tokenizer, directory)
        print_progress(progress, f"{tokenizer.vocab_size:,} tokens -> {directory}")
    # Another process may have finished first with a vocabulary of its own, so the saved one counts.
    return directory, load_tokenizer(directory)


def _save(tokenizer: Tokenizer, directory: Path) -> None:
    with cache_errors(directory.parent):
        tokenizer.save(directory)  # whole or not at all; an existing one stays


def _cache(data: DataConfig) -> Path:
    return local_path(data.cache_dir, "data.cache_dir")
