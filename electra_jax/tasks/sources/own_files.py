"""The user's own files: tables, JSON lines, columns of words, the formats of SQuAD and MRQA."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from electra_jax.config.task import TaskConfig, TaskKind
from electra_jax.config.tasks import ClassificationConfig, ColumnsConfig, TaggingConfig, TextsConfig
from electra_jax.data.sources.compressed import split_extension
from electra_jax.errors import UserError, quoted
from electra_jax.tasks.protocol import Example, Label, SourceLocation, TextExample, WordsExample
from electra_jax.tasks.sources.benchmarks import Columns
from electra_jax.tasks.sources.choices import read_choices
from electra_jax.tasks.sources.files import json_field, read_json_lines
from electra_jax.tasks.sources.labels import (
    SEPARATOR,
    label_list_reader,
    label_reader,
    padding_notes,
    strip_label,
)
from electra_jax.tasks.sources.parallel_texts import read_columns
from electra_jax.tasks.sources.questions import read_mrqa, read_squad
from electra_jax.tasks.sources.rankings import read_rankings
from electra_jax.tasks.sources.tables import read_cells, table_with_header, text_examples
from electra_jax.tasks.sources.word_columns import read_word_columns

_TABLES = (".csv", ".tsv", ".txt", ".jsonl")
FORMATS = {
    "classification": _TABLES,
    "regression": _TABLES,
    "tagging": (".txt", ".conll", ".bio", ".iob", ".tsv", ".jsonl"),
    "question_answering": (".json", ".jsonl"),
    "multiple_choice": (*_TABLES, ".json"),
    "ranking": (*_TABLES, ".json"),
    "seq2seq": _TABLES,
}


def read_own_file(path: Path, config: TaskConfig, where: str, split: str, notes: list[str]) -> list[Example]:
    """Read the examples of a file; its extension tells the format.

    Texts are read from .csv (quoted as spreadsheets do), .tsv and .txt (separated by tabs, quotes are literal), all
    with a first line that names the columns, and from .jsonl; words from .txt, .conll, .bio, .iob and .tsv (a word per
    line, its tag last) and .jsonl (two lists); questions from .json (SQuAD) and .jsonl (MRQA); options and
    candidates from tables, .jsonl and .json. Each may be compressed as .gz, .xz, .zst or .bz2.

    Args:
        path: of the file.
        config: section of the task; names the columns.
        where: name of the section, for messages.
        split: "train", "dev" or "test", whose labels may be missing.
        notes: what was left out is appended, a line each.

    Raises:
        UserError: the file or its format does not exist, or the file is not as its format and the configuration say.
    """
    extension = checked_extension(path, config.kind, FORMATS[config.kind], where)
    return list(_READERS[config.kind](path, extension, config, where, split, notes))


def checked_extension(path: Path, kind: str, formats: Sequence[str], where: str) -> str:
    """Return the extension of a file that exists, without that of its compression.

    Args:
        path: of the file.
        kind: what it is read for, for the message.
        formats: the extensions that it may have.
        where: name of the section, for messages.

    Raises:
        UserError: there is no such file, or it has another extension.
    """
    if not path.is_file():
        problem = "is not a file" if path.exists() else "does not exist"
        problem = "is a folder" if path.is_dir() else problem
        beside = sorted(e.name for e in path.parent.iterdir() if e.is_file()) if path.parent.is_dir() else []
        raise UserError(f"{where}: {path} {problem}; files beside it: {quoted(beside)}.")
    extension = split_extension(str(path))[0]
    if extension not in formats:
        raise UserError(
            f"{where}: {path} is not a file {kind} can be read from; give {', '.join(formats)}, or one of these packed "
            "as .gz, .xz, .zst or .bz2."
        )
    return extension


def _questions(
    path: Path, extension: str, config: TaskConfig, where: str, split: str, notes: list[str]
) -> Iterable[Example]:
    _refuse_columns(config, where, path)
    return (read_squad if extension == ".json" else read_mrqa)(path, split, notes)


def _refuse_columns(config: TaskConfig, where: str, path: Path) -> None:
    """Refuse names of columns where no file has any."""
    files = [str(file) for file in (config.train, config.dev, config.test) if file is not None]
    if config.kind == "tagging" and any(split_extension(file)[0] == ".jsonl" for file in files):
        return
    for key in ("id", "text", "label"):
        if (name := getattr(config, key, None)) is not None:
            raise UserError(
                f"{where}.{key} is {name!r}, but {path} is of a format without names of columns; leave it out."
            )


def _words(
    path: Path, extension: str, config: TaggingConfig, where: str, split: str, notes: list[str]
) -> Iterable[Example]:
    is_test = split == "test"
    padded: list[str] = []
    if extension == ".jsonl":
        examples = _word_records(path, _columns(config, where, needs_label=not is_test), is_test, padded)
    else:
        _refuse_columns(config, where, path)
        examples = read_word_columns(path, may_be_hidden=is_test, padded=padded)
    notes += padding_notes(path, padded)
    return examples


def _texts_with_labels(
    path: Path, extension: str, config: TextsConfig, where: str, split: str, notes: list[str]
) -> Iterable[Example]:
    is_test = split == "test"
    columns = _columns(config, where, needs_label=not is_test)
    padded: list[str] = []
    several = isinstance(config, ClassificationConfig) and config.multi_label
    read_label = _label_reader(config, is_test, padded)
    if extension == ".jsonl":
        examples = _text_records(path, columns, read_label, is_test)
    else:
        table = table_with_header(path, read_cells(path))
        if is_test and columns.label not in (table.names or ()):
            columns = replace(columns, label=None)
        examples = text_examples(table, columns, read_label)
        if several and is_test and not any(example.label for example in examples):
            # An empty cell is a text without labels; if all cells are empty, the labels are hidden.
            examples = [replace(example, label=None) for example in examples]
    notes += padding_notes(path, padded)
    return examples


_READERS: Mapping[TaskKind, Callable[[Path, str, Any, str, str, list[str]], Iterable[Example]]] = (
    MappingProxyType(
        {
            "classification": _texts_with_labels,
            "regression": _texts_with_labels,
            "tagging": _words,
            "question_answering": _questions,
            "multiple_choice": read_choices,
            "ranking": read_rankings,
            "seq2seq": read_columns,
        }
    )
)


def _label_reader(config: TextsConfig, is_test: bool, padded: list[str]) -> Callable[[Any, str], Label]:
    if isinstance(config, ClassificationConfig) and config.multi_label:
        return label_list_reader(config.label_separator or SEPARATOR, may_be_hidden=is_test, padded=padded)
    return label_reader(config.kind, {}, may_be_hidden=is_test, padded=padded)


def _columns(config: ColumnsConfig, where: str, *, needs_label: bool) -> Columns:
    if config.text is None:
        raise UserError(f"{where}.text is not set; name the column of the text.")
    if config.label is None and needs_label:
        raise UserError(f"{where}.label is not set; name the column of the label.")
    pair = config.pair if isinstance(config, TextsConfig) else None
    return Columns((config.text,), pair, config.label, config.id)


def _text_records(
    path: Path, columns: Columns, read_label: Callable[[Any, str], Label], is_test: bool
) -> list[TextExample]:
    (text,), pair, label, name = columns.text, columns.pair, columns.label, columns.id
    examples = []
    for count, (number, record) in enumerate(read_json_lines(path)):
        where = f"{path}, line {number}"
        if label is not None and label not in record and not is_test:
            raise UserError(f"{where} has no field {label!r}, the label (it has {quoted(record)}).")
        examples.append(
            TextExample(
                id=_identifier(record, name, count, where),
                text=json_field(record, str(text), str, where),
                pair=None if pair is None else json_field(record, str(pair), str, where),
                label=None if label not in record else read_label(record[str(label)], where),
            )
        )
    return examples


def _word_records(path: Path, columns: Columns, is_test: bool, padded: list[str]) -> list[WordsExample]:
    examples = []
    for count, (number, record) in enumerate(read_json_lines(path)):
        where = f"{path}, line {number}"
        words = _text_list(record, str(columns.text[0]), where)
        if not words:
            raise UserError(f"{where} has no words in {columns.text[0]!r}; leave it out.")
        tags = None
        if columns.label is not None and not (is_test and record.get(str(columns.label)) is None):
            spelled = _text_list(record, str(columns.label), where)
            tags = tuple(strip_label(tag) for tag in spelled)
            padded += [where] * sum(tag != bare for tag, bare in zip(spelled, tags, strict=True))
            if len(tags) != len(words):
                raise UserError(
                    f"{where} has {len(words)} words and {len(tags)} tags; give one tag for every word."
                )
        name = _identifier(record, columns.id, count, where)
        examples.append(WordsExample(name, words, tags, SourceLocation(str(path), number)))
    return examples


def _text_list(record: dict[str, Any], name: str, where: str) -> tuple[str, ...]:
    values = json_field(record, name, list, where)
    for value in values:
        if not isinstance(value, str):
            raise UserError(f"{where}: {name!r} holds {value!r}, which is not text; mend the file.")
    return tuple(values)


def _identifier(record: dict[str, Any], name: str | int | None, count: int, where: str) -> str:
    if name is None:
        return str(count)
    if isinstance(record.get(str(name)), int):
        return str(record[str(name)])
    return json_field(record, str(name), str, where)
