"""Where a conversion goes: a directory that appears whole or not at all."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from electra_jax.convert.recognise import is_checkpoint
from electra_jax.errors import UserError


def check_destination(path: Path, *, overwrite: bool, sources: list[Path]) -> None:
    """Refuses what must not be replaced; writes nothing.

    Raises:
        UserError: it exists and ``overwrite`` is not given, it is no checkpoint, or it is a source itself.
    """
    for source in sources:
        if path.resolve() in (source.resolve(), *source.resolve().parents):
            raise UserError(
                f"{path} is, or holds, what is to be converted ({source}): choose another destination"
            )
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        there = next(parent for parent in path.absolute().parents if parent.exists())
        if not there.is_dir():
            raise UserError(f"{path} cannot be made: {there} is a file, not a directory")
        return
    if not overwrite:
        raise UserError(f"{path} exists already: choose another destination, or give --overwrite")
    if not is_checkpoint(path):
        raise UserError(
            f"{path} holds no checkpoint, so not even --overwrite replaces it: choose another destination"
        )


@contextmanager
def new_destination(path: Path) -> Iterator[Path]:
    """Yields an empty directory beside ``path`` that takes its place when the block ends well."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.unfinished")
    old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.replaced")
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
