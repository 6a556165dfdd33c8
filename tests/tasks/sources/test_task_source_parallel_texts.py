"""Texts with what is to be written for them: every way to give them, and what is wrong with them in one sentence."""

import gzip
import json
import re

import pytest
from task_sections import task_section

from electra_jax.errors import UserError
from electra_jax.tasks.protocol import RetrievedExample, Seq2SeqExample
from electra_jax.tasks.sources import example_warnings, load_examples
from electra_jax.tasks.sources.parallel_texts import training_texts

EXPECTED = [
    Seq2SeqExample("0", 'Ein "Hund"', ("A dog",)),
    Seq2SeqExample("1", "Übung, zwei", ("Exercise\u2028two",)),
]
COLUMNS = {"source": "de", "target": "en"}


def _write(folder, files):
    for name, content in files.items():
        data = content.encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def _load(folder, files, task, needs=("train",), notes=None, kind="seq2seq"):
    """Writes files and loads the task whose paths are relative to their folder."""
    _write(folder, files)

    def there(value):
        if isinstance(value, dict):
            return {key: there(some) for key, some in value.items()}
        if isinstance(value, list):
            return [there(some) for some in value]
        return str(folder / value) if value in files or value == "missing.txt" else value

    section = task_section(kind=kind, **{key: there(value) for key, value in task.items()})
    return load_examples("mine", section, needs=needs, notes=notes)


TABLES = {
    "jsonl": "".join(json.dumps({"de": e.source, "en": e.targets[0]}) + "\n" for e in EXPECTED),
    "csv": 'de,en\n"Ein ""Hund""",A dog\n"Übung, zwei",Exercise\u2028two\n',
    "tsv": 'de\tmore\ten\nEin "Hund"\t\tA dog\nÜbung, zwei\tx\tExercise\u2028two\n',
    "txt": 'de\ten\r\nEin "Hund"\tA dog\r\nÜbung, zwei\tExercise\u2028two\r\n',
}


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("extension", TABLES)
def test_columns_of_tables_and_json_lines(tmp_path, extension, packed):
    name = f"train.{extension}{packed}"
    assert _load(tmp_path, {name: TABLES[extension]}, {**COLUMNS, "train": name}) == {"train": EXPECTED}


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_files_of_parallel_lines(tmp_path, packed):
    """Line ends of either kind, the last one there or not; lines that are empty in both files are left out."""
    files = {
        f"a.de{packed}": 'Ein "Hund"\n\nÜbung, zwei',
        f"a.en{packed}": "A dog\r\n \r\n Exercise\u2028two \r\n",
    }
    notes = []
    task = {"train": {"source_file": f"a.de{packed}", "target_file": f"a.en{packed}"}}
    assert _load(tmp_path, files, task, notes=notes) == {"train": EXPECTED}
    assert notes == [f"1 lines of {tmp_path}/a.de{packed} are left out, since they are empty"]


def test_several_references_are_lists_columns_or_files(tmp_path):
    expected = [Seq2SeqExample("0", "a", ("b", "c")), Seq2SeqExample("1", "d", ("e", "f"))]
    files = {
        "list.jsonl": '{"de": "a", "en": ["b", "c"]}\n{"de": "d", "en": ["e", "f"]}\n',
        "two.csv": "de,first,second\na,b,c\nd,e,f\n",
        "a.de": "a\nd\n",
        "a.1": "b\ne\n",
        "a.2": "c\nf\n",
    }
    for task in (
        {**COLUMNS, "train": "list.jsonl"},
        {"source": "de", "target": ["first", "second"], "train": "two.csv"},
        {"train": {"source_file": "a.de", "target_file": ["a.1", "a.2"]}},
    ):
        assert _load(tmp_path, files, task)["train"] == expected
    # Not every example has as many.
    some = '{"de": "a", "first": "b"}\n{"de": "d", "first": "e", "second": ["f", "g"]}\n'
    task = {"source": "de", "target": ["first", "second"], "train": "some.jsonl"}
    assert [e.targets for e in _load(tmp_path, {"some.jsonl": some}, task)["train"]] == [
        ("b",),
        ("e", "f", "g"),
    ]


