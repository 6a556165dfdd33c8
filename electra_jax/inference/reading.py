"""Reading files to predict as the files were read that the task was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count, dropwhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

from electra_jax.config.ranking_task import RankingConfig
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.config.task import TaskConfig, TaskKind
from electra_jax.config.tasks import MultipleChoiceConfig
from electra_jax.data.sources.compressed import Source, source_name, split_extension
from electra_jax.data.sources.json_lines import json_record
from electra_jax.data.sources.table_rows import repeats_header, rows_of
from electra_jax.data.sources.text import Lines, read_lines
from electra_jax.errors import UserError
from electra_jax.inference.conversations import with_sources
from electra_jax.inference.records import Record
from electra_jax.tasks.protocol import RankingExample
from electra_jax.tasks.sources.benchmarks import BENCHMARKS, Columns
from electra_jax.tasks.sources.choices import ChoiceReader, choice_reader
from electra_jax.tasks.sources.conversations import ConversationReader
from electra_jax.tasks.sources.files import read_json
from electra_jax.tasks.sources.questions import mrqa_questions, squad_questions
from electra_jax.tasks.sources.rankings import RankingReader
from electra_jax.tasks.sources.records import json_objects
from electra_jax.tasks.sources.word_columns import looks_like_columns, word_sentences

_WORD_COLUMNS = (".conll", ".bio", ".iob")
# How much of a file is looked at to detect its format.
_MAX_LINES = 1000
_MAX_CHARACTERS = 1 << 20

Numbered = Iterator[tuple[int, "dict[str, Any] | UserError"]]
Records = Iterator[Record | UserError]


@dataclass(frozen=True)
class TrainingFileFormat:
    """The format of the files that a task was trained on, as far as it is known.

    Attributes:
        kind: of the task; None where there is no task.
        names: the names of the columns "id", "text" and "pair" in those files.
        takes_pairs: whether a text may have a second one.
        labels: classes, or tags, of the task.
        choices: how records with options or candidates are read; None where the task has none.
        conversations: how records with turns are read; None where the task has none.
    """

    kind: TaskKind | None = None
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    takes_pairs: bool = True
    labels: frozenset[str] = frozenset()
    choices: ChoiceReader | RankingReader | None = None
    conversations: ConversationReader | None = None


def training_file_format(name: str, config: TaskConfig, labels: Iterable[str]) -> TrainingFileFormat:
    """Return the format of the files that a task was trained on, from its configuration."""
    columns = _benchmark_columns(name, config)
    names = {} if columns is None else {"text": columns.text[0], "pair": columns.pair, "id": columns.id}
    if columns is not None and len(columns.text) > 1:
        del names["text"]  # Files to predict have one column for a text that training joins from two.
    own = {key: getattr(config, key, None) for key in ("id", "text", "pair")}
    own["text"] = own["text"] or getattr(config, "source", None)
    names |= {key: column for key, column in own.items() if column is not None}
    named = {key: column for key, column in names.items() if isinstance(column, str)}
    is_known = columns is not None or "text" in named
    choices: ChoiceReader | RankingReader | None = None
    if isinstance(config, RankingConfig):
        choices = RankingReader(config, f"finetune.tasks.{name}")
    if isinstance(config, MultipleChoiceConfig):
        choices = choice_reader(config, f"finetune.tasks.{name}")
    conversations = None
    if isinstance(config, Seq2SeqConfig | RankingConfig) and config.conversations is not None:
        retrieval = config.retrieval if isinstance(config, Seq2SeqConfig) else None
        conversations = ConversationReader(
            config.conversations, config.id, f"finetune.tasks.{name}", retrieval
        )
    takes_pairs = "pair" in named or not is_known
    return TrainingFileFormat(config.kind, named, takes_pairs, frozenset(labels), choices, conversations)


def _benchmark_columns(name: str, config: TaskConfig) -> Columns | None:
    """Return the named columns of a benchmark's files; None if the task is not a benchmark or they have no names."""
    if config.data is None or name not in BENCHMARKS:
        return None
    benchmark = BENCHMARKS[name]
    if config.data.startswith("tfds:"):
        return benchmark.features
    return next(
        (file.header for file in reversed(list(benchmark.files.values())) if file.header is not None), None
    )


