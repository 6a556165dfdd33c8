"""Conversations to reply to, as files have them: the text that the task reads."""

from __future__ import annotations

from collections.abc import Iterator
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
    records: Iterator[Record | UserError], reader: ConversationReader
) -> Iterator[Record | UserError]:
    """Yield records whose field ``text`` is what the task reads: of the turns those that it looks at.

    A record without turns has one, its ``text`` or ``prompt``; a line of plain text likewise.
    """
    for record in records:
        if isinstance(record, UserError):
            yield record
            continue
        try:
            fields: dict[str, Any] = {**record.fields, "text": _source(record, reader)}
            fields.pop("prompt", None)
            yield Record(record.where, record.number, fields)
        except UserError as error:
            yield error


def _source(record: Record, reader: ConversationReader) -> str:
    config = reader.config
    if reader.field(record.fields) is None and not record.fields.keys().isdisjoint({"text", "prompt"}):
        return said_text(record.text("text" if "text" in record.fields else "prompt"), config)
    turns = reader.turns(record.fields, record.where)
    return turns_text(last(turns, config.history), next_speaker(turns), config.form)
