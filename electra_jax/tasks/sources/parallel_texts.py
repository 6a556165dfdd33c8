"""Texts with what is to be written for them: columns of a table, JSON lines, or two files of parallel lines."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from electra_jax.config.seq2seq import ParallelFiles
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.data.sources.json_lines import json_type
from electra_jax.errors import UserError, quoted
from electra_jax.tasks.protocol import RetrievedExample, Seq2SeqExample
from electra_jax.tasks.sources.files import json_field, numbered_lines, read_json_lines
from electra_jax.tasks.sources.retrieved import check_retrieved, retrieved_text
from electra_jax.tasks.sources.tables import read_cells, table_with_header


def read_parallel_files(
    files: ParallelFiles, where: str, split: str, notes: list[str]
) -> list[Seq2SeqExample]:
    """Read files whose lines belong together; lines that are empty in all of them are left out.

    Args:
        files: with the sources, and with the targets.
        where: name of the section, for messages.
        split: "train", "dev" or "test", whose targets may be missing.
        notes: what was left out is appended, a line each.

    Raises:
        UserError: a file cannot be read, files differ in their number of lines, a line is empty in one of them only.
    """
    paths = [files.source_file, *files.targets]
    if len(paths) == 1 and split != "test":
        raise UserError(
            f"{where}.{split} has no target_file, which it needs: name the file with the {split} targets."
        )
    columns = [list(numbered_lines(Path(path).expanduser())) for path in paths]
    counts = [f"{path} has {len(lines):,} lines" for path, lines in zip(paths, columns, strict=True)]
    if len({len(lines) for lines in columns}) > 1:
        raise UserError(
            f"{where}: {' and '.join(counts)}; lines of the same number belong together, so give files of as many."
        )
    examples: list[Seq2SeqExample] = []
    empty = 0
    for lines in zip(*columns, strict=True):
        texts = [text.strip() for _, text in lines]
        if not any(texts):
            empty += 1
            continue
        for path, (number, _), text in zip(paths, lines, texts, strict=True):
            if not text:
                raise UserError(
                    f"{path}, line {number} is empty, but not the line that belongs to it; mend the file."
                )
        examples.append(Seq2SeqExample(str(len(examples)), texts[0], tuple(texts[1:]) or None))
    if empty:
        notes.append(f"{empty:,} lines of {files.source_file} are left out, since they are empty")
    return examples


def read_columns(
    path: Path, extension: str, config: Seq2SeqConfig, where: str, split: str, notes: list[str]
) -> list[Seq2SeqExample]:
    """Read a table with a header line, or JSON lines.

    Args:
        path: of the file.
        extension: that says which.
        config: section of the task; names the columns.
        where: name of the section, for messages.
        split: "train", "dev" or "test", whose targets may be missing.
        notes: which of several target columns is not there is appended.

    Raises:
        UserError: a column is not named, or not there; a text is empty, or no text.
    """
    targets = [config.target] if isinstance(config.target, str) else list(config.target or ())
    if config.source is None:
        raise UserError(f"{where}.source is not set; name the column of the text that is read.")
    if not targets and split != "test":
        raise UserError(f"{where}.target is not set; name the column of the text to write.")
    hiding: tuple[Any, ...] = ("", []) if split == "test" else ()

    def is_hidden(value: Any) -> bool:
        return (value.strip() if isinstance(value, str) else value) in hiding

    examples: list[Seq2SeqExample] = []
    found: set[str] = set()
    for count, (number, record) in enumerate(_records(path, extension)):
        place = f"{path}, line {number}"
        there = [name for name in targets if not (record.get(name) is None or is_hidden(record[name]))]
        if targets and not there and split != "test":
            if null := [name for name in targets if name in record]:
                raise UserError(f"{place}: {null[0]!r}, the text to write, is null; leave the example out.")
            raise UserError(
                f"{place} has no field {quoted(targets)}, the text to write (it has {quoted(record)}); name its column "
                f"in {where}.target, or mend the file."
            )
        if config.source not in record:
            raise UserError(
                f"{place} has no field {config.source!r}, the text that is read (it has {quoted(record)}); name its "
                f"column in {where}.source, or mend the file."
            )
        found.update(there)
        source = json_field(record, config.source, str, place)
        wanted = [text for name in there for text in _texts(record[name], name, place)]
        known = (_identifier(record, config.id, count, place), source, tuple(wanted) or None)
        if config.retrieval is None:
            examples.append(Seq2SeqExample(*known))
        else:
            examples.append(RetrievedExample(*known, retrieved_text(record, config.retrieval.column, place)))
    if config.retrieval is not None:
        check_retrieved(examples, config.retrieval, where, path)
    absent = [name for name in targets if name not in found]
    if found and absent:
        kept = [name for name in targets if name in found]
        notes.append(f"no line of {path} has {quoted(absent)}, so its targets are {quoted(kept)} alone")
    return examples


def _records(path: Path, extension: str) -> Iterator[tuple[int, dict[str, Any]]]:
    if extension == ".jsonl":
        yield from read_json_lines(path)
        return
    table = table_with_header(path, read_cells(path))
    for number, row in table.rows:
        yield number, dict(zip(table.names or (), row, strict=True))


def _texts(value: Any, name: str, place: str) -> Sequence[str]:
    values = value if isinstance(value, list) else [value]
    for text in values:
        if not isinstance(text, str):
            raise UserError(f"{place}: {name!r} holds {json_type(text)} and not text; mend the file.")
        if not text.strip():
            raise UserError(f"{place}: {name!r}, the text to write, is empty; leave the example out.")
    if not values:
        raise UserError(f"{place}: {name!r} is a list without texts; leave the example out.")
    return values


def _identifier(record: dict[str, Any], name: str | None, count: int, place: str) -> str:
    if name is None:
        return str(count)
    value = record.get(name)
    return str(value) if isinstance(value, int) else str(json_field(record, name, str, place))


def training_texts(examples: Sequence[Seq2SeqExample]) -> Callable[[], Iterator[str]]:
    """Return what gives all texts of examples, from which a vocabulary for both sides can be trained."""

    def texts() -> Iterator[str]:
        for example in examples:
            yield example.source
            yield from example.targets or ()

    return texts
