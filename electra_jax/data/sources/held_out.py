"""Which documents are held out for evaluation."""

from __future__ import annotations

import hashlib

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
