"""Files that a command is asked to write: none whose content would be lost."""

import os
from pathlib import Path
from typing import IO

from electra_jax.errors import UserError


def check_output(output: Path, source: str | IO[bytes] | None, option: str = "--output") -> None:
    """Refuse a file that could not be written, or whose content would be lost.

    Args:
        output: the file.
        source: what is read, of a file its path.
        option: of the command that names it.

    Raises:
        UserError: it says why.
    """
    try:
        parent = output.absolute().parent
        if not parent.is_dir():
            raise UserError(
                f"{option} {output} cannot be written: there is no directory {parent}; make it first"
            )
        if output.is_dir():
            raise UserError(f"{option} {output} is a directory; name a file in it")
        if output.is_symlink() and not output.exists():
            raise UserError(
                f"{option} {output} is a link to nothing, or links go in a circle; name another file"
            )
        if not output.exists():
            place: Path = parent
        elif isinstance(source, str) and output.samefile(source):
            raise UserError(f"{option} {output} is the input itself; name another file")
        elif output.is_file() and output.stat().st_size:
            raise UserError(f"{option} {output} exists already; name another file, or delete it first")
        else:
            place = output
        if not os.access(place, os.W_OK):
            raise UserError(f"{option} {output} cannot be written: no permission for {place}")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{option} {output} cannot be written: {getattr(error, 'strerror', error)}"
        ) from error
