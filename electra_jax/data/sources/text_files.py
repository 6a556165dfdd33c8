"""`text:GLOB`: text files as a source."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from electra_jax.config.text import DataConfig
from electra_jax.data.sources.compressed import open_bytes, split_extension
from electra_jax.data.sources.fingerprints import file_fingerprints, json_fingerprint
from electra_jax.data.sources.held_out import divide_documents, divide_whole_file
from electra_jax.data.sources.read_many import read_all
from electra_jax.data.sources.text_documents import (
    MAX_DOCUMENT_CHARACTERS,
    Separator,
    check_encoding,
    file_documents,
)
from electra_jax.errors import UserError
from electra_jax.files.regular_files import irregular_kind

_JSON_LINES = ".jsonl"
# Characters that are read of all files together before a run starts; of large corpora it is the first documents.
_LOOKED_AT = 1 << 25


@dataclass(frozen=True)
class TextFiles:
    """Documents of text files, file after file in the order of their names."""

    name: str
    fingerprint: str
    paths: tuple[str, ...]
    separator: Separator
    field: str
    encoding: str
    num_documents: int | None = None

    def documents(self) -> Iterator[str]:
        """Yield the documents; see `TextSource.documents`."""
        return _documents(self.paths, self.separator, self.field, self.encoding)

    def divided(self, fraction: float) -> Iterator[tuple[bool, str]]:
        """Yield the documents, or the parts of whole files, with which are held out; see `TextSource.divided`."""
        for path in self.paths:
            documents = _documents((path,), self.separator, self.field, self.encoding)
            if fraction and self.separator == "file" and not _is_json(path):
                for text in documents:
                    yield from divide_whole_file(text, fraction)
            else:
                yield from divide_documents(documents, fraction)


def open_text_files(pattern: str, config: DataConfig) -> TextFiles:
    """Open the files that a pattern matches, having read the first document of each.

    Args:
        pattern: a path; ``~``, ``*``, ``?``, ``[...]`` and ``**`` (any depth) are understood.
        config: says how the files are read.

    Raises:
        UserError: as `check_text_files`, or the cache cannot be written.
    """
    name = f"text:{pattern}"
    paths = check_text_files(pattern, config)
    separator, field, encoding = config.document_separator, config.text_field, config.encoding
    digests = file_fingerprints(paths, Path(os.path.expanduser(config.cache_dir)))
    identity = {
        "separator": separator,
        "field": field,
        "encoding": encoding,
        "longest": MAX_DOCUMENT_CHARACTERS,
        "files": [[_is_json(path), split_extension(path)[1], digest] for path, digest in zip(paths, digests)],
    }
    return TextFiles(name, json_fingerprint(identity), paths, separator, field, encoding)


def check_text_files(pattern: str, config: DataConfig) -> tuple[str, ...]:
    """Return the files that a pattern matches, having read the first documents of each.

    A file that is not text is then found at once, wherever it stands among the others, and not after hours; all that
    are not are in one message.

    Raises:
        UserError: nothing matches, there is no text, what matches is a pipe or a device, or first documents cannot be
            read.
    """
    check_encoding(config.encoding)
    paths = _matching_files(pattern)
    separator, field, encoding = config.document_separator, config.text_field, config.encoding
    characters = max(_LOOKED_AT // len(paths), 1)
    # Of a file that is one document, too, no more than its beginning is read.
    looked_at: Separator = "blank_line" if separator == "file" else separator
    has_text = read_all(
        partial(_starts_with_text, path, looked_at, field, encoding, characters) for path in paths
    )
    if not any(has_text):
        files = "file is" if len(paths) == 1 else f"{len(paths)} files are"
        raise UserError(f"text:{pattern}: the {files} empty; give files with text in them.")
    return paths


def _documents(paths: tuple[str, ...], separator: Separator, field: str, encoding: str) -> Iterator[str]:
    for path in paths:
        yield from file_documents(
            path, is_json=_is_json(path), separator=separator, field=field, encoding=encoding
        )


def _starts_with_text(path: str, separator: Separator, field: str, encoding: str, characters: int) -> bool:
    """Return whether there is text in a file, having read its first documents: ``characters`` or more of them.

    Raises:
        UserError: it is no regular file, which would be empty when it is read again, or as `file_documents`.
    """
    if (kind := irregular_kind(path)) is not None:
        raise UserError(
            f"{path} is {kind}, which can be read only once: write it to a file (compressed ones are read as they are)."
        )
    read = 0
    for document in _documents((path,), separator, field, encoding):
        read += len(document)
        if read >= characters:
            break
    return read > 0


def _is_json(path: str) -> bool:
    return split_extension(path)[0] == _JSON_LINES


def _matching_files(pattern: str) -> tuple[str, ...]:
    if not pattern:
        raise UserError("text: names no file; write text:GLOB, for example text:~/corpus/**/*.txt.zst.")
    expanded = os.path.expanduser(pattern)
    # A path that exists is meant as it is, whatever brackets are in its name.
    matches = (
        [expanded]
        if os.path.exists(expanded)
        else _glob(expanded) or _glob(_escape_existing_folders(expanded))
    )
    files = tuple(
        path for path in matches if not os.path.isdir(path)
    )  # what cannot be read is said when it is
    if files:
        return files
    if matches and all(os.path.isdir(path) for path in matches):
        folder = matches[0].rstrip("/")
        raise UserError(f"text:{pattern} is a folder, not files; write for example text:{folder}/**/*.txt.")
    if os.path.lexists(expanded):
        open_bytes(expanded).close()  # says why it is no file
    meant = "; [[], [*] and [?] stand for a bracket, a star and a question mark" if "[" in expanded else ""
    raise UserError(
        f"text:{pattern} matches no file; the pattern stands for {os.path.abspath(expanded)}{meant}."
    )


def _glob(pattern: str) -> list[str]:
    return sorted(set(glob.glob(pattern, recursive=True)))


def _escape_existing_folders(pattern: str) -> str:
    """Return the pattern with its leading folders escaped, as far as there are folders of just that name."""
    parts = pattern.split("/")
    there = 0
    while there + 1 < len(parts) and os.path.isdir("/".join(parts[: there + 1]) or "/"):
        there += 1
    return "/".join([*map(glob.escape, parts[:there]), *parts[there:]])
