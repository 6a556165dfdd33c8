"""Random access to prepared rows of token ids."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Self

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from electra_jax.data.permutation import BLOCKS_PER_WINDOW
from electra_jax.data.row_writer import MANIFEST
from electra_jax.data.text_counts import TextCounts
from electra_jax.errors import UserError
from electra_jax.files.json_files import read_object

# Decoded blocks that are kept: two windows of the random order, and the edge of a third.
_CACHED_BLOCKS = 2 * BLOCKS_PER_WINDOW + 64
# Reading at random gains nothing from reading ahead.
_READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"


class Shard(BaseModel):
    """One file of block records."""

    model_config = ConfigDict(frozen=True)
    file: str = Field(pattern=r"^[\w-][\w.-]*$")  # beside the manifest
    num_rows: int = Field(ge=1)
    num_bytes: int = Field(ge=1)


class Manifest(BaseModel):
    """What a directory of prepared rows says about itself; other entries in its file are for people to read."""

    model_config = ConfigDict(frozen=True)
    num_rows: int = Field(ge=1)
    sequence_length: int = Field(ge=1)
    dtype: str = Field(pattern="^<u[24]$")
    rows_per_block: int = Field(ge=1)
    num_tokens: int
    num_segments: int | None = None  # pieces of documents, a [CLS] each; rows of earlier versions do not say
    padding_share: float
    unknown_token_share: float
    most_frequent_token_share: float
    fingerprint: str
    shards: tuple[Shard, ...]
    cleaning: tuple[
        str, ...
    ] = ()  # lines on what cleaning did to the text; rows of earlier versions have none
    # See `TextCounts`; of rows packed for language models alone.
    num_bytes: int | None = None
    num_words: int | None = None
    changed_documents: int | None = None


class TokenRows:
    """Rows of token ids in a directory; safe to read from several threads.

    Attributes:
        directory: where they are.
        num_rows: how many there are.
        sequence_length: tokens in a row, padding included.
        num_tokens: tokens in all rows, padding excluded, [CLS] and [SEP] included.
        num_targets: the tokens that a language model predicts, all but [CLS] and padding; None of rows of earlier
            versions.
        fingerprint: hash of all ids.
        most_frequent_token_share: of the tokens that are not special ones, those that are the commonest.
        rows_per_block: rows that are decoded together.
        text_counts: what their text measures; None unless they are packed for language models.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory = directory
        self.manifest = manifest
        self.num_rows = manifest.num_rows
        self.sequence_length = manifest.sequence_length
        self.num_tokens = manifest.num_tokens
        known = manifest.num_segments is not None
        self.num_targets = manifest.num_tokens - (manifest.num_segments or 0) if known else None
        self.fingerprint = manifest.fingerprint
        self.most_frequent_token_share = manifest.most_frequent_token_share
        self.rows_per_block = manifest.rows_per_block
        self.text_counts = _text_counts(manifest)
        # Every shard but the last is full, so a shard holds whole blocks.
        blocks = [-(-shard.num_rows // manifest.rows_per_block) for shard in manifest.shards]
        self._shard_ends = np.cumsum(blocks)
        self._readers: list[Any] = [None] * len(blocks)
        self._blocks: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open prepared rows after checking that every shard is whole.

        Raises:
            UserError: the manifest cannot be read, or a shard is missing or has another size.
        """
        path = directory / MANIFEST
        try:
            manifest = Manifest.model_validate(
                read_object(path, f"delete the directory {directory} and run again")
            )
        except ValueError as error:
            reason = "its keys are wrong" if isinstance(error, ValidationError) else error
            raise _damaged(path, str(reason)) from error
        if sum(shard.num_rows for shard in manifest.shards) != manifest.num_rows:
            raise _damaged(path, "the rows of its shards do not add up")
        for shard in manifest.shards:
            file = directory / shard.file
            try:
                size = file.stat().st_size
            except OSError as error:
                raise _damaged(file, error.strerror or str(error)) from error
            if size != shard.num_bytes:
                raise _damaged(file, f"{size} bytes instead of {shard.num_bytes}")
        return cls(directory, manifest)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Read rows by number, in any order.

        Args:
            rows: int ``[n]``, in [0, num_rows).

        Returns:
            int32 ``[n, length]``.

        Raises:
            UserError: a shard is damaged.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.num_rows:
            raise IndexError(f"rows {rows.min()}..{rows.max()} of {self.num_rows}")
        blocks, offsets = np.divmod(rows, self.rows_per_block)
        result = np.empty((len(rows), self.sequence_length), np.int32)
        with self._lock:
            for place, block, offset in zip(range(len(rows)), blocks.tolist(), offsets.tolist()):
                result[place] = self._block(block)[offset]
        return result

    def _block(self, block: int) -> np.ndarray:
        decoded = self._blocks.get(block)
        if decoded is None:
            decoded = self._blocks[block] = self._decode(block)
            if len(self._blocks) > _CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(block)
        return decoded

    def _decode(self, block: int) -> np.ndarray:
        shard = int(np.searchsorted(self._shard_ends, block, side="right"))
        first = int(self._shard_ends[shard - 1]) if shard else 0
        file = self.directory / self.manifest.shards[shard].file
        try:
            if self._readers[shard] is None:
                self._readers[shard] = ArrayRecordReader(str(file), _READER_OPTIONS)
            record = self._readers[shard].read([block - first])[0]
            decoded = np.frombuffer(record, self.manifest.dtype).reshape(-1, self.sequence_length)
        except (RuntimeError, ValueError, IndexError) as error:
            raise _damaged(file, str(error)) from error
        expected = min(self.rows_per_block, self.num_rows - block * self.rows_per_block)
        if len(decoded) != expected:
            raise _damaged(file, f"block {block - first} has {len(decoded)} rows instead of {expected}")
        return decoded


def _text_counts(manifest: Manifest) -> TextCounts | None:
    values = (manifest.num_bytes, manifest.num_words, manifest.changed_documents)
    known = [value for value in values if value is not None]
    return TextCounts(*known) if len(known) == len(values) else None


def _damaged(file: Path, reason: str) -> UserError:
    return UserError(
        f"prepared data {file} is damaged ({reason}): delete the directory {file.parent} and run again"
    )
