"""Files that appear whole or not at all, whatever ends the process that writes them."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

# Files that a process has open: a move would put another file in their place.
_OPEN_FILES = ("/dev/fd/", "/dev/stdout", "/dev/stderr", "/proc/self/fd/")


@contextmanager
def new_file(path: Path, *, flush: bool = True) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of ``path`` in one move when the block ends well, and vanishes otherwise.

    It lies beside ``path`` under a hidden name that no other process has and that ends as that of ``path`` does. A
    process that is killed leaves it there. Where ``path`` is a link, the file that it leads to is replaced, and not the
    link. Pipes, devices and files that are open (``/dev/stdout``) are never replaced: they are written into.

    Args:
        path: of the file; its directory must exist.
        flush: whether the content is forced to the disk before the move; not needed for what can be made anew and is
            checked when it is read.

    Raises:
        OSError: it cannot be written; what was at ``path`` stays. Or it is a pipe that nobody reads.
    """
    if _is_written_into(path):
        with _opened_to_append(path) as file:
            yield file
        return
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    beginning = path.stem.encode()[:200].decode(errors="ignore")
    partial = path.with_name(f".{beginning}.{secrets.token_hex(8)}{path.suffix[:20]}")
    try:
        with partial.open("xb") as file:
            yield file
            if flush:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def _is_written_into(path: Path) -> bool:
    """Return whether something is there that no file may take the place of."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    is_file = stat.S_ISREG(mode) and not str(path.absolute()).startswith(_OPEN_FILES)
    return not is_file and not stat.S_ISDIR(mode)


def _opened_to_append(path: Path) -> BinaryIO:
    """Open what is there, without waiting for somebody who reads from a pipe."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    return open(descriptor, "wb")


def write_atomically(path: Path, content: str | bytes, *, flush: bool = True) -> None:
    """Replace ``path`` by ``content``, text in UTF-8, in one move; see `new_file`.

    Raises:
        OSError: it cannot be written; what was at ``path`` stays.
    """
    with new_file(path, flush=flush) as file:
        file.write(content.encode() if isinstance(content, str) else content)
