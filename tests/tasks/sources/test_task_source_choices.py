"""Files of options: one's own columns, the official layouts, and what is wrong with them."""

import json
import lzma

import pytest
from pydantic import ValidationError
from task_sections import task_section

from electra_jax.errors import UserError
from electra_jax.inference.reading import read_records, training_file_format
from electra_jax.tasks.protocol import ChoiceExample
from electra_jax.tasks.sources import example_warnings, load_examples

MUTUAL = {"answers": "B", "options": ["f : no", "m : yes"], "article": "m : so ?", "id": "dev_1"}
RACE = {
    "article": "It rained.",
    "questions": ["Was it wet?", "Who?"],
    "options": [["Yes", "No", "Perhaps"], ["Ann", "Bob"]],
    "answers": ["A", "B"],
    "id": "high1.txt",
}
SWAG = (
    ",video-id,sent1,sent2,gold-source,ending0,ending1,ending2,ending3,label\r\n"
    '0,v1,"He stands, up.",He,gold,sits.,runs.,sings.,"flies, too.",3\r\n'
)
COPA = {"premise": "It broke.", "choice1": "I fell.", "choice2": "I ran.", "question": "cause", "label": 1}
EXPECTED = {
    "mutual": [ChoiceExample("0", "m : so ?", ("f : no", "m : yes"), "", 1)],
    "race": [
        ChoiceExample("high1.txt-0", "It rained.", ("Yes", "No", "Perhaps"), "Was it wet?", 0),
        ChoiceExample("high1.txt-1", "It rained.", ("Ann", "Bob"), "Who?", 1),
    ],
    "swag": [ChoiceExample("0", "He stands, up.", ("sits.", "runs.", "sings.", "flies, too."), "He", 3)],
    "copa": [ChoiceExample("0", "It broke.", ("I fell.", "I ran."), "What was the cause of this?", 1)],
}
FILES = {
    "mutual": (".jsonl", json.dumps(MUTUAL)),
    "race": (".json", json.dumps([RACE])),
    "swag": (".csv", SWAG),
    "copa": (".jsonl", json.dumps(COPA) + "\n"),
}


def _load(tmp_path, extension, content, split="train", **section):
    path = tmp_path / f"{split}{extension}"
    path.write_bytes(lzma.compress(content.encode()) if extension.endswith(".xz") else content.encode())
    config = task_section(kind="multiple_choice", **{split: str(path)}, **section)
    return load_examples("mine", config)[split]


@pytest.mark.parametrize("format", FILES)
@pytest.mark.parametrize("said", [True, False])
def test_official_files_are_recognised_or_said(tmp_path, format, said):
    section = {"format": format} if said else {}
    assert _load(tmp_path, *FILES[format], **section) == EXPECTED[format]


def test_official_files_packed_and_line_by_line(tmp_path):
    assert _load(tmp_path, ".jsonl.xz", json.dumps(RACE)) == EXPECTED["race"]
    assert _load(tmp_path, ".json", json.dumps(RACE)) == EXPECTED["race"]
    effect = json.dumps({**COPA, "question": "effect"})
    assert _load(tmp_path, ".jsonl", effect)[0].question == "What happened as a result?"


def test_columns_of_ones_own_with_any_number_of_options(tmp_path):
    lines = [
        {"context": "a", "options": ["b", "c"], "label": 1},
        {"context": "a", "options": ["b", "c", "d"], "label": "C", "question": "which?"},
        {"context": "", "options": ["b", "c"], "label": "0"},
    ]
    content = "\n".join(map(json.dumps, lines))
    expected = [
        ChoiceExample("0", "a", ("b", "c"), "", 1),
        ChoiceExample("1", "a", ("b", "c", "d"), "which?", 2),
        ChoiceExample("2", "", ("b", "c"), "", 0),
    ]
    assert _load(tmp_path, ".jsonl", content) == expected
    table = "key\ttext\tone\ttwo\tthree\tright\nx\ta\tb\tc\t\tb\ny\ta\tb\tc\td\t2\n"
    columns = {"context": "text", "options": ["one", "two", "three"], "label": "right", "id": "key"}
    assert _load(tmp_path, ".tsv", table, **columns) == [
        ChoiceExample("x", "a", ("b", "c"), "", 1),
        ChoiceExample("y", "a", ("b", "c", "d"), "", 2),
    ]


