"""Hashes that tell whether text has changed, without reading it again when its file has not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from electra_jax.errors import UserError
from electra_jax.files.atomic import write_atomically
from electra_jax.files.json_files import read_object

_BLOCK_BYTES = 1 << 20
_QUIET_SECONDS = 5  # A corpus that is hashed faster needs no progress bar.


def json_fingerprint(identity: Any) -> str:
    """Return the SHA-256, in hex, of a JSON value."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def documents_fingerprint(documents: Iterable[str]) -> str:
    """Return the SHA-256, in hex, of a sequence of documents and their boundaries."""
    digest = hashlib.sha256()
    for document in documents:
        data = document.encode("utf-8")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def file_fingerprints(paths: Iterable[str], cache_dir: Path) -> list[str]:
    """Return the SHA-256 of each file's bytes, remembered in ``cache_dir`` by path, size and modification time.

    Raises:
        UserError: a file cannot be read.
    """
    known = [(path, _cached_hash(path, cache_dir)) for path in paths]
    unknown_bytes = sum(_stat(path).st_size for path, digest in known if digest is None)
    with tqdm(
        total=unknown_bytes,
        unit="B",
        unit_scale=True,
        desc="Hashing text files",
        delay=_QUIET_SECONDS,
        leave=False,
    ) as bar:
        return [digest or _hash_and_cache(path, cache_dir, bar) for path, digest in known]


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _entry_path(path: str, cache_dir: Path) -> Path:
    name = hashlib.sha256(os.path.abspath(path).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_dir / "fingerprints" / f"{name[:32]}.json"


def _cached_hash(path: str, cache_dir: Path) -> str | None:
    stat = _stat(path)
    try:
        entry = read_object(_entry_path(path, cache_dir))
        if (entry["size"], entry["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns):
            return str(entry["sha256"])
    except (UserError, KeyError):
        pass  # Absent or damaged: the file is hashed again.
    return None


def _hash_and_cache(path: str, cache_dir: Path, bar: tqdm[Any]) -> str:
    stat = _stat(path)  # Before the reading, so that a file that changes meanwhile is hashed again next time.
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                bar.update(len(block))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    entry = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": digest.hexdigest()}
    # A cache that can only be read is no reason to refuse what is in it: the file is then hashed each time.
    with suppress(OSError):
        remembered = _entry_path(path, cache_dir)
        remembered.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(remembered, json.dumps(entry), flush=False)
    return digest.hexdigest()
