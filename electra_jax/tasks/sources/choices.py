"""A context with options: columns of one's own, and the official files of MuTual, SWAG, COPA and RACE.

MuTual (Cui et al. 2020) and RACE (Lai et al. 2017) publish an object a file: ``article``, ``options`` and ``answers``,
RACE with a list of ``questions`` and so of everything but the article. SWAG (Zellers et al. 2018) is a table, whose
options continue ``sent2``; COPA (Roemmele et al. 2011) is SuperGLUE's JSON lines, which ask for cause or effect.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from electra_jax.config.tasks import ChoiceFormat, MultipleChoiceConfig
from electra_jax.data.sources.json_lines import json_type
from electra_jax.errors import UserError, quoted
from electra_jax.tasks.protocol import ChoiceExample
from electra_jax.tasks.sources.files import json_field
from electra_jax.tasks.sources.records import records_of

_COPA_QUESTIONS = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}


@dataclass(frozen=True)
class ChoiceColumns:
    """Where in a record the parts of an example are.

    Attributes:
        context: the column of the context.
        question: that of the question; None where there is none.
        options: that of the list of options, or those of one option each.
        label: that of the right one.
        id: that of the identifier; None: the number of the row.
        may_lack_question: whether records may be without the question.
    """

    context: str
    question: str | None
    options: tuple[str, ...]
    label: str
    id: str | None = None
    may_lack_question: bool = False


_OFFICIAL: Mapping[str, ChoiceColumns] = MappingProxyType(
    {
        "mutual": ChoiceColumns("article", None, ("options",), "answers"),
        "race": ChoiceColumns("article", "questions", ("options",), "answers"),
        "swag": ChoiceColumns("sent1", "sent2", tuple(f"ending{n}" for n in range(4)), "label"),
        "copa": ChoiceColumns("premise", "question", ("choice1", "choice2"), "label"),
    }
)
# A record is of the first format whose columns it has.
_RECOGNISED: Mapping[ChoiceFormat, frozenset[str]] = MappingProxyType(
    {
        "race": frozenset({"article", "options", "questions"}),
        "mutual": frozenset({"article", "options"}),
        "swag": frozenset({"sent1", "sent2", "ending0"}),
        "copa": frozenset({"premise", "choice1", "choice2"}),
    }
)


@dataclass(frozen=True)
class ChoiceReader:
    """Reads records as the section of a task says.

    Attributes:
        format: of the files; None: each record is recognised by its columns.
        columns: those of one's own files.
        where: name of the section, for messages.
    """

    format: ChoiceFormat | None
    columns: ChoiceColumns
    where: str

    def read(
        self, record: Mapping[str, Any], place: str, count: int, *, may_be_hidden: bool
    ) -> Iterator[ChoiceExample]:
        """Yield the examples of a record, one for each question.

        Args:
            record: fields by name.
            place: file and line, for messages.
            count: of the examples before it, which is the identifier where there is none.
            may_be_hidden: whether the right option may be missing.

        Raises:
            UserError: a field that is missing, or not what it must be.
        """
        format = self.format or recognised_format(record)
        if format == "race":
            yield from _race(record, place, count, may_be_hidden=may_be_hidden)
            return
        columns = _OFFICIAL.get(format, self.columns)
        yield self._example(record, columns, place, count, may_be_hidden=may_be_hidden, copa=format == "copa")

    def _example(
        self,
        record: Mapping[str, Any],
        columns: ChoiceColumns,
        place: str,
        count: int,
        *,
        may_be_hidden: bool,
        copa: bool,
    ) -> ChoiceExample:
        if columns.context not in record:
            raise UserError(
                f"{place} has no field {columns.context!r}, the context (it has {quoted(record)}); name its column in "
                f"{self.where}.context, or mend the file."
            )
        context = json_field(record, columns.context, str, place)
        question = ""
        if columns.question is not None and not (
            columns.may_lack_question and record.get(columns.question) is None
        ):
            question = json_field(record, columns.question, str, place)
        if copa:
            if question not in _COPA_QUESTIONS:
                raise UserError(
                    f"{place}: 'question' is {question!r}, but must be cause or effect; mend the file."
                )
            question = _COPA_QUESTIONS[question]
        options = _options(record, columns.options, place)
        return ChoiceExample(
            id=identifier(record, columns.id, count, place),
            context=context,
            options=options,
            question=question,
            answer=answer_number(
                record.get(columns.label), columns.label, len(options), place, may_be_hidden
            ),
        )


def choice_reader(config: MultipleChoiceConfig, where: str) -> ChoiceReader:
    """Return what reads the records of a task's files."""
    options = config.options or "options"
    columns = ChoiceColumns(
        context=config.context or "context",
        question=config.question or "question",
        options=(options,) if isinstance(options, str) else tuple(options),
        label=config.label or "label",
        id=config.id,
        may_lack_question=config.question is None,
    )
    named = any((config.context, config.question, config.options, config.label, config.id))
    return ChoiceReader(config.format or ("columns" if named else None), columns, where)


