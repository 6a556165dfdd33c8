"""What was retrieved for the examples of a file, in a field of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.config.seq2seq import RetrievalConfig
from electra_jax.data.sources.json_lines import json_type
from electra_jax.errors import UserError
from electra_jax.tasks.protocol import RetrievedExample, Seq2SeqExample


def retrieved_text(record: Mapping[str, Any], name: str, place: str) -> str | None:
    """Return what was retrieved for a record; None where that is null, empty or not there.

    Raises:
        UserError: it is no text.
    """
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise UserError(
            f"{place}: {name!r}, what was retrieved, is {json_type(value)} and not text; mend the file."
        )
    return value if value and value.strip() else None


def retrieved_by_turn(record: Mapping[str, Any], name: str, turns: int, place: str) -> tuple[str | None, ...]:
    """Return what was retrieved for each of so many turns and for the one after them, None where that is nothing.

    The list may be without the last; one text is for the turn after them.

    Raises:
        UserError: it is no list of texts and nulls, or not as long as it should be.
    """
    values = record.get(name)
    if values is None or isinstance(values, str):
        return (*[None] * turns, retrieved_text(record, name, place))
    if not isinstance(values, list) or len(values) not in (turns, turns + 1):
        what = f"a list of {len(values)}" if isinstance(values, list) else json_type(values)
        raise UserError(
            f"{place}: {name!r}, what was retrieved, is {what} and not a list with a text or null for each of the "
            f"{turns} turns; mend the file."
        )
    found = [retrieved_text({name: value}, name, place) for value in values]
    return tuple(found if len(found) > turns else [*found, None])


def check_retrieved(
    examples: Sequence[Seq2SeqExample], config: RetrievalConfig, where: str, path: Path
) -> None:
    """Refuse a file in which nothing was retrieved for any example.

    Raises:
        UserError: that is so.
    """
    if examples and not any(isinstance(one, RetrievedExample) and one.retrieved for one in examples):
        raise UserError(
            f"{path} has no text in {config.column!r}, what was retrieved; name its column in "
            f"{where}.retrieval.column, or leave {where}.retrieval out."
        )
