"""Files that are read whole: regular ones only, and none larger than what is read from it can need.

A named pipe or a device would be waited for, or read, without end.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; a link to one counts as one.

    Raises:
        OSError: it is another kind of file, which ``strerror`` says in words, or cannot be opened.
    """
    _check_regular(path, os.stat(path).st_mode)  # opening some devices already does something
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_regular(path, os.fstat(descriptor).st_mode)
        return open(path, "rb", opener=lambda *_: descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return what a regular file of at most ``max_bytes`` bytes holds.

    Raises:
        OSError: as `open_regular`, or it is larger.
    """
    with open_regular(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(
            errno.EINVAL, f"it has more than the {max_bytes:,} bytes that such a file can need", str(path)
        )
    return content


def irregular_kind(path: str) -> str | None:
    """Return what is at a path that is no regular file, such as "a pipe"; None for a regular file, or nothing."""
    try:
        return _irregular_kind(os.stat(path).st_mode)
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return None


def _check_regular(path: Path, mode: int) -> None:
    if (kind := _irregular_kind(mode)) is not None:
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", str(path))


def _irregular_kind(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    return next((words for is_kind, words in _KINDS if is_kind(mode)), "no file")
