"""What every source of text offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class TextSource(Protocol):
    """Documents in an order that never changes, read as a stream.

    A source is a small plain value: it can be pickled and read in another process.
    """

    @property
    def name(self) -> str:
        """The source as the user wrote it."""

    @property
    def fingerprint(self) -> str:
        """Hex hash of the identity of the text; equal fingerprints give equal documents."""

    @property
    def num_documents(self) -> int | None:
        """Number of records, where it is known without reading them; empty ones are not yielded."""

    def documents(self) -> Iterator[str]:
        """Yield the non-empty documents, stripped of surrounding white space unless a document is a whole file.

        Raises:
            UserError: the text cannot be read or decoded; the message says where.
        """

    def divided(self, fraction: float) -> Iterator[tuple[bool, str]]:
        """Yield (whether it is held out, text) of each document, or of its two parts, see `held_out`.

        Args:
            fraction: of the documents that is held out; 0 for none.

        Raises:
            UserError: as `documents`.
        """
