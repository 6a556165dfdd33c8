"""Directories that appear whole or not at all, whatever ends the process that makes them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError

_SUFFIX = ".unfinished"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def key_of(settings: Mapping[str, Any]) -> str:
    """Return the hash that names a directory of the cache; equal settings give equal names."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:20]


def to_os_error(error: RuntimeError) -> OSError:
    """Convert an error of array_record, which are all RuntimeErrors; its words tell a full disk from other failures."""
    for code in _FULL:
        if os.strerror(code) in str(error):
            return OSError(code, os.strerror(code))
    return OSError(errno.EIO, str(error))


@contextlib.contextmanager
def cache_errors(directory: Path) -> Iterator[None]:
    """Turn a failure to write below ``directory``, part of data.cache_dir, into a UserError that names it."""
    try:
        yield
    except OSError as error:
        remedy = "make room there" if error.errno in _FULL else "make it writable"
        raise UserError(
            f"cannot write to {directory}: {error.strerror or error}; "
            f"{remedy} or set data.cache_dir to another directory"
        ) from error


@contextlib.contextmanager
def new_directory(final: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes ``final`` when the block ends well, and vanishes otherwise.

    The renaming is the last act, so a killed process leaves nothing that could be taken for whole; what it
    does leave is removed by the next one. When several processes make the same directory the first to finish
    wins and the others' work is dropped, as it is the same.

    Raises:
        UserError: the directory cannot be made, or renamed.
    """
    with cache_errors(final.parent):
        final.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(final.parent):
            _remove_abandoned(final.parent)
            temporary = final.with_name(f".{final.name}.{secrets.token_hex(8)}{_SUFFIX}")
            temporary.mkdir()
            # Held for as long as this process lives, so that others can tell a slow one from a dead one.
            alive = os.open(_lock_file(temporary), os.O_CREAT | os.O_RDWR, 0o666)
            with contextlib.suppress(OSError):
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield temporary
        with cache_errors(final.parent):
            _flush(temporary)
            with _exclusive(final.parent):
                if not final.exists():
                    temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _lock_file(temporary).unlink(missing_ok=True)
        os.close(alive)


@contextlib.contextmanager
def _exclusive(parent: Path) -> Iterator[None]:
    """Let one process at a time start, publish or clean up; a file system without locks lets all."""
    handle = os.open(parent / ".lock", os.O_CREAT | os.O_RDWR, 0o666)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_abandoned(parent: Path) -> None:
    """Remove what killed processes left: unfinished directories on which nobody holds a lock."""
    for temporary in parent.glob(f".*{_SUFFIX}"):
        try:
            handle = os.open(_lock_file(temporary), os.O_CREAT | os.O_RDWR, 0o666)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(temporary, ignore_errors=True)
            _lock_file(temporary).unlink(missing_ok=True)
        except OSError:  # held, or the file system cannot say
            pass
        finally:
            os.close(handle)


def _lock_file(temporary: Path) -> Path:
    """Return the lock file of an unfinished directory; beside it, so that renaming takes nothing else along."""
    return temporary.with_name(temporary.name + ".lock")


def _flush(directory: Path) -> None:
    """Force files to the disk before the name says they are whole."""
    for path in directory.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
