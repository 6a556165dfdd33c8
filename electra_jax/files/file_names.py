"""Names that become parts of paths: those of tasks, of shards, of whatever a file names."""

from pathlib import Path

from electra_jax.errors import UserError

MAX_NAME_BYTES = 200  # a file system takes 255, and something is put before or behind


def is_file_name(name: object) -> bool:
    """Return whether this may name one file or directory below a known one.

    A file that names ``../../name`` or ``/name`` would have others written elsewhere, and one that names ``.name``
    would hide them.
    """
    return (
        isinstance(name, str)
        and name.isprintable()
        and "/" not in name
        and not name.startswith(".")
        and 0 < len(name.encode()) <= MAX_NAME_BYTES
    )


def subfolder(directory: Path, name: str) -> Path:
    """Return the folder of this name in a directory; names come from files, and some would lead elsewhere.

    Raises:
        UserError: it cannot be the name of a folder.
    """
    if not is_file_name(name):
        raise UserError(
            f"a folder cannot be called {name!r:.80}, as a task of the source is: rename the task"
        )
    return directory / name
