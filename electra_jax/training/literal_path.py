"""Paths for Orbax that mean the directory of that name, whatever characters are in it.

Orbax finds a checkpoint's items by patterns that begin with the directory's own path: in ``lr=[0.1, 0.2]`` it finds
none of them, and in ``run*`` those of other runs too.
"""

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etils.epath.gpath import PosixGPath

from electra_jax.errors import UserError


class LiteralPath(PosixGPath):  # type: ignore[misc]
    """A path whose own characters are no pattern; paths made from it (children, parents) are literal too."""

    def glob(self, pattern: str) -> Iterator[Any]:
        """Return what matches ``pattern`` below this path."""
        return (self._new(name) for name in glob.glob(f"{glob.escape(str(self))}/{pattern}"))


def check_literal(path: Path) -> None:
    """Refuse a directory that checkpoints cannot be kept in.

    Raises:
        UserError: It has a backslash in its name, which tensorstore takes for a slash, and would write beside it.
    """
    if "\\" in str(path.absolute()):
        raise UserError(
            f"{path.absolute()} has a backslash in its name, which what stores checkpoints takes for a slash: choose "
            "another name, or give a link to it"
        )


def literal(path: Path) -> LiteralPath:
    """Return the absolute ``path``, as Orbax may be given it.

    Raises:
        UserError: As `check_literal`.
    """
    check_literal(path)
    return LiteralPath(path.absolute())
