"""Writes rows of token ids as shards of compressed block records, and a manifest of what they hold."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from electra_jax.data.cache import cache_errors, to_os_error

MANIFEST = "manifest.json"
# Of the layout on disk and of what packing does; a change leaves earlier caches unused.
FORMAT_VERSION = 1
_ROWS_PER_BLOCK = 32
_TOKENS_PER_BLOCK = 16_384  # long rows share a block with fewer others, so that a block stays small
_SHARD_BYTES = 256 * 2**20  # before compression
_BLOCKS_PER_COUNT = 32


class RowWriter:
    """A writer of rows into a directory; `finish` writes the manifest, without which the directory is not read.

    Use as a context manager: leaving it early closes the open shard.
    """

    def __init__(
        self,
        directory: Path,
        length: int,
        *,
        vocab_size: int,
        pad_id: int,
        unk_id: int,
        cls_id: int,
        special_ids: tuple[int, ...],
        shard_bytes: int = _SHARD_BYTES,
    ) -> None:
        """Open nothing yet.

        Args:
            directory: an existing, empty directory.
            length: tokens in a row.
            vocab_size: ids are below this; decides the stored type.
            pad_id: id of the padding.
            unk_id: id of unknown text, whose share is recorded.
            cls_id: id of [CLS], whose number is recorded.
            special_ids: ids that are left out of the share of the most frequent token.
            shard_bytes: size of a shard before compression.
        """
        self._directory = directory
        self._length = length
        self._dtype = np.dtype("<u2" if vocab_size <= 2**16 else "<u4")
        self._pad_id, self._unk_id, self._cls_id = pad_id, unk_id, cls_id
        self._special_ids = special_ids
        self.rows_per_block = max(1, min(_ROWS_PER_BLOCK, _TOKENS_PER_BLOCK // length))
        block_bytes = self.rows_per_block * length * self._dtype.itemsize
        self._blocks_per_shard = max(1, shard_bytes // block_bytes)
        self._counts = np.zeros(vocab_size, np.int64)
        self._hash = hashlib.sha256(f"{length} {self._dtype.str}".encode())
        self._held = np.empty((0, length), self._dtype)
        self._shards: list[dict[str, Any]] = []
        self._blocks_in_shard = 0
        self._writer: ArrayRecordWriter | None = None
        self.num_rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None and kind is not None:
            # The shard is thrown away with its directory; what closing it says no longer matters.
            with contextlib.suppress(RuntimeError):
                self._writer.close()
            self._writer = None

    def write(self, rows: np.ndarray) -> None:
        """Append rows.

        Args:
            rows: int ``[n, length]``.

        Raises:
            UserError: the disk is full, or another failure to write.
        """
        with cache_errors(self._directory.parent):
            self._write(rows)

    def _write(self, rows: np.ndarray) -> None:
        held = np.concatenate([self._held, rows.astype(self._dtype)])
        chunk = self.rows_per_block * _BLOCKS_PER_COUNT
        whole = len(held) // chunk * chunk
        for start in range(0, whole, chunk):
            self._write_blocks(held[start : start + chunk])
        self._held = held[whole:]

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Write what is held back, close the last shard and write the manifest.

        Args:
            metadata: what else the manifest is to say, such as settings and sources.

        Raises:
            UserError: the disk is full, or another failure to write.
        """
        with cache_errors(self._directory.parent):
            self._write_blocks(self._held)
            self._close_shard()
            manifest = json.dumps({**self._summary(), **metadata}, indent=1)
            (self._directory / MANIFEST).write_text(manifest + "\n", encoding="utf-8")

    def _summary(self) -> dict[str, Any]:
        positions = self.num_rows * self._length
        num_tokens = int(positions - self._counts[self._pad_id])
        text_counts = self._counts.copy()
        text_counts[list(self._special_ids)] = 0
        return {
            "format_version": FORMAT_VERSION,
            "num_rows": self.num_rows,
            "sequence_length": self._length,
            "dtype": self._dtype.str,
            "rows_per_block": self.rows_per_block,
            "num_tokens": num_tokens,
            "num_segments": int(self._counts[self._cls_id]),
            "padding_share": 1 - num_tokens / max(1, positions),
            "unknown_token_share": int(self._counts[self._unk_id]) / max(1, num_tokens),
            "most_frequent_token_share": int(text_counts.max()) / max(1, int(text_counts.sum())),
            "fingerprint": self._hash.hexdigest(),
            "shards": self._shards,
        }

    def _write_blocks(self, rows: np.ndarray) -> None:
        self._counts += np.bincount(rows.ravel(), minlength=len(self._counts))
        self._hash.update(rows.tobytes())
        self.num_rows += len(rows)
        for start in range(0, len(rows), self.rows_per_block):
            block = rows[start : start + self.rows_per_block]
            if self._writer is None:
                self._open_shard()
            _write_record(self._writer, block.tobytes())
            self._shards[-1]["num_rows"] += len(block)
            self._blocks_in_shard += 1
            if self._blocks_in_shard == self._blocks_per_shard:
                self._close_shard()

    def _open_shard(self) -> None:
        name = f"rows-{len(self._shards):05d}.array_record"
        # One block a compressed group: reading a block decompresses nothing else.
        self._writer = ArrayRecordWriter(str(self._directory / name), "group_size:1")
        self._shards.append({"file": name, "num_rows": 0})
        self._blocks_in_shard = 0

    def _close_shard(self) -> None:
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            writer.close()
        except RuntimeError as error:
            raise to_os_error(error) from error
        shard = self._shards[-1]
        shard["num_bytes"] = (self._directory / shard["file"]).stat().st_size


def _write_record(writer: Any, record: bytes) -> None:
    try:
        writer.write(record)
    except RuntimeError as error:
        raise to_os_error(error) from error
