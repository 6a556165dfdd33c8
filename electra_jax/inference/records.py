"""Records to predict, as a file has them: texts, pairs, words, questions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from electra_jax.data.sources.json_lines import json_type
from electra_jax.errors import UserError, quoted

_OWN_NAMES = ("text", "pair")


@dataclass(frozen=True)
class Record:
    """One item to predict, as a file has it.

    Attributes:
        where: file and line, for messages.
        number: of the line.
        fields: by name; a line of plain text is one field, ``text``.
        names: other names that fields may have: those in the files that the task was trained on.
    """

    where: str
    number: int
    fields: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> Any:
        """The field ``id``, or the number of the line as text.

        Raises:
            UserError: JSON cannot represent it.
        """
        found = self._field("id")
        if found is None:
            return str(self.number)
        try:
            json.dumps(found, allow_nan=False)
        except ValueError as error:
            raise UserError(
                f"{self.where}: the field 'id' is {found}, which JSON cannot spell; mend it"
            ) from error
        return found

    @property
    def size(self) -> int:
        """About how many characters it has."""
        return sum(len(value) for value in self.fields.values() if isinstance(value, str | list))

    def with_names(self, names: Mapping[str, str]) -> Record:
        """Return the record with other names that its fields may have."""
        return replace(self, names=names)

    def text(self, name: str) -> str:
        """Return a field that must be present and be text.

        Raises:
            UserError: it is not.
        """
        value = self._field(name)
        if value is None and self._field_name(name) not in self.fields:
            raise UserError(f"{self.where} has no {name!r}, which is needed (there is {quoted(self.fields)})")
        if not isinstance(value, str):
            raise UserError(
                f"{self.where}: the field {self._field_name(name)!r} is {json_type(value)} and not text"
            )
        return value

    def text_or_pair(self) -> str | tuple[str, str]:
        """Return the field ``text``, with ``pair`` if there is one.

        Raises:
            UserError: they are not text.
        """
        first = self.text("text")
        return first if self._field("pair") is None else (first, self.text("pair"))

    def words(self) -> str | list[str]:
        """Return the field ``words``, a list or a text to be split, or ``text`` if there is none.

        Raises:
            UserError: they are something else.
        """
        name = "text" if self.fields.get("words") is None or self._has_training_names else "words"
        found = self._field(name)
        if not isinstance(found, list):
            return self.text(name)
        for word in found:
            if not isinstance(word, str):
                raise UserError(
                    f"{self.where}: {self._field_name(name)!r} holds {json_type(word)} ({word!r}) and not text alone"
                )
        return found

    def _field_name(self, name: str) -> str:
        trained = self.names.get(name, name)
        free = name not in self.fields and trained not in _OWN_NAMES
        return trained if trained in self.fields and (free or self._has_training_names) else name

    @property
    def _has_training_names(self) -> bool:
        """Whether it has all the names that the texts had in training."""
        needed = [self.names[name] for name in _OWN_NAMES if name in self.names]
        return bool(needed) and all(name in self.fields for name in needed)

    def _field(self, name: str) -> Any:
        return self.fields.get(self._field_name(name))


def begun(chunks: Iterator[list[Record | UserError]], on_error: str) -> Iterator[list[Record | UserError]]:
    """Return chunks of which the first is read already, so that a bad start is refused before any model is.

    Raises:
        UserError: reading failed, or with "stop" the first record.
    """
    first = next(chunks, [])
    if on_error == "stop" and first and isinstance(first[0], UserError):
        raise first[0]
    return chain([first], chunks)


def chunk_records(
    records: Iterator[Record | UserError], most: int = 4096, most_characters: int = 1 << 24
) -> Iterator[list[Record | UserError]]:
    """Yield records in lists that are bounded in number and in characters.

    Raises:
        UserError: what reading raised; the records before it have been yielded.
    """
    chunk: list[Record | UserError] = []
    characters = 0
    failed: UserError | None = None
    while failed is None:
        try:
            record = next(records, None)
        except UserError as error:
            record, failed = None, error
        if record is not None:
            chunk.append(record)
            characters += record.size if isinstance(record, Record) else 0
        if chunk and (record is None or len(chunk) == most or characters >= most_characters):
            yield chunk
            chunk, characters = [], 0
        if record is None:
            break
    if failed is not None:
        raise failed


def extract_inputs(
    records: list[Record | UserError], extract: Callable[[Record], Any]
) -> Iterator[tuple[Any, Any] | UserError]:
    """Yield the identifier and the model's input for each record, or what is wrong with it."""
    for record in records:
        if isinstance(record, UserError):
            yield record
            continue
        try:
            yield record.id, extract(record)
        except UserError as error:
            yield error