def read_choices(
    path: Path, extension: str, config: MultipleChoiceConfig, where: str, split: str, notes: list[str]
) -> list[ChoiceExample]:
    """Read a table with a header line, JSON lines, or a JSON file with one object or a list of them.

    Args:
        path: of the file.
        extension: that says which.
        config: section of the task.
        where: name of the section, for messages.
        split: "train", "dev" or "test", whose answers may be missing.
        notes: nothing is appended.

    Raises:
        UserError: a column that is not there; options or a right one that are none.
    """
    del notes
    reader = choice_reader(config, where)
    examples: list[ChoiceExample] = []
    for place, record in records_of(path, extension):
        examples += reader.read(record, place, len(examples), may_be_hidden=split == "test")
    return examples


def recognised_format(record: Mapping[str, Any]) -> ChoiceFormat:
    """Return the published format whose columns a record has, or "columns"."""
    return next((name for name, columns in _RECOGNISED.items() if columns <= record.keys()), "columns")


def _race(
    record: Mapping[str, Any], place: str, count: int, *, may_be_hidden: bool
) -> Iterator[ChoiceExample]:
    """Yield an example for each question about a passage."""
    context = json_field(record, "article", str, place)
    questions, options = (json_field(record, name, list, place) for name in ("questions", "options"))
    answers = record.get("answers")
    if answers is None and may_be_hidden:
        answers = [None] * len(questions)
    if not isinstance(answers, list) or not len(questions) == len(options) == len(answers):
        raise UserError(
            f"{place} must have as many 'questions', 'options' and 'answers', in lists; mend the file."
        )
    name = record.get("id")
    for number, (question, some, answer) in enumerate(zip(questions, options, answers, strict=True)):
        at = f"{place}, question {number + 1}"
        if not isinstance(question, str) or not isinstance(some, list):
            raise UserError(f"{at} is no text with a list of options; mend the file.")
        checked = _checked_options(some, at)
        yield ChoiceExample(
            id=str(count + number) if name is None else f"{name}-{number}",
            context=context,
            options=checked,
            question=question,
            answer=answer_number(answer, "answers", len(checked), at, may_be_hidden),
        )


def _options(record: Mapping[str, Any], names: Sequence[str], place: str) -> tuple[str, ...]:
    if len(names) == 1:
        if names[0] in record and isinstance(record[names[0]], str):
            raise UserError(
                f"{place}: {names[0]!r} is text and not a list of options; name the columns of the options one by one "
                "in options."
            )
        return _checked_options(json_field(record, names[0], list, place), place)
    if missing := [name for name in names if name not in record]:
        raise UserError(
            f"{place} has no field {missing[0]!r}, an option (it has {quoted(record)}); mend the file."
        )
    values = [record[name] for name in names]
    while values and values[-1] in (None, ""):  # this example has fewer
        values.pop()
    return _checked_options(values, place)


def _checked_options(values: Sequence[Any], place: str) -> tuple[str, ...]:
    if len(values) < 2:
        many = "1 option" if len(values) == 1 else "no options"
        raise UserError(f"{place} has {many}, so there is nothing to choose; give two or more.")
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise UserError(f"{place}: option {number} is {json_type(value)} and not text; mend the file.")
        if not value.strip():
            raise UserError(f"{place}: option {number} is empty; mend the file.")
    return tuple(values)


def answer_number(value: Any, name: str, count: int, place: str, may_be_hidden: bool) -> int | None:
    """Return the number of the right option: given as a number from 0, in digits too, or as a letter from A."""
    if may_be_hidden and value in (None, "", -1, "-1"):
        return None
    if value is None:
        raise UserError(f"{place} has no {name!r}, the right option; leave the example out, or give it one.")
    number: Any = value
    if isinstance(value, str):
        text = value.strip()
        number = int(text) if text.isdecimal() and len(text) < 9 else None
        if len(text) == 1 and text.isascii() and text.isalpha():
            number = ord(text.upper()) - ord("A")
    if type(number) is not int or not 0 <= number < count:
        last = chr(ord("A") + count - 1) if count <= 26 else "…"
        raise UserError(
            f"{place}: {name!r} is {str(value)[:40]!r}, which is none of the {count} options: give a number of 0 to "
            f"{count - 1}, or a letter of A to {last}."
        )
    return number


def identifier(record: Mapping[str, Any], name: str | None, count: int, place: str) -> str:
    """Return the field ``name``, a text or a whole number; ``count`` where there is no name."""
    if name is None:
        return str(count)
    value = record.get(name)
    return str(value) if isinstance(value, int) else str(json_field(record, name, str, place))
