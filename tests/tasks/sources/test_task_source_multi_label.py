"""Files whose texts have any number of labels: lists, cells with a separator, none, hidden, and what is wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_sections import task_section

from electra_jax.errors import UserError
from electra_jax.tasks.sources import load_examples
from electra_jax.tasks.sources.labels import label_list_reader

M = task_section(kind="classification", text="t", label="l", multi_label=True)
COMMA = M.model_copy(update={"label_separator": ","})
TRAIN = (".csv", "t,l\none,a|b\ntwo,c\n")


def _load(tmp_path, config, notes=None, **files):
    """Writes files, each ``split="extension", content``, and loads them."""
    paths = {split: tmp_path / f"{split}{extension}" for split, (extension, _) in files.items()}
    for split, (_, content) in files.items():
        paths[split].write_text(content)
    config = config.model_copy(update={split: str(path) for split, path in paths.items()})
    return load_examples("mine", config, notes=notes)


def _lines(*labels):
    return ".jsonl", "".join(json.dumps({"t": "text", "l": some}) + "\n" for some in labels)


@pytest.mark.parametrize(
    ("config", "file"),
    [
        (M, (".csv", "t,l\nw,b | a\nx,\ny,a|a||\nz, 1 \n")),
        (M, (".tsv", "t\tl\nw\tb|a\nx\t \ny\t|a\nz\t1\n")),
        (COMMA, (".tsv", "t\tl\nw\tb, a\nx\t\ny\ta,a\nz\t1\n")),
        (COMMA, (".csv", 't,l\nw,"b,a"\nx,""\ny,a\nz,1\n')),
        (M, _lines(["b", " a "], [], ["a", "a", ""], [1])),
        (M, _lines("b|a", "", "a", 1)),
    ],
)
def test_every_spelling_gives_the_same_labels(tmp_path, config, file):
    examples = _load(tmp_path, config, train=file)["train"]
    assert [example.label for example in examples] == [("a", "b"), (), ("a",), ("1",)]


def test_a_list_is_taken_as_it_is_and_blanks_are_counted(tmp_path):
    notes = []
    examples = _load(tmp_path, M, notes, train=_lines(["a|b", " c"], [True, 2]))["train"]
    assert [example.label for example in examples] == [("a|b", "c"), ("2", "true")]
    assert len(notes) == 1
    assert "1 label has blanks around" in notes[0]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda some: st.lists(some, max_size=4) | st.dictionaries(st.text(max_size=3), some, max_size=2),
    max_leaves=6,
)


@given(ANY_JSON, st.text(min_size=1, max_size=2))
def test_whatever_stands_for_labels_is_read_or_refused_in_one_sentence(spelled, separator):
    read = label_list_reader(separator, may_be_hidden=False)
    try:
        labels = read(spelled, "a.jsonl, line 1")
    except UserError as refused:
        labels, sentence = (), str(refused)
    else:
        sentence = "a.jsonl, line 1"
    assert sentence.startswith("a.jsonl, line 1")
    assert list(labels) == sorted(set(labels))
    assert all(label and label == label.strip() for label in labels)
    assert read(list(labels), "again") == labels


@pytest.mark.parametrize("labels", [[0, 1, 0], [1, 1, 1, 0], [0.0, 1.0], [True, False, True]])
def test_a_vector_of_zeros_and_ones_is_no_list_of_labels(tmp_path, labels):
    with pytest.raises(UserError, match=r"line 2: \[.*looks like a 0 or 1 for each class; give the names"):
        _load(tmp_path, M, train=_lines([0, 1], labels))


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ((".csv", "t\nx\ny\n"), [None, None]),
        ((".csv", "t,l\nx,\ny, \n"), [None, None]),  # nothing in the whole column
        ((".csv", "t,l\nx,\ny,a\n"), [(), ("a",)]),
        (_lines(None, ["a"]), [None, ("a",)]),
        (_lines([], []), [(), ()]),
    ],
)
def test_labels_of_a_test_file_may_be_missing(tmp_path, file, expected):
    assert [e.label for e in _load(tmp_path, M, train=TRAIN, test=file)["test"]] == expected


@pytest.mark.parametrize(
    ("config", "files", "message"),
    [
        (M, {"train": TRAIN, "dev": (".csv", "t,l\nx,a\ny,a|d\n")},
         r"the dev example '1' has the label 'd', which is not in the training examples; the labels are 'a', 'b', 'c'"),
        (M.model_copy(update={"labels": ["a", "b"]}), {"train": TRAIN}, r"'1' has the label 'c', which is not known"),
        (M, {"train": _lines(["a"], None)}, r"train\.jsonl, line 2 has no labels; .* \[\] where there are none"),
        (M, {"train": _lines(["a", None])}, r"line 1: null is no label; give a list of texts"),
        (M, {"train": _lines([["a"]])}, r'line 1: \["a"\] is no label'),
        (M, {"train": _lines({"a": 1})}, r'line 1: \{"a": 1\} is no label'),
        (task_section(kind="classification", text="t", label="l"), {"train": _lines(["a"])},
         "the label is a list or an object, not one value; .* set multi_label"),
        (task_section(kind="regression", text="t", label="l"), {"train": _lines([1.0])},
         "not one value; mend the file"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_in_one_sentence(tmp_path, config, files, message):
    with pytest.raises(UserError, match=message) as caught:
        _load(tmp_path, config, **files)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kind": "classification", "multi_label": True, "data": "tfds:glue/mnli"},
            "multi_label is for your own files",
        ),
        ({"kind": "classification", "threshold": 0.4}, "threshold is for multi_label"),
        ({"kind": "classification", "label_separator": ","}, "label_separator is for multi_label"),
        ({"kind": "classification", "multi_label": True, "threshold": 1.0}, "1.0 is no threshold"),
        ({"kind": "classification", "multi_label": True, "threshold": True}, "true is no threshold"),
        (
            {"kind": "classification", "multi_label": True, "threshold": "best"},
            ".best. is no threshold: it must be between 0 and 1, tune or null",
        ),
        (
            {"kind": "classification", "multi_label": True, "label_separator": ""},
            "an empty text separates nothing",
        ),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        task_section(**options)