def test_answers_of_a_test_file_may_be_hidden(tmp_path):
    without = {key: value for key, value in RACE.items() if key != "answers"}
    assert [e.hidden for e in _load(tmp_path, ".json", json.dumps(without), split="test")] == [True, True]
    hidden = json.dumps({"context": "a", "options": ["b", "c"]})
    (example,) = _load(tmp_path, ".jsonl", hidden, split="test")
    assert example.gold is None
    with pytest.raises(UserError, match="line 1 has no 'label', the right option"):
        _load(tmp_path, ".jsonl", hidden)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"label": 2},
            "'label' is '2', which is none of the 2 options: give a number of 0 to 1, or a letter",
        ),
        ({"label": "C"}, "which is none of the 2 options"),
        ({"label": True}, "which is none of the 2 options"),
        ({"label": "ß"}, "'label' is 'ß', which is none of the 2 options"),
        ({"label": "ı", "options": [*"abcdefghij"]}, "'label' is 'ı', which is none of the 10 options"),
        ({"options": ["b"]}, "has 1 option, so there is nothing to choose"),
        ({"options": []}, "has no options"),
        ({"options": ["b", " "]}, "option 1 is empty"),
        ({"options": ["b", 3]}, "option 1 is a whole number and not text"),
        ({"options": "b"}, "'options' is text and not a list of options"),
        ({"context": 3}, "the field 'context' is a whole number"),
        ({"question": 3}, "the field 'question' is a whole number"),
    ],
)
def test_what_is_no_example(tmp_path, change, message):
    record = {"context": "a", "options": ["b", "c"], "label": 0, **change}
    with pytest.raises(UserError, match=f"train.jsonl, line 1.*{message}"):
        _load(tmp_path, ".jsonl", json.dumps(record))


def test_what_is_no_official_file(tmp_path):
    with pytest.raises(UserError, match=r"line 1 has no field 'context', the context .*mine\.context"):
        _load(tmp_path, ".jsonl", json.dumps({"text": "a"}))
    with pytest.raises(UserError, match="as many 'questions', 'options' and 'answers'"):
        _load(tmp_path, ".json", json.dumps({**RACE, "answers": ["A"]}))
    with pytest.raises(UserError, match="'question' is 'why', but must be cause or effect"):
        _load(tmp_path, ".jsonl", json.dumps({**COPA, "question": "why"}))
    with pytest.raises(UserError, match="item 1 is a whole number and not an object"):
        _load(tmp_path, ".json", "[3]")
    with pytest.raises(UserError, match=r"no field 'ending3', an option"):
        _load(tmp_path, ".csv", SWAG.replace("ending3", "last"))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"data": "x"}, "data is for benchmarks and TFDS"),
        ({"format": "mutual", "context": "text"}, "format mutual has known ones"),
        ({"options": ["a"]}, "two columns or more"),
        ({"options": ["a", "a"]}, "two columns or more, each once"),
        ({"text": "a"}, "text"),
    ],
)
def test_keys_that_do_not_fit(section, message):
    with pytest.raises(ValidationError, match=message):
        task_section(kind="multiple_choice", **section)


def test_a_right_option_that_is_always_at_the_same_place_is_noted():
    examples = [ChoiceExample(str(n), "a", ("b", "c"), "", 1) for n in range(2)]
    assert example_warnings({"train": examples}) == ["of all 2 train examples option 1 is the right one"]


def _asked(path, **section):
    config = task_section(kind="multiple_choice", train=str(path), dev=str(path), **section)
    records = read_records(str(path), training_file_format("mine", config, ()))
    return [(record.fields["id"], record.fields["options"]) for record in records]


def test_what_is_predicted_is_read_from_the_tables_of_training(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("context\tone\ttwo\nAnn left.\tWho?\tHe.\nBob left.\tAnn.\tShe.\n")
    expected = [["Who?", "He."], ["Ann.", "She."]]
    assert [options for _, options in _asked(path, options=["one", "two"])] == expected
    learned = "context\tone\ttwo\tlabel\nAnn left.\tWho?\tHe.\t0\nBob left.\tAnn.\tShe.\t1\n"
    assert [list(one.options) for one in _load(tmp_path, ".txt", learned, options=["one", "two"])] == expected


def test_several_questions_of_a_line_have_ids_of_their_own(tmp_path):
    nameless = {key: value for key, value in RACE.items() if key != "id"}
    path = tmp_path / "in.jsonl"
    path.write_text(2 * (json.dumps(nameless) + "\n"))
    assert [name for name, _ in _asked(path)] == ["1-0", "1-1", "2-0", "2-1"]
