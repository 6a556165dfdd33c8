"""Rows of tokens for the documents of a source: found in the cache, or made in one pass over the text."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from electra_jax.config.text import DataConfig
from electra_jax.data.cache import key_of, new_directory
from electra_jax.data.cleaned_characters import CharacterCounts, cleaning_lines
from electra_jax.data.packing import make_packer
from electra_jax.data.row_writer import FORMAT_VERSION, RowWriter
from electra_jax.data.sources import TextSource
from electra_jax.data.sources.held_out import MIN_HELD_OUT_CHARACTERS
from electra_jax.data.text_counts import sum_counts
from electra_jax.data.token_rows import TokenRows
from electra_jax.data.tokenizing import tokenize_documents
from electra_jax.errors import UserError
from electra_jax.tokenizers import Tokenizer, what_is_lost

SECONDS_BETWEEN_LINES = 30.0
# What is held out, by data.document_separator.
_HELD_OUT = {
    "blank_line": "a document (in a text file a document ends at an empty line)",
    "line": "a document (with data.document_separator=line every line is one)",
    "file": f"{MIN_HELD_OUT_CHARACTERS} characters of a file, or a whole one",
}

# Which documents of a source: all of them, those that are not held out, those that are.
Split = Literal["all", "train", "eval"]


@dataclass(frozen=True)
class RowsJob:
    """What the rows of one preparation have in common.

    Attributes:
        data: sequence length, packing and processes.
        fraction: of the documents that are held out.
        tokenizer: gives the ids.
        directory: where directories of rows are kept.
        progress: whether to say on stderr what is being done.
    """

    data: DataConfig
    fraction: float
    tokenizer: Tokenizer
    directory: Path
    progress: bool

    def settings(self, source: TextSource, split: Split) -> dict[str, Any]:
        """Return everything that decides the rows; its hash names their directory."""
        return {
            "format_version": FORMAT_VERSION,
            "source": source.fingerprint,
            "split": split,
            "eval_fraction": None if split == "all" else self.fraction,
            "tokenizer": self.tokenizer.fingerprint,
            "packing": self.data.packing,
            "sequence_length": self.data.sequence_length,
        }


def prepare_rows(job: RowsJob, source: TextSource, splits: tuple[Split, ...]) -> dict[Split, TokenRows]:
    """Find or make the rows of some splits of a source, all missing ones in one pass.

    Returns:
        The rows of each split.

    Raises:
        UserError: a split has no text, the cache cannot be written, or what is in it is damaged.
    """
    settings = {split: job.settings(source, split) for split in splits}
    directories = {split: job.directory / key_of(settings[split]) for split in splits}
    missing = {split: path for split, path in directories.items() if not path.exists()}
    for split in directories:
        if split not in missing:
            print_progress(job.progress, f"{_text_of(source, split)} is in the cache: {directories[split]}")
    if missing:
        with contextlib.ExitStack() as stack:
            writers = {
                split: stack.enter_context(_row_writer(job, stack.enter_context(new_directory(directory))))
                for split, directory in missing.items()
            }
            print_progress(job.progress, f"tokenising {source.name}")
            read = _write_rows(job, source, writers)
            for split, writer in writers.items():
                if not read[split].num_documents:
                    raise _no_text(source, split, job)
                writer.finish(
                    {
                        "source_name": source.name,
                        "num_documents": read[split].num_documents,
                        "settings": settings[split],
                        "cleaning": cleaning_lines(read[split].characters.counts, job.tokenizer),
                        **(asdict(sum_counts(read[split].text_counts)) if _counts_texts(job) else {}),
                    }
                )
        for split, directory in missing.items():
            print_progress(
                job.progress, _summary(source, split, read[split].num_documents, TokenRows.open(directory))
            )
    rows = {split: TokenRows.open(directory) for split, directory in directories.items()}
    for line in rows[splits[0]].manifest.cleaning:
        print_progress(job.progress, line)
    texts = rows[splits[-1]].text_counts
    if texts is not None and texts.changed_documents:
        why = what_is_lost(job.tokenizer) or "NUL and U+2581 do not come back"
        print_progress(
            job.progress,
            f"note: bits per byte of {_text_of(source, splits[-1])} would be wrong, since the tokens of "
            f"{texts.changed_documents:,} of its documents do not give the text back: {why}",
        )
    return rows


@dataclass
class _Read:
    """What was read of a split.

    Attributes:
        num_documents: those that have tokens.
        characters: of them.
        text_counts: int64 ``[1, 3]``, the sums so far of `text_counts.count_text`.
    """

    num_documents: int = 0
    characters: CharacterCounts = field(default_factory=CharacterCounts)
    text_counts: np.ndarray = field(default_factory=lambda: np.zeros((1, 3), np.int64))


def _counts_texts(job: RowsJob) -> bool:
    return job.data.packing == "continuous"


def _write_rows(job: RowsJob, source: TextSource, writers: dict[Split, RowWriter]) -> dict[Split, _Read]:
    """Tokenise, pack and write the documents of the splits that ``writers`` has; return what each split has."""
    data, tokenizer = job.data, job.tokenizer
    packers = {
        split: make_packer(
            data.packing,
            data.sequence_length,
            cls_id=tokenizer.cls_id,
            sep_id=tokenizer.sep_id,
            pad_id=tokenizer.pad_id,
        )
        for split in writers
    }
    read = {split: _Read() for split in writers}
    num_tokens = 0
    # A live line in a terminal; in a log file now and then a line.
    bar = tqdm(
        total=source.num_documents,
        unit=" documents",
        disable=not job.progress,
        file=sys.stderr,
        mininterval=0.1 if sys.stderr.isatty() else SECONDS_BETWEEN_LINES,
    )

    def wanted() -> Iterator[tuple[Split, str]]:
        for is_held_out, text in source.divided(0 if "all" in writers else job.fraction):
            bar.update()
            split: Split = "all" if "all" in writers else "eval" if is_held_out else "train"
            if split in writers:
                read[split].characters.add(text)
                yield split, text

    chunks = tokenize_documents(
        wanted(),
        tokenizer,
        by_sentence=data.packing == "segment_pairs",
        processes=data.prepare_processes or _num_cores(),
        count_texts=_counts_texts(job),
    )
    with bar, contextlib.closing(chunks):
        for splits, chunk in chunks:
            for split, counts in zip(splits, chunk.text_counts):
                read[split].text_counts += counts
            for split, (ids, sentence_ends) in zip(splits, chunk.documents()):
                read[split].num_documents += len(ids) > 0
                for rows in packers[split].add(ids, sentence_ends):
                    writers[split].write(rows)
            num_tokens += len(chunk.ids)
            elapsed = max(bar.format_dict["elapsed"], 1e-9)
            bar.set_postfix_str(f"{num_tokens / elapsed:,.0f} tokens/s", refresh=False)
    for split, packer in packers.items():
        for rows in packer.finish():
            writers[split].write(rows)
    return read


def _row_writer(job: RowsJob, directory: Path) -> RowWriter:
    tokenizer = job.tokenizer
    special = (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    return RowWriter(
        directory,
        job.data.sequence_length,
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        unk_id=tokenizer.unk_id,
        cls_id=tokenizer.cls_id,
        special_ids=special,
    )


def _no_text(source: TextSource, split: Split, job: RowsJob) -> UserError:
    separator = job.data.document_separator
    if split == "eval":
        return UserError(
            f"{source.name} is too small for data.eval_fraction {job.fraction} to hold out {_HELD_OUT[separator]}: "
            "set data.eval_source, or a larger data.eval_fraction"
        )
    reason = f"with data.eval_fraction {job.fraction} " if split == "train" else ""
    return UserError(f"{source.name} {reason}leaves no text to make rows of: use a larger source")


def _summary(source: TextSource, split: Split, num_documents: int, rows: TokenRows) -> str:
    return (
        f"{_text_of(source, split)}: {num_documents:,} documents, {rows.num_rows:,} rows, "
        f"{rows.num_tokens:,} tokens, {rows.manifest.padding_share:.2%} padding, "
        f"{rows.manifest.unknown_token_share:.2%} unknown -> {rows.directory}"
    )


def _text_of(source: TextSource, split: Split) -> str:
    return source.name if split == "all" else f"{source.name} ({split})"


def print_progress(progress: bool, message: str) -> None:
    """Print a line on stderr if ``progress``."""
    if progress:
        print(f"prepare: {message}", file=sys.stderr, flush=True)


def _num_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
