"""Conversations from JSON or from plain text, a turn a line, with who speaks where files say it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electra_jax.config.conversations import ConversationsConfig
from electra_jax.config.seq2seq import RetrievalConfig
from electra_jax.data.sources.json_lines import json_type
from electra_jax.dialogue.turns import Turn, alternating
from electra_jax.errors import UserError, quoted
from electra_jax.tasks.sources.choices import identifier
from electra_jax.tasks.sources.files import numbered_lines
from electra_jax.tasks.sources.records import records_of
from electra_jax.tasks.sources.retrieved import retrieved_by_turn

EXTENSIONS = (".jsonl", ".json", ".txt")
TURNS = ("turns", "utterances", "messages")
_TEXT, _SPEAKER = ("text", "content"), ("speaker", "role")
_NAMED_LINE = re.compile(r"\s*([^\s:][^:]{0,39}):\s+(.*\S)\s*")


@dataclass(frozen=True)
class Conversation:
    """What was said, in its order.

    Attributes:
        id: the identifier.
        place: file and line, for messages.
        turns: what was said.
        retrieved: for each turn what was retrieved for it, and for the one after them; None where that is nothing; ()
            where nobody asks.
    """

    id: str
    place: str
    turns: tuple[Turn, ...]
    retrieved: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class ConversationReader:
    """Reads conversations as the section of a task says.

    Attributes:
        config: the section ``conversations``.
        id_field: name of the identifier's field; None: conversations are numbered.
        where: name of the task's section, for messages.
        retrieval: the section ``retrieval`` of the task, where it has one.
    """

    config: ConversationsConfig
    id_field: str | None
    where: str
    retrieval: RetrievalConfig | None = None

    def field(self, record: Mapping[str, Any]) -> str | None:
        """Return the name of the field with the turns; None where there is none."""
        names = TURNS if self.config.turns is None else (self.config.turns,)
        return next((name for name in names if name in record), None)

    def turns(self, record: Mapping[str, Any], place: str) -> tuple[Turn, ...]:
        """Return the turns of a record, at least one.

        Raises:
            UserError: there are none, one is no text or empty, or nobody says who speaks.
        """
        name = self.field(record)
        if name is None:
            raise UserError(
                f"{place} has no field {self.config.turns or 'turns'!r}, the list of turns (it has {quoted(record)}); "
                f"name it in {self.where}.conversations.turns, or mend the file."
            )
        values = record[name]
        if not isinstance(values, list) or not values:
            what = "an empty list" if values == [] else json_type(values)
            raise UserError(f"{place}: {name!r} is {what} and not a list of turns; mend the file.")
        return self._spoken([self._turn(value, f"{place}: turn {n}") for n, value in enumerate(values, 1)])

    def records(self, path: Path, extension: str) -> Iterator[Conversation]:
        """Yield the conversations of JSON lines, of a JSON file, or of plain text.

        In plain text a line is a turn, ``NAME: what is said`` where speakers have names, and an empty line ends a
        conversation.

        Raises:
            UserError: a file that is not so.
        """
        if extension != ".txt":
            for count, (place, record) in enumerate(records_of(path, extension)):
                name = identifier(record, self.id_field, count, place)
                turns = self.turns(record, place)
                yield Conversation(name, place, turns, self.retrieved(record, len(turns), place))
            return
        lines: list[Turn] = []
        count, first = 0, 1
        for number, line in numbered_lines(path):
            if line.strip():
                first = first if lines else number
                lines.append(self._line(line, f"{path}, line {number}"))
            elif lines:
                yield Conversation(str(count), f"{path}, line {first}", self._spoken(lines))
                count, lines = count + 1, []
        if lines:
            yield Conversation(str(count), f"{path}, line {first}", self._spoken(lines))

    def retrieved(self, record: Mapping[str, Any], turns: int, place: str) -> tuple[str | None, ...]:
        """Return what was retrieved for each turn and the one after them; () where the task does not ask.

        Raises:
            UserError: as `retrieved_by_turn`.
        """
        if self.retrieval is None:
            return ()
        return retrieved_by_turn(record, self.retrieval.column, turns, place)

    def _spoken(self, turns: list[Turn]) -> tuple[Turn, ...]:
        two = self.config.speakers == "alternate"
        return tuple(alternating([turn.text for turn in turns]) if two else turns)

    def _line(self, line: str, place: str) -> Turn:
        if not self.config.names_speakers:
            return Turn(line.strip())
        if (match := _NAMED_LINE.fullmatch(line)) is None:
            raise UserError(f"{place} is no 'NAME: what is said'; {self._remedy()}.")
        return Turn(match[2], match[1].strip())

    def _turn(self, value: Any, place: str) -> Turn:
        text, speaker = value, None
        if isinstance(value, dict):
            text = next((value[name] for name in _TEXT if name in value), None)
            speaker = next((value[name] for name in _SPEAKER if name in value), None)
        if not isinstance(text, str):
            held = f"has no {quoted(_TEXT)}" if isinstance(value, dict) else f"is {json_type(text)}"
            raise UserError(f"{place} {held}, and so no text; mend the file.")
        if not text.strip():
            raise UserError(f"{place} is empty; mend the file.")
        if not self.config.names_speakers:
            return Turn(text)
        if not isinstance(speaker, str) or not speaker.strip():
            raise UserError(f"{place} does not say who speaks; {self._remedy()}.")
        return Turn(text, speaker.strip())

    def _remedy(self) -> str:
        key = f"{self.where}.conversations.speakers"
        return f"give it a speaker, or set {key} to alternate, if two take turns, or to none"