def test_a_target_column_that_is_nowhere_in_a_file_is_named(tmp_path):
    """Since it may be a mistake, and since a file for training often has fewer references than one for dev."""
    task = {"source": "de", "target": ["a", "b", "c"]}
    files = {
        "some.csv": "de,a,c\nd,e,f\n",
        "all.jsonl": '{"de": "a", "a": "b"}\n{"de": "d", "c": "e", "b": "f"}\n',
    }
    notes = []
    _load(tmp_path, files, {**task, "train": "some.csv", "dev": "all.jsonl"}, notes=notes)
    assert notes == [f"no line of {tmp_path}/some.csv has 'b', so its targets are 'a', 'c' alone"]


@pytest.mark.parametrize(
    ("files", "test", "expected"),
    [
        ({"t.txt": "de\na\nb\n"}, "t.txt", [None, None]),
        ({"t.csv": "de,en\na,\nb,c\n"}, "t.csv", [None, ("c",)]),
        ({"t.jsonl": '{"de": "a"}\n{"de": "b", "en": null}\n'}, "t.jsonl", [None, None]),
        ({"t.jsonl": '{"de": "a", "en": ""}\n{"de": "b", "en": []}\n'}, "t.jsonl", [None, None]),
        ({"t.de": "a\nb\n"}, {"source_file": "t.de"}, [None, None]),
    ],
)
def test_targets_of_a_test_file_may_be_hidden(tmp_path, files, test, expected):
    train = {"a.de": "x\n", "a.en": "y\n"}
    task = {**COLUMNS, "train": {"source_file": "a.de", "target_file": "a.en"}, "test": test}
    examples = _load(tmp_path, {**train, **files}, task)
    assert [example.targets for example in examples["test"]] == expected
    with pytest.raises(UserError, match=r"no field|target_file|is empty|without texts"):
        _load(tmp_path, {**train, **files}, {**COLUMNS, "dev": test, "train": task["train"]})


def test_what_was_retrieved_stands_in_a_column_of_its_own(tmp_path):
    task = {**COLUMNS, "retrieval": {"column": "found"}, "train": "t.csv"}
    examples = _load(tmp_path, {"t.csv": "de,en,found\na,b,c\nd,e, \n"}, task)
    assert examples["train"] == [RetrievedExample("0", "a", ("b",), "c"), RetrievedExample("1", "d", ("e",))]
    with pytest.raises(
        UserError, match=r"t.csv has no text in 'found', what was retrieved; name its column in fin"
    ):
        _load(tmp_path, {"t.csv": "de,en\na,b\n"}, task)
    task["train"] = "t.jsonl"
    with pytest.raises(
        UserError, match="line 1: 'found', what was retrieved, is a whole number and not text"
    ):
        _load(tmp_path, {"t.jsonl": '{"de": "a", "en": "b", "found": 3}\n'}, task)