def read_records(source: Source, file_format: TrainingFileFormat = TrainingFileFormat()) -> Records:
    """Yield the records of a file, and for a line that cannot be read its error; blank lines are skipped.

    The extension decides if it is one of these: .jsonl has an object per line, .csv and .tsv a first line that names
    the columns, .conll, .bio and .iob a word per line, with or without its tag. For anything else, and for standard
    input, the first lines decide: a table separated by tabs, if they name the column of the text as in training; words
    with their tags, for a tagging task; else a text per line, where lines that begin with a brace are objects. The .tsv
    of a tagging task is words unless it names columns. Questions may be in the formats of SQuAD and MRQA.

    Args:
        source: of the bytes.
        file_format: of the files that the task was trained on.

    Raises:
        UserError: the file cannot be read, or its first line does not name columns.
    """
    extension = split_extension(source)[0] if isinstance(source, str) else ""
    name = source_name(source)
    is_tagging = file_format.kind == "tagging"
    is_question_answering = file_format.kind == "question_answering"
    head, lines = _peek(read_lines(source), _MAX_LINES if is_tagging else 1)
    if extension == ".csv":
        found = _read_table(lines, name, tabs=False)
    elif extension == ".tsv" and not (is_tagging and not _header_has_words(head, file_format)):
        found = _read_table(lines, name, tabs=True)
    elif extension in (*_WORD_COLUMNS, ".tsv"):
        found = _read_words(lines, name)
    elif (
        extension == ".json"
        and is_question_answering
        and isinstance(source, str)
        and not _is_a_record(head, name)
    ):
        found = (
            _question_record(*item) for item in enumerate(squad_questions(read_json(Path(source)), name), 1)
        )
    elif (
        extension == ".json"
        and (file_format.choices or file_format.conversations or (head and head[0].startswith("[")))
        and isinstance(source, str)
    ):
        objects = json_objects(read_json(Path(source)), name)
        found = (Record(f"{name}, item {number}", number, fields) for number, fields in objects)
    elif extension == ".jsonl":
        found = _read_objects(lines, name, file_format, may_be_text=False)
    elif is_tagging and looks_like_columns(head, file_format.labels):
        found = _read_words(lines, name)
    elif (
        file_format.kind in ("classification", "regression", "seq2seq")
        and _header_has_text(head, file_format)
    ) or (file_format.choices is not None and file_format.conversations is None and _is_header(head)):
        found = _read_table(lines, name, tabs=True)
    else:
        found = _read_objects(lines, name, file_format, may_be_text=True)
    if file_format.conversations is not None:
        names = ("context", "text") if file_format.kind == "ranking" else ("text", "prompt")
        found = with_sources(found, file_format.conversations, names)
    if file_format.choices is not None:
        found = _each_choice(found, file_format.choices)
    for record in found:
        yield record if isinstance(record, UserError) else record.with_names(file_format.names)


def _each_choice(records: Records, reader: ChoiceReader | RankingReader) -> Records:
    """Yield ``id``, ``context`` and ``question`` with ``options``, or with ``candidates``, whatever files call them."""
    for record in records:
        if isinstance(record, UserError):
            yield record
            continue
        column = reader.config.id if isinstance(reader, RankingReader) else reader.columns.id
        own = column is None and not isinstance(record.fields.get("questions"), list)
        given = {"id": record.fields["id"]} if own and "id" in record.fields else {}
        several = isinstance(record.fields.get("questions"), list) and "id" not in record.fields
        numbers = count()
        try:
            for found in reader.read(record.fields, record.where, record.number, may_be_hidden=True):
                if several:
                    given = {"id": f"{record.number}-{next(numbers)}"}
                fields: dict[str, Any] = {"id": found.id, "context": found.context}
                if isinstance(found, RankingExample):
                    fields["candidates"] = list(found.candidates)
                else:
                    fields |= {"question": found.question, "options": list(found.options)}
                yield Record(record.where, record.number, {**fields, **given})
        except UserError as error:
            yield error


def _peek(lines: Lines, most: int) -> tuple[list[str], Lines]:
    """Return the first lines that are text, beginning with one that is not empty, and an iterator of all lines.

    An error in reading them is raised by the iterator, after the lines before it.
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


def _header_has_text(head: list[str], file_format: TrainingFileFormat) -> bool:
    """Return whether the first line names the column of the text, beside others or as the only column."""
    cells = head[0].split("\t") if head else []
    return file_format.names.get("text") in cells and (len(cells) > 1 or not file_format.takes_pairs)


def _is_header(head: list[str]) -> bool:
    return bool(head) and "\t" in head[0] and not head[0].startswith("{")


def _header_has_words(head: list[str], file_format: TrainingFileFormat) -> bool:
    cells = head[0].split("\t") if head else []
    return any(name in cells for name in ("words", "text", file_format.names.get("text")))


def _is_a_record(head: list[str], name: str) -> bool:
    """Return whether the first line is an object with a question or MRQA's header, and so not all of a SQuAD file."""
    record = json_record(head[0], name, 1) if head else None
    return isinstance(record, dict) and not record.keys().isdisjoint({"question", "qas", "header"})


def _read_words(lines: Lines, name: str) -> Records:
    for number, example in word_sentences(lines, name, may_be_hidden=True):
        if isinstance(example, UserError):
            yield example
        else:
            yield Record(f"{name}, line {number}", number, {"words": list(example.words)})


def _read_objects(lines: Lines, name: str, file_format: TrainingFileFormat, *, may_be_text: bool) -> Records:
    """Yield an object or a text per line; for questions, all that an object holds."""
    for number, line in lines:
        if isinstance(line, UserError):
            yield line
            continue
        if not (text := line.strip()):
            continue
        where = f"{name}, line {number}"
        is_object = text.startswith("{") or not may_be_text
        fields = json_record(text if may_be_text else line, name, number) if is_object else {"text": line}
        if isinstance(fields, UserError):
            yield fields
        elif file_format.kind == "question_answering" and is_object:
            yield from _read_questions(fields, number, where)
        else:
            yield Record(where, number, fields)


def _read_questions(fields: dict[str, Any], number: int, where: str) -> Records:
    if "question" in fields:
        yield Record(where, number, fields)
        return
    try:
        if isinstance(fields.get("data"), list):
            yield from (_question_record(number, found) for found in squad_questions(fields, where))
        elif "qas" in fields:
            yield from (_question_record(number, found) for found in mrqa_questions(fields, where))
        elif "header" not in fields:
            yield Record(where, number, fields)
    except UserError as error:
        yield error


def _question_record(number: int, found: tuple[str, Mapping[str, Any], str]) -> Record:
    where, question, context = found
    name = question.get("qid", question.get("id"))
    return Record(where, number, {"id": name, "question": question.get("question"), "context": context})


def _read_table(lines: Lines, name: str, *, tabs: bool) -> Records:
    rows = rows_of(lines, name, tabs=tabs)
    _, names = next(rows, (1, []))
    if isinstance(names, UserError):
        raise names  # without the header no row can be read
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
