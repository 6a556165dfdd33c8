"""Conversations to reply to, as files have them: the text that the task reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from electra_jax.config.conversations import ConversationsConfig
from electra_jax.dialogue.turns import ME, YOU, Turn, last, next_speaker, turns_text
from electra_jax.errors import UserError
from electra_jax.inference.records import Record
from electra_jax.tasks.sources.conversations import ConversationReader


def said_text(text: str, config: ConversationsConfig) -> str:
    """Return what a task on conversations reads where a text is all that was said."""
    return turns_text([Turn(text, YOU)], ME, config.form)


def with_sources(
    records: Iterator[Record | UserError], reader: ConversationReader, names: Sequence[str]
) -> Iterator[Record | UserError]:
    """Yield records with a field that is what the task reads: of the turns those that it looks at.

    A record without turns has one, a text; so has a line of plain text.

    Args:
        records: as a file has them.
        reader: of conversations.
        names: of that field, and of others that may hold such a text, which are left out.
    """
    for record in records:
        if isinstance(record, UserError):
            yield record
            continue
        try:
            fields: dict[str, Any] = {k: v for k, v in record.fields.items() if k not in names}
            fields[names[0]] = _source(record, reader, names)
            if reader.retrieval is not None:
                is_text = reader.field(record.fields) is None
                count = 1 if is_text else len(reader.turns(record.fields, record.where))
                fields[reader.retrieval.column] = reader.retrieved(record.fields, count, record.where)[count]
            yield Record(record.where, record.number, fields)
        except UserError as error:
            yield error


def _source(record: Record, reader: ConversationReader, names: Sequence[str]) -> str:
    config = reader.config
    there = next((name for name in names if name in record.fields), None)
    if reader.field(record.fields) is None and there is not None:
        return said_text(record.text(there), config)
    turns = reader.turns(record.fields, record.where)
    return turns_text(last(turns, config.history), next_speaker(turns), config.form)
