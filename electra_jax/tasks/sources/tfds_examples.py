"""Examples of a prepared TFDS dataset, ``tfds:NAME[/CONFIG]``, read without TensorFlow."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from electra_jax.config.task import TaskConfig, TaskKind
from electra_jax.config.tasks import ColumnsConfig, TextsConfig
from electra_jax.data.sources.tfds_source import check_format, find_builder, first_line
from electra_jax.errors import UserError, quoted
from electra_jax.tasks.protocol import Example, QuestionExample, TextExample, WordsExample
from electra_jax.tasks.sources.benchmarks import TEXT_SEPARATOR, Benchmark, Columns
from electra_jax.tasks.sources.labels import label_reader
from electra_jax.tasks.sources.questions import checked_answer

Record = Mapping[Any, Any]

_READ_AT_ONCE = 256
_SPLITS = {
    "train": ("train",),
    "dev": ("validation", "validation_matched", "dev"),
    "dev_mismatched": ("validation_mismatched",),
    "test": ("test", "test_matched"),
    "test_mismatched": ("test_mismatched",),
}


def read_tfds(
    spec: str,
    config: TaskConfig,
    benchmark: Benchmark | None,
    where: str,
    data_dir: str | None,
) -> dict[str, list[Example]]:
    """Read the examples of the splits that the dataset has.

    A class is the name that the dataset gives it, and −1 a hidden one; for a benchmark it is then spelled as in the
    official files. Questions are read as in SQuAD: ``question``, ``context``, ``answers`` with ``text`` and
    ``answer_start``.

    Args:
        spec: ``NAME[/CONFIG]``.
        config: section of the task, with the features; those of the benchmark where they are unset.
        benchmark: the one of this name, or None.
        where: name of the section, for messages.
        data_dir: directory of the datasets; None is TFDS's default.

    Raises:
        UserError: the dataset does not exist, is not prepared, cannot be read, or lacks a feature.
    """
    name = f"tfds:{spec}"
    if not spec or ":" in spec:
        raise UserError(
            f"{where}.data is {name}; write tfds:NAME or tfds:NAME/CONFIG, all its splits are read."
        )
    builder = find_builder(name, spec, data_dir)
    check_format(name, builder)
    columns = _columns(config, benchmark, where)
    features = builder.info.features
    if missing := [column for column in columns.all if column not in features]:
        raise UserError(
            f"{name} has no feature {quoted(missing)}; its features are {quoted(sorted(features))}."
        )
    examples: dict[str, list[Example]] = {}

    def read(name: str, builder: Any, there: str, split: str) -> None:
        convert = _converter(
            config.kind, columns, builder.info.features, benchmark, is_test=split.startswith("test")
        )
        examples[split] = [
            convert(record, number, f"{name}, split {there}, record {number}")
            for number, record in enumerate(_records(name, builder, there))
        ]

    for split, names in _SPLITS.items():
        if there := next((item for item in names if item in builder.info.splits), None):
            read(name, builder, there, split)
    for split, config_name in (benchmark.extra_configs if benchmark is not None else {}).items():
        beside = f"{spec.partition('/')[0]}/{config_name}"
        with suppress(UserError):  # not prepared; these splits are optional
            other = find_builder(f"tfds:{beside}", beside, data_dir)
            check_format(f"tfds:{beside}", other)
            read(f"tfds:{beside}", other, "test", split)
    if not examples:
        raise UserError(
            f"{name} has no split train, validation or test; its splits are {quoted(builder.info.splits)}."
        )
    return examples


def _columns(config: TaskConfig, benchmark: Benchmark | None, where: str) -> Columns:
    known = (benchmark.features if benchmark is not None else None) or Columns(())
    if not isinstance(config, ColumnsConfig):
        return known if known.text else Columns(("question",), "context", "answers", config.id or "id")
    text = known.text if config.text is None else (config.text,)
    label = config.label or known.label
    if not text or label is None:
        what = "label" if text else "text"
        raise UserError(f"{where}.{what} is not set; name the dataset's feature that is the {what}.")
    pair = config.pair if isinstance(config, TextsConfig) else None
    return Columns(text, pair or known.pair, label, config.id or known.id)


def _records(name: str, builder: Any, split: str) -> list[Record]:
    records: list[Record] = []
    try:
        source = builder.as_data_source(split=split)
        for first in range(0, len(source), _READ_AT_ONCE):
            records += source.__getitems__(range(first, min(first + _READ_AT_ONCE, len(source))))
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        raise UserError(
            f"{name}: the records from {len(records)} on of split {split} cannot be read ({first_line(error)}); "
            f"delete {builder.data_dir} and prepare the dataset again."
        ) from error
    return records


def _converter(
    kind: TaskKind, columns: Columns, features: Any, benchmark: Benchmark | None, *, is_test: bool
) -> Callable[[Record, int, str], Example]:
    """Return a function of a record, its number and where it is (for messages) that returns the example."""
    read_label = label_reader(kind, benchmark.spellings if benchmark else {}, may_be_hidden=is_test)
    names = _class_names(features[columns.label])

    def text_of(record: Record, where: str) -> str:
        return TEXT_SEPARATOR.join(_text(record[column], where) for column in columns.text)

    def identifier(record: Record, number: int, where: str) -> str:
        return str(number) if columns.id is None else _text(record[columns.id], where)

    def label_of(value: Any, where: str) -> Any:
        """Return a label as a file would spell it."""
        if isinstance(value, bytes | str):
            return _text(value, where)
        if isinstance(value, dict | list) or np.ndim(value):
            raise UserError(
                f"{where}: the label is a list or an object, not one value; name another feature."
            )
        if names is not None:
            return names[int(value)] if value >= 0 else None
        # TFDS has −1 for the hidden numbers of GLUE.
        return None if is_test and benchmark is not None and value == -1 else np.asarray(value).item()

    def text_example(record: Record, number: int, where: str) -> Example:
        pair = None if columns.pair is None else _text(record[columns.pair], where)
        label = read_label(label_of(record[columns.label], where), where)
        return TextExample(identifier(record, number, where), text_of(record, where), pair, label)

    def words_example(record: Record, number: int, where: str) -> Example:
        words = tuple(_text(word, where) for word in record[columns.text[0]])
        tags = tuple(str(label_of(tag, where)) for tag in record[columns.label])
        if len(words) != len(tags):
            raise UserError(f"{where} has {len(words)} words and {len(tags)} tags; name another feature.")
        return WordsExample(identifier(record, number, where), words, tags)

    def question_example(record: Record, number: int, where: str) -> Example:
        context, answers = _text(record[columns.pair], where), record[columns.label]
        # SQuAD 2.0's "plausible" answers are in another feature.
        pairs = zip(answers["text"], answers["answer_start"])
        found = tuple(checked_answer(context, _text(text, where), int(start), where) for text, start in pairs)
        return QuestionExample(identifier(record, number, where), text_of(record, where), context, found)

    return {"tagging": words_example, "question_answering": question_example}.get(kind, text_example)


def _class_names(feature: Any) -> list[str] | None:
    feature = getattr(feature, "feature", feature)  # that of the elements of a sequence
    return list(feature.names) if getattr(feature, "names", None) else None


def _text(value: Any, where: str) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{where} is not UTF-8 at byte {error.start}; prepare the dataset again."
            ) from error
    return str(value)
