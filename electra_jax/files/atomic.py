"""Files that appear whole or not at all, whatever ends the process that writes them."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def new_file(path: Path, *, flush: bool = True) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of ``path`` in one move when the block ends well, and vanishes otherwise.

    It lies beside ``path`` under a hidden name that no other process has and that ends as that of ``path`` does. A
    process that is killed leaves it there.

    Args:
        path: of the file; its directory must exist.
        flush: whether the content is forced to the disk before the move; not needed for what can be made anew and is
            checked when it is read.

    Raises:
        OSError: it cannot be written; what was at ``path`` stays.
    """
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


def write_atomically(path: Path, content: str | bytes, *, flush: bool = True) -> None:
    """Replace ``path`` by ``content``, text in UTF-8, in one move; see `new_file`.

    Raises:
        OSError: it cannot be written; what was at ``path`` stays.
    """
    with new_file(path, flush=flush) as file:
        file.write(content.encode() if isinstance(content, str) else content)
