"""Reading several files so that all that cannot be read are named at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from electra_jax.errors import UserError, one_line

MAX_NAMED = 10
_MAX_LENGTH = 1500  # Of all that is named together.

T = TypeVar("T")


def read_all(reads: Iterable[Callable[[], T]]) -> list[T]:
    """Return what each read gives, if none fails.

    Raises:
        UserError: some fail; one that fails alone says what it does, of more the first are named and all are counted.
    """
    results: list[T] = []
    failed: list[str] = []
    for read in reads:
        try:
            results.append(read())
        except UserError as error:
            failed.append(str(error))
    if len(set(failed)) == 1:  # A setting that all lack is one fault, not one a file.
        raise UserError(failed[0])
    if failed:
        longest = _MAX_LENGTH // min(len(failed), MAX_NAMED)
        named = "; ".join(_brief(message, longest) for message in failed[:MAX_NAMED])
        more = len(failed) - MAX_NAMED
        raise UserError(
            f"{len(failed)} files cannot be read: {named}" + (f"; and {more:,} more" if more > 0 else "")
        )
    return results


def _brief(message: str, longest: int) -> str:
    """Return a message without its advice, where it is too long with it."""
    message = one_line(message).rstrip(".")
    if len(message) > longest:
        message = message.rpartition(";")[0] or message
    return message