PAIR = {"train": {"source_file": "a.de", "target_file": "a.en"}}
# What is given, the keys of the task, and what the message has to name.
WRONG = {
    "no such source column": (
        {"t.csv": "d,en\na,b\n"},
        {**COLUMNS, "train": "t.csv"},
        [
            "{}/t.csv, line 2 has no field 'de'",
            "it has 'd', 'en'",
            "its column in finetune.tasks.mine.source",
        ],
    ),
    "no such target column": (
        {"t.csv": "de,e\na,b\n"},
        {**COLUMNS, "train": "t.csv"},
        [
            "{}/t.csv, line 2 has no field 'en'",
            "it has 'de', 'e'",
            "its column in finetune.tasks.mine.target",
        ],
    ),
    "a target that is null": (
        {"t.jsonl": '{"de": "a", "en": "b"}\n{"de": "a", "en": null}\n'},
        {**COLUMNS, "train": "t.jsonl"},
        ["{}/t.jsonl, line 2: 'en', the text to write, is null"],
    ),
    "a target that is missing in one line": (
        {"t.jsonl": '{"de": "a", "en": "b"}\n{"de": "a"}\n'},
        {**COLUMNS, "train": "t.jsonl"},
        ["{}/t.jsonl, line 2 has no field 'en'"],
    ),
    "columns that are not named": (
        {"t.csv": "de,en\na,b\n"},
        {"train": "t.csv"},
        ["finetune.tasks.mine.source is not set"],
    ),
    "a target that is not named": (
        {"t.csv": "de,en\na,b\n"},
        {"source": "de", "train": "t.csv"},
        ["finetune.tasks.mine.target is not set"],
    ),
    "an empty target": (
        {"t.tsv": "de\ten\na\tb\nc\t \n"},
        {**COLUMNS, "train": "t.tsv"},
        ["{}/t.tsv, line 3: 'en'", "is empty"],
    ),
    "an empty target in a list": (
        {"t.jsonl": '{"de": "a", "en": ["b", ""]}\n'},
        {**COLUMNS, "train": "t.jsonl"},
        ["{}/t.jsonl, line 1: 'en'", "is empty"],
    ),
    "no targets": (
        {"t.jsonl": '{"de": "a", "en": []}\n'},
        {**COLUMNS, "train": "t.jsonl"},
        ["line 1: 'en' is a list without texts"],
    ),
    "a target that is no text": (
        {"t.jsonl": '{"de": "a", "en": 3}\n'},
        {**COLUMNS, "train": "t.jsonl"},
        ["line 1: 'en' holds a whole number and not text"],
    ),
    "a source that is no text": (
        {"t.jsonl": '{"de": 3, "en": "b"}\n'},
        {**COLUMNS, "train": "t.jsonl"},
        ["line 1: the field 'de' is a whole number"],
    ),
    "other numbers of lines": (
        {"a.de": "a\nb\nc\n", "a.en": "d\ne\n"},
        PAIR,
        ["{}/a.de has 3 lines and {}/a.en has 2 lines"],
    ),
    "a line that only one file has": (
        {"a.de": "a\nb\nc\n", "a.en": "d\n\nf\n"},
        PAIR,
        ["{}/a.en, line 2 is empty"],
    ),
    "a source line that is empty": (
        {"a.de": "a\n\nc\n", "a.en": "d\ne\nf\n"},
        PAIR,
        ["{}/a.de, line 2 is empty"],
    ),
    "no file of targets": (
        {"a.de": "a\n"},
        {"train": {"source_file": "a.de"}},
        ["finetune.tasks.mine.train has no target_file"],
    ),
    "a file that is not there": (
        {"a.de": "a\n"},
        {"train": {"source_file": "a.de", "target_file": "missing.txt"}},
        ["{}/missing.txt"],
    ),
    "nothing but empty lines": ({"a.de": "\n\n", "a.en": "\n\n"}, PAIR, ["there are no train examples"]),
    "an extension of another kind": (
        {"t.json": "{}"},
        {**COLUMNS, "train": "t.json"},
        ["{}/t.json is not a file seq2seq can be read from"],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_in_one_sentence(tmp_path, what):
    files, task, named = WRONG[what]
    with pytest.raises(UserError) as caught:
        _load(tmp_path, files, task)
    for part in named:
        assert part.replace("{}", str(tmp_path)) in str(caught.value)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            {"source_file": "a", "target": "b"},
            "have no 'target': write {source_file: FILE, target_file: FILE}",
        ),
        ({"target_file": "b"}, "need source_file"),
        ({"source_file": "a", "target_file": []}, "target_file is [], but must be a file or a list of them"),
        ({"source_file": "a", "target_file": ["b", 3]}, "must be a file or a list of them"),
        ({"source_file": "s3://a/b", "target_file": "b"}, "s3://a/b"),
        (["a", "b"], "is no file: name one, or write {source_file: FILE"),
    ],
)
def test_two_files_are_written_in_one_way(train, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        task_section(kind="seq2seq", train=train)


@pytest.mark.parametrize("kind", ["classification", "regression", "tagging", "question_answering"])
def test_files_of_parallel_lines_are_for_texts_to_write(kind):
    with pytest.raises(
        ValueError, match=f"train has two files, which kind seq2seq reads, not {kind}: name one"
    ):
        task_section(kind=kind, **PAIR)


def test_empty_sources_are_warned_of(tmp_path):
    examples = _load(tmp_path, {"t.csv": "de,en\n ,b\na,b\n"}, {**COLUMNS, "train": "t.csv"})
    assert example_warnings(examples) == ["1 of 2 train examples have an empty text"]


def test_a_vocabulary_is_trained_on_sources_and_all_references():
    examples = [Seq2SeqExample("0", "a", ("b", "c")), Seq2SeqExample("1", "d", None)]
    assert list(training_texts(examples)()) == ["a", "b", "c", "d"]
