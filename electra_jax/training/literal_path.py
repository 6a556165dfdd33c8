"""Paths for Orbax that mean the directory of that name, whatever characters are in it.

Orbax finds a checkpoint's parts by patterns that begin with the directory's own path: in ``lr=[0.1, 0.2]`` it finds
none of them, and in ``run*`` those of other runs too.
"""

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etils.epath.gpath import PosixGPath

from electra_jax.errors import UserError


class LiteralPath(PosixGPath):  # type: ignore[misc]
    """A path whose own characters are no pattern; what is made of it (its parts, its parents) is one too."""

    def glob(self, pattern: str) -> Iterator[Any]:
        """What matches ``pattern`` below this path."""
        return (self._new(name) for name in glob.glob(f"{glob.escape(str(self))}/{pattern}"))


def check_literal(path: Path) -> None:
    """Refuses a directory that checkpoints cannot be kept in.

    Raises:
        UserError: tensorstore takes a backslash in its name for a slash, and would write beside it.
    """
    if "\\" in str(path.absolute()):
        raise UserError(
            f"{path.absolute()} has a backslash in its name, which what stores checkpoints takes for a slash: choose "
            "another name, or give a link to it"
        )


def literal(path: Path) -> LiteralPath:
    """The absolute ``path``, as Orbax may be given it.

    Raises:
        UserError: as `check_literal`.
    """
    check_literal(path)
    return LiteralPath(path.absolute())
