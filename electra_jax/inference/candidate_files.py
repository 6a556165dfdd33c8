"""Files of candidates: a text a line, JSON lines, a list in JSON, or a table."""

from collections.abc import Iterator
from pathlib import Path

from electra_jax.data.sources.compressed import Source, source_name, split_extension
from electra_jax.data.sources.json_lines import json_type
from electra_jax.errors import UserError
from electra_jax.inference.reading import read_records
from electra_jax.inference.records import Record
from electra_jax.retrieval.candidates import Candidate
from electra_jax.tasks.sources.files import read_json

# The fields of JSON lines and tables that a candidate may be in, the first of them that is there.
FIELDS = ("text", "candidate", "response", "positive")


def read_candidates(source: Source) -> tuple[list[Candidate], int]:
    """Read candidates, of equal texts the first alone.

    Their ids are the field ``id``, or the number of the line as text. Blank lines are left out.

    Args:
        source: of the bytes; files are read as `read_records` says.

    Returns:
        the candidates, and how many texts were there already.

    Raises:
        UserError: the file cannot be read, is not text, or has no candidates.
    """
    found: dict[str, Candidate] = {}
    count = 0
    for record in _records(source):
        name = next((name for name in FIELDS if name in record.fields), FIELDS[0])
        text = record.text(name)
        if not text.strip():
            raise UserError(f"{record.where}: the candidate is empty; leave the line out, or give it a text")
        count += 1
        if text not in found:
            found[text] = Candidate(record.id, text)
    if not found:
        raise UserError(f"{source_name(source)} is empty: it must have candidates, a text a line")
    return list(found.values()), count - len(found)


def _records(source: Source) -> Iterator[Record]:
    if isinstance(source, str) and split_extension(source)[0] == ".json":
        yield from _json_records(Path(source))
        return
    for record in read_records(source):
        if isinstance(record, UserError):
            raise record
        yield record


def _json_records(path: Path) -> Iterator[Record]:
    """Yield the texts or objects of a JSON file, which is a list of them."""
    value = read_json(path)
    if not isinstance(value, list):
        raise UserError(f"{path} is {json_type(value)} and not a list of candidates; mend the file.")
    for number, item in enumerate(value, 1):
        fields = {"text": item} if isinstance(item, str) else item
        if not isinstance(fields, dict):
            raise UserError(f"{path}: item {number} is {json_type(item)} and not a candidate; mend the file.")
        yield Record(f"{path}, item {number}", number, fields)
