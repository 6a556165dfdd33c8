"""Contexts with candidates: a response, perhaps with negatives, or a list in which the right ones are named."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electra_jax.config.ranking_task import RankingConfig
from electra_jax.data.sources.json_lines import json_type
from electra_jax.errors import UserError, quoted
from electra_jax.tasks.protocol import RankingExample, TextExample
from electra_jax.tasks.sources.choices import (
    ChoiceColumns,
    ChoiceReader,
    answer_number,
    identifier,
    recognised_format,
)
from electra_jax.tasks.sources.conversations import TURNS
from electra_jax.tasks.sources.files import json_field
from electra_jax.tasks.sources.records import records_of
from electra_jax.tasks.sources.scored_pairs import number_of, read_scored_pairs
from electra_jax.tasks.sources.texts_alone import read_texts_alone


@dataclass(frozen=True)
class RankingReader:
    """Reads records as the section of a task says.

    Attributes:
        config: the section.
        where: its name, for messages.
    """

    config: RankingConfig
    where: str

    def read(
        self,
        record: Mapping[str, Any],
        place: str,
        count: int,
        *,
        may_be_hidden: bool,
        one_is_enough: bool = False,
    ) -> Iterator[RankingExample]:
        """Yield the examples of a record: of RACE's one for each question, of others one.

        Args:
            record: fields by name.
            place: file and line, for messages.
            count: of the examples before it, which is the identifier where there is none.
            may_be_hidden: whether the right candidates may be missing.
            one_is_enough: whether an example may have the right candidate alone, whose negatives are others'.

        Raises:
            UserError: a field that is missing, or not what it must be.
        """
        config = self.config
        if config.id is None and not config.names_columns and recognised_format(record) != "columns":
            official = ChoiceReader(None, ChoiceColumns("", None, (), ""), self.where)
            for found in official.read(record, place, count, may_be_hidden=may_be_hidden):
                context = " ".join(text for text in (found.context, found.question) if text)
                right = None if found.answer is None else (found.answer,)
                yield RankingExample(found.id, context, found.options, right)
            return
        record = record if config.names_columns else with_our_names(record)
        context_name = config.context or "context"
        if context_name not in record:
            turns = record.keys() & {*TURNS}
            raise UserError(
                f"{place} has no field {context_name!r}, the context (it has {quoted(record)}); "
                + (f"of conversations set {self.where}.conversations={{}}; else " if turns else "")
                + f"name its column in {self.where}.context, or mend the file."
            )
        context = json_field(record, context_name, str, place)
        response_name, list_name = config.response or "response", config.candidates or "candidates"
        relevant: tuple[int, ...] | None
        if response_name in record:
            response = json_field(record, response_name, str, place)
            negatives = record.get(config.negatives) if config.negatives else _negatives_of(record)
            if not negatives and not may_be_hidden:
                self._refuse_score(record, place)
            candidates = _texts(
                [response, *_list(negatives or [], config.negatives or "negatives", place)], place
            )
            relevant = (0,)
            _check_count(candidates, place, 1 if one_is_enough else 2)
        elif list_name in record:
            candidates = _texts(_list(record[list_name], list_name, place), place)
            _check_count(candidates, place, 1 if one_is_enough else 2)
            relevant = _relevant(record, config.label or "label", len(candidates), place, may_be_hidden)
        else:
            raise UserError(
                f"{place} has neither a field {response_name!r}, the right candidate, nor {list_name!r}, a list of "
                f"them (it has {quoted(record)}); name its column in {self.where}.response or candidates."
            )
        yield RankingExample(identifier(record, config.id, count, place), context, candidates, relevant)

    def _refuse_score(self, record: Mapping[str, Any], place: str) -> None:
        """Refuse a pair with a number that says how right it is, which would be learned as right whatever that is."""
        for name in (self.config.label or "label", "score"):
            if isinstance(record.get(name), bool) or number_of(record.get(name)) is not None:
                raise UserError(
                    f"{place} has {name!r} ({record[name]}) beside a response, and every response is learned as right: "
                    "keep the pairs that are, without that column, or give wrong candidates as negatives; pairs with "
                    f"scores are for dev and test, where {self.where}.metric is spearman or pearson."
                )


def read_rankings(
    path: Path, extension: str, config: RankingConfig, where: str, split: str, notes: list[str]
) -> Sequence[RankingExample | TextExample]:
    """Read a table with a header line, JSON lines, or a JSON file with one object or a list of them.

    Dev and test are scored pairs where the metric is of such, train is texts alone where positives are from dropout.

    Args:
        path: of the file.
        extension: that says which.
        config: section of the task.
        where: name of the section, for messages.
        split: "train", whose examples need no negatives, "dev" or "test", whose right candidates may be missing.
        notes: nothing is appended.

    Raises:
        UserError: a column that is not there; candidates or a right one that are none.
    """
    del notes
    if split != "train" and config.has_scored_pairs:
        columns = (config.context or "context", config.response or "response", config.label or "label")
        return read_scored_pairs(path, columns, config.id, may_be_hidden=split == "test")
    if split == "train" and config.positives_from == "dropout":
        return read_texts_alone(path, extension, config.context, config.id)
    reader = RankingReader(config, where)
    examples: list[RankingExample] = []
    for place, record in records_of(path, extension):
        examples += reader.read(
            record, place, len(examples), may_be_hidden=split == "test", one_is_enough=split == "train"
        )
    return examples


def with_our_names(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record with sentence-transformers' columns anchor and positive by our names."""
    if "context" in record or not record.keys() >= {"anchor", "positive"}:
        return record
    return {**record, "context": record["anchor"], "response": record["positive"]}


def _negatives_of(record: Mapping[str, Any]) -> Any:
    """Return the list in ``negatives`` and, behind it, the columns ``negative``, ``negative_1``, ….

    What stands there and is no list stays as it is, so that whoever reads the record refuses it.
    """
    listed = record.get("negatives") or []
    columns = [
        record[name]
        for name in record
        if re.fullmatch(r"negative(_\d+)?", name) and record[name] not in ("", None)
    ]
    return [*listed, *columns] if isinstance(listed, list) else listed


def _relevant(
    record: Mapping[str, Any], name: str, count: int, place: str, may_be_hidden: bool
) -> tuple[int, ...] | None:
    value = record.get(name)
    if not isinstance(value, list):
        number = answer_number(value, name, count, place, may_be_hidden)
        return None if number is None else (number,)
    numbers = {answer_number(one, name, count, place, may_be_hidden=False) for one in value}
    if not numbers:
        raise UserError(f"{place}: {name!r} names no right candidate; leave the example out, or name one.")
    return tuple(sorted(n for n in numbers if n is not None))


def _check_count(candidates: tuple[str, ...], place: str, least: int) -> None:
    if len(set(candidates)) < least:
        many = "1 candidate" if len(candidates) == 1 else "no candidates"
        if len(candidates) > 1:
            many = f"{len(candidates)} candidates that are the same text"
        raise UserError(
            f"{place} has {many}, so there is nothing to rank; give it negatives, or a list of candidates."
        )


def _list(value: Any, name: str, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f"{place}: {name!r} is {json_type(value)} and not a list of texts; mend the file.")
    return value


def _texts(values: list[Any], place: str) -> tuple[str, ...]:
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise UserError(f"{place}: candidate {number} is {json_type(value)} and not text; mend the file.")
        if not value.strip():
            raise UserError(f"{place}: candidate {number} is empty; mend the file.")
    return tuple(values)
