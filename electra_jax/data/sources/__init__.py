"""Sources of text: the embedded corpus, text files and TFDS datasets, all as streams of documents."""

from __future__ import annotations

import os

from electra_jax.config.text import DataConfig
from electra_jax.data.sources.held_out import is_held_out
from electra_jax.data.sources.protocol import TextSource
from electra_jax.data.sources.text_files import check_text_files, open_text_files
from electra_jax.data.sources.tfds_source import check_embedded, open_embedded, open_tfds
from electra_jax.errors import UserError

__all__ = ["TextSource", "check_source", "is_held_out", "open_source"]


def open_source(spec: str, config: DataConfig) -> TextSource:
    """Open a source of text; its first document has been read when this returns.

    Args:
        spec: ``embedded:python-docs``, ``text:GLOB`` or ``tfds:NAME[/CONFIG][:SPLIT]``.
        config: says where caches and datasets are and how files are read.

    Raises:
        UserError: the source is unknown, missing, empty, not text or not prepared.
    """
    kind, _, rest = spec.partition(":")
    match kind:
        case "embedded":
            return open_embedded(rest, config)
        case "text":
            return open_text_files(rest, config)
        case "tfds":
            return open_tfds(rest, config)
    raise _unknown(spec)


def check_source(spec: str, config: DataConfig) -> None:
    """Raise what `open_source` would, without what takes long: the embedded corpus is not built, nothing hashed.

    Raises:
        UserError: as `open_source`.
    """
    kind, _, rest = spec.partition(":")
    match kind:
        case "embedded":
            check_embedded(rest)
        case "text":
            check_text_files(rest, config)
        case "tfds":
            open_tfds(rest, config)
        case _:
            raise _unknown(spec)


def _unknown(spec: str) -> UserError:
    path = os.path.expanduser(spec)
    meant = f"text:{spec.rstrip('/')}/**/*.txt" if os.path.isdir(path) else f"text:{spec}"
    hint = f"; did you mean {meant}?" if os.path.exists(path) else ""
    return UserError(
        f"{spec!r} is not a source of text: write embedded:python-docs, text:GLOB or tfds:NAME[/CONFIG][:SPLIT]{hint}"
    )
