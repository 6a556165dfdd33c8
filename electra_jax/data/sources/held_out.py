"""Which documents, or which parts of them, are held out for evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

# Less than this of a document's end says too little to be worth dividing it.
MIN_HELD_OUT_CHARACTERS = 200
_DIGEST_BYTES = 8


def is_held_out(document: str, fraction: float) -> bool:
    """Return whether a document belongs to the held-out share of its source.

    Depends on nothing but the document's text: not on its place, the process or the host. The sets are nested:
    what is held out at one fraction is held out at every larger one.
    """
    # Lone surrogates cannot be encoded otherwise, and must not make the answer an exception.
    data = document.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
    return int.from_bytes(digest, "big") < fraction * 2 ** (8 * _DIGEST_BYTES)


def divide_documents(documents: Iterable[str], fraction: float) -> Iterator[tuple[bool, str]]:
    """Yield (whether it is held out, document), each document as a whole: see `is_held_out`."""
    for text in documents:
        yield fraction > 0 and is_held_out(text, fraction), text


def divide_whole_file(text: str, fraction: float) -> Iterator[tuple[bool, str]]:
    """Yield (whether it is held out, text) of the two parts of a long document: its last characters are held out.

    The part in front has the first ``int(characters * (1 - fraction))``, which is how nanoGPT divides tiny Shakespeare.
    A document of whose end fewer than `MIN_HELD_OUT_CHARACTERS` would be held out is not divided: see `is_held_out`.
    """
    middle = int(len(text) * (1 - fraction))
    if len(text) - middle < MIN_HELD_OUT_CHARACTERS:
        yield from divide_documents([text], fraction)
        return
    yield False, text[:middle]
    yield True, text[middle:]
