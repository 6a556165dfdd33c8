"""Texts alone, to be told from each other: plain text, a text a line, or a column of a file."""

from pathlib import Path

from electra_jax.errors import UserError, quoted
from electra_jax.tasks.protocol import RankingExample
from electra_jax.tasks.sources.choices import identifier
from electra_jax.tasks.sources.files import json_field, numbered_lines
from electra_jax.tasks.sources.records import records_of

_KNOWN = ("context", "text", "sentence", "anchor")


def read_texts_alone(
    path: Path, extension: str, column: str | None, name: str | None
) -> list[RankingExample]:
    """Return each text as a context whose right candidate it is itself; blank ones are left out.

    Args:
        path: of the file.
        extension: .txt has a text a line, other files columns.
        column: of the text; None: context, text, sentence or anchor.
        name: column of the identifier; None: the number of the text.

    Raises:
        UserError: a record without such a text.
    """
    if extension == ".txt":
        texts = [(str(number), line) for number, line in numbered_lines(path)]
    else:
        texts = []
        for count, (place, record) in enumerate(records_of(path, extension)):
            known = _KNOWN if column is None else (column,)
            found = next((one for one in known if one in record), None)
            if found is None:
                raise UserError(f"{place} has no field {quoted(known)}, the text (it has {quoted(record)})")
            texts.append((identifier(record, name, count, place), json_field(record, found, str, place)))
    return [RankingExample(number, text, (text,), (0,)) for number, text in texts if text.strip()]
