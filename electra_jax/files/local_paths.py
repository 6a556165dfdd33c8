"""Paths as users give them: files of this machine, and names that every library here can be given.

Every path from a command line, a configuration or a caller in Python goes through `local_path`, or, where it stays
text, through `path_problem`.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from electra_jax.errors import UserError

# pathlib makes gs:/bucket of gs://bucket. One letter before the colon is no scheme anybody has.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_FILE_URL = re.compile(r"file:(//(localhost)?(?=/)|(?=/(?!/)))", re.IGNORECASE)
_MAX_NAME_LENGTH = 255  # bytes, of nearly every file system
_MOUNTS = {
    "gs": "gcsfuse",
    "s3": "mountpoint-s3",
    "s3a": "mountpoint-s3",
    "hdfs": "hdfs-fuse or its NFS gateway",
}


def without_file_scheme(given: str) -> str:
    """Return ``file:///a%20b`` as ``/a b``; anything else as it is."""
    found = _FILE_URL.match(given)
    return unquote(given[found.end() :]) if found else given


def path_problem(given: str) -> str | None:
    """Return why ``given`` cannot be a path here, as the end of a sentence about it; None where it can."""
    if not given:
        return "names nothing: give a path, or . for the current directory"
    if url := _URL.match(given):
        scheme = url[1].lower()
        if scheme == "file":
            return "is a file: URL of another machine, or with a relative path: give the path alone"
        if scheme in ("http", "https", "ftp"):
            return "is an address, and nothing is downloaded: fetch it first, and give the path of the file"
        return (
            f"is not a path of this machine, and only those are read and written: mount it "
            f"({_MOUNTS.get(scheme, 'a file system in user space')}; docs/launching.md) and give the path where it "
            "is mounted"
        )
    if given.startswith("~") and os.path.expanduser(given).startswith("~"):
        return "names the home directory of nobody on this machine; ./~ is what has that very name"
    if "\0" in given:
        return "holds a zero byte, which no path has"
    try:
        encoded = os.fsencode(given)
        given.encode()
    except UnicodeEncodeError:
        return "is not UTF-8, which what writes checkpoints and tokens needs: rename it, or give a link to it"
    longest = max(len(part) for part in encoded.split(b"/"))
    if longest > _MAX_NAME_LENGTH:
        return f"has a name {longest} bytes long, and {_MAX_NAME_LENGTH} is the most there can be"
    return None


def local_path(given: str | os.PathLike[str], what: str = "") -> Path:
    """Return the path that a user's text means.

    ``~`` is the home directory, ``file://`` is left out, ``//a`` is ``/a``.

    Args:
        given: as it was typed.
        what: what it is the path of, for the message, such as ``--workdir``.

    Raises:
        UserError: it is no text, a URL of another scheme, empty, or no name that can be written.
    """
    plain = os.fspath(given) if isinstance(given, str | os.PathLike) else given
    if not isinstance(plain, str):
        raise UserError(f"{what} is {plain!r:.80} and not a path: give one as text".lstrip())
    text = without_file_scheme(plain)
    if problem := path_problem(text):
        raise UserError(f"{what} {text or repr(text)} {problem}".lstrip())
    path = Path(text).expanduser()
    # pathlib keeps two slashes at the beginning; what writes checkpoints takes no such path.
    return Path("/", *path.parts[1:]) if path.root == "//" else path


def short_names(folders: Sequence[Path]) -> list[str]:
    """Return a short name for each directory, for tables and legends: its own, or where two are alike the path."""
    names = [folder.resolve().name for folder in folders]
    return [
        name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)
    ]


def check_folder(path: Path, what: str, *, to_write: bool = True) -> None:
    """Refuse a directory that could not be made, or not be written; nothing is written to find out.

    Args:
        path: the directory, there or not.
        what: what it is the path of, for the message, such as ``--workdir``.
        to_write: whether it is to be written to; else it is enough that one could be there.

    Raises:
        UserError: it could not.
    """
    there = next(parent for parent in (path, *path.absolute().parents) if os.path.lexists(parent))
    if not there.exists():
        raise UserError(
            f"{what} {path} cannot be made: {there} is a link to nothing, or links go in a circle"
        )
    if not there.is_dir():
        raise UserError(f"{what} {path} cannot be made: {there} is a file, not a directory")
    if to_write and not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{what} {path} cannot be written: no permission to write in {there}")
