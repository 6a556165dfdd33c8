"""Files to predict, read as those were that the task was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, dropwhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

from electra_jax.config.tasks import TaskConfig, TaskKind
from electra_jax.data.sources.compressed import Source, source_name, split_extension
from electra_jax.data.sources.json_lines import json_record
from electra_jax.data.sources.table_rows import repeats_header, rows_of
from electra_jax.data.sources.text import Lines, read_lines
from electra_jax.errors import UserError
from electra_jax.inference.records import Record
from electra_jax.tasks.sources.benchmarks import BENCHMARKS, Columns
from electra_jax.tasks.sources.files import read_json
from electra_jax.tasks.sources.questions import mrqa_questions, squad_questions
from electra_jax.tasks.sources.word_columns import looks_like_columns, word_sentences

_WORD_COLUMNS = (".conll", ".bio", ".iob")
# So much of a file is looked at to tell what it is.
_MAX_LINES = 1000
_MAX_CHARACTERS = 1 << 20

Numbered = Iterator[tuple[int, "dict[str, Any] | UserError"]]
Records = Iterator[Record | UserError]


@dataclass(frozen=True)
class TrainingFileFormat:
    """What is known of the files that a task was trained on.

    Attributes:
        kind: of the task; None where no task is asked.
        names: of the columns "id", "text" and "pair" there.
        takes_pairs: whether a text may have another one beside it.
        labels: classes, or tags, there are.
    """

    kind: TaskKind | None = None
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    takes_pairs: bool = True
    labels: frozenset[str] = frozenset()


def training_file_format(name: str, config: TaskConfig, labels: Iterable[str]) -> TrainingFileFormat:
    """What is known of the files of a task, by its configuration."""
    columns = _benchmark_columns(name, config)
    names = {} if columns is None else {"text": columns.text[0], "pair": columns.pair, "id": columns.id}
    if columns is not None and len(columns.text) > 1:
        del names["text"]  # Two columns that are joined are none of a file to predict.
    own = {key: getattr(config, key, None) for key in ("id", "text", "pair")}
    names |= {key: column for key, column in own.items() if column is not None}
    named = {key: column for key, column in names.items() if isinstance(column, str)}
    is_known = columns is not None or "text" in named
    return TrainingFileFormat(config.kind, named, "pair" in named or not is_known, frozenset(labels))


def _benchmark_columns(name: str, config: TaskConfig) -> Columns | None:
    """The columns of a benchmark's files that have names; None: the task is no benchmark's, or they have none."""
    if config.data is None or name not in BENCHMARKS:
        return None
    benchmark = BENCHMARKS[name]
    if config.data.startswith("tfds:"):
        return benchmark.features
    return next(
        (file.header for file in reversed(list(benchmark.files.values())) if file.header is not None), None
    )


def read_records(source: Source, file_format: TrainingFileFormat = TrainingFileFormat()) -> Records:
    """Yields what is in a file, and of a line that cannot be read what is wrong with it; blank lines are left out.

    The name decides where it says it: .jsonl is an object a line, .csv and .tsv have a first line that names the
    columns, .conll, .bio and .iob a word a line, with or without its tag. Anything else, standard input too, is what
    its first lines show: a table separated by tabs, if they name the text's column as it was called in training; words
    with their tags, for a task that tags; else a text a line, and lines that begin with a brace are objects. The
    .tsv of a task that tags is words unless it names columns. Questions may be in SQuAD's and MRQA's formats.

    Args:
        source: of the bytes.
        trained: what is known of the files that the task was trained on.

    Raises:
        UserError: the file cannot be read, or its first line does not name columns.
    """
    extension = split_extension(source)[0] if isinstance(source, str) else ""
    name = source_name(source)
    tags = file_format.kind == "tagging"
    asks = file_format.kind == "question_answering"
    head, lines = _peeked(read_lines(source), _MAX_LINES if tags else 1)
    if extension == ".csv":
        found = _table(lines, name, tabs=False)
    elif extension == ".tsv" and not (tags and not _names_words(head, file_format)):
        found = _table(lines, name, tabs=True)
    elif extension in (*_WORD_COLUMNS, ".tsv"):
        found = _words(lines, name)
    elif extension == ".json" and asks and isinstance(source, str) and not _is_a_record(head, name):
        found = (_question(*item) for item in enumerate(squad_questions(read_json(Path(source)), name), 1))
    elif extension == ".jsonl":
        found = _objects(lines, name, file_format, may_be_text=False)
    elif tags and looks_like_columns(head, file_format.labels):
        found = _words(lines, name)
    elif file_format.kind in ("classification", "regression") and _names_text(head, file_format):
        found = _table(lines, name, tabs=True)
    else:
        found = _objects(lines, name, file_format, may_be_text=True)
    for record in found:
        yield record if isinstance(record, UserError) else record.named(file_format.names)


def _peeked(lines: Lines, most: int) -> tuple[list[str], Lines]:
    """The first lines that are text, from one that is not empty on, and all lines.

    What reading them raises is raised behind those before it.
    """
    taken: list[tuple[int, str | UserError]] = []
    failed: UserError | None = None
    characters, first = 0, False
    try:
        while (line := next(lines, None)) is not None:
            taken.append(line)
            first = first or bool(line[1])
            characters += len(line[1]) if isinstance(line[1], str) else 1
            if (first and len(taken) >= most) or len(taken) >= _MAX_LINES or characters >= _MAX_CHARACTERS:
                break
    except UserError as error:
        failed = error

    def rest() -> Lines:
        if failed is not None:
            raise failed
        yield from lines

    texts = dropwhile(lambda line: not line, (line for _, line in taken if isinstance(line, str)))
    return list(texts), chain(taken, rest())


def _names_text(head: list[str], file_format: TrainingFileFormat) -> bool:
    """Whether the first line has the column of the text, beside others or as the only one there should be."""
    cells = head[0].split("\t") if head else []
    return file_format.names.get("text") in cells and (len(cells) > 1 or not file_format.takes_pairs)


def _names_words(head: list[str], file_format: TrainingFileFormat) -> bool:
    cells = head[0].split("\t") if head else []
    return any(name in cells for name in ("words", "text", file_format.names.get("text")))


def _is_a_record(head: list[str], name: str) -> bool:
    """Whether the first line is an object with a question, or MRQA's first line, and so not all of SQuAD's file."""
    record = json_record(head[0], name, 1) if head else None
    return isinstance(record, dict) and not record.keys().isdisjoint({"question", "qas", "header"})


def _words(lines: Lines, name: str) -> Records:
    for number, example in word_sentences(lines, name, may_be_hidden=True):
        if isinstance(example, UserError):
            yield example
        else:
            yield Record(f"{name}, line {number}", number, {"words": list(example.words)})


def _objects(lines: Lines, name: str, file_format: TrainingFileFormat, *, may_be_text: bool) -> Records:
    """Objects a line, or texts; of questions, those that an object holds."""
    for number, line in lines:
        if isinstance(line, UserError):
            yield line
            continue
        if not (text := line.strip()):
            continue
        where = f"{name}, line {number}"
        is_object = text.startswith("{") or not may_be_text
        fields = json_record(text if may_be_text else line, name, number) if is_object else {"text": text}
        if isinstance(fields, UserError):
            yield fields
        elif file_format.kind == "question_answering" and is_object:
            yield from _questions(fields, number, where)
        else:
            yield Record(where, number, fields)


def _questions(fields: dict[str, Any], number: int, where: str) -> Records:
    if "question" in fields:
        yield Record(where, number, fields)
        return
    try:
        if isinstance(fields.get("data"), list):
            yield from (_question(number, found) for found in squad_questions(fields, where))
        elif "qas" in fields:
            yield from (_question(number, found) for found in mrqa_questions(fields, where))
        elif "header" not in fields:
            yield Record(where, number, fields)
    except UserError as error:
        yield error


def _question(number: int, found: tuple[str, Mapping[str, Any], str]) -> Record:
    where, question, context = found
    name = question.get("qid", question.get("id"))
    return Record(where, number, {"id": name, "question": question.get("question"), "context": context})


def _table(lines: Lines, name: str, *, tabs: bool) -> Records:
    rows = rows_of(lines, name, tabs=tabs)
    _, names = next(rows, (1, []))
    if isinstance(names, UserError):
        raise names  # without it no row can be understood
    if twice := sorted({column for column in names if names.count(column) > 1}):
        raise UserError(f"{name} has more than one column {twice[0]!r}; rename all but one")
    for number, row in rows:
        where = f"{name}, line {number}"
        if isinstance(row, UserError):
            yield row
        elif len(row) != len(names):
            yield UserError(
                f"{where} has {len(row)} cells where the first line has {len(names)}; mend that line"
            )
        else:
            record = Record(where, number, dict(zip(names, row, strict=True)))
            yield repeats_header(row, names, where) or record
