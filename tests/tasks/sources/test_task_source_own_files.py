"""One's own files in every format, and what is wrong with them."""

import csv
import gzip
import json
import lzma
import re

import pytest
import zstandard
from task_sections import task_section

from electra_jax.errors import UserError
from electra_jax.tasks.protocol import Answer, QuestionExample, TextExample, WordsExample
from electra_jax.tasks.sources import example_warnings, load_examples

PACKED = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
TEXTS = task_section(kind="classification", text="body", pair="reply", label="class", id="key")
EXPECTED = [
    TextExample("a", 'He said "no",\nand left', "Why?", "good"),
    TextExample("b", "Übung", "", "bad"),
]
CSV = '\ufeffkey,body,reply,class,more\r\na,"He said ""no"",\nand left",Why?,good,1\r\nb,Übung,,bad,2\r\n'
JSONL = "".join(
    json.dumps({"key": e.id, "body": e.text, "reply": e.pair, "class": e.label}) + "\n" for e in EXPECTED
)


def _load(tmp_path, config, name="mine", **files):
    """Writes files, each ``split="extension", content``, and loads them."""
    paths = {}
    for split, (extension, content) in files.items():
        paths[split] = tmp_path / f"{split}{extension}"
        data = content.encode()
        for packed, compress in PACKED.items():
            if packed and extension.endswith(packed):
                data = compress(data)
        paths[split].write_bytes(data)
    return load_examples(name, config.model_copy(update={split: str(path) for split, path in paths.items()}))


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize(("extension", "content"), [(".csv", CSV), (".jsonl", JSONL)])
def test_tables_and_json_lines_give_the_same_examples(tmp_path, extension, content, packed):
    assert _load(tmp_path, TEXTS, train=(extension + packed, content)) == {"train": EXPECTED}


def test_quotes_of_tsv_are_literal(tmp_path):
    content = 'body\tclass\n"quoted"\t1\nan " open one\t0\n\n'
    config = task_section(kind="classification", text="body", label="class")
    assert _load(tmp_path, config, dev=(".tsv", content))["dev"] == [
        TextExample("0", '"quoted"', None, "1"),
        TextExample("1", 'an " open one', None, "0"),
    ]


def test_numbers_and_words_of_json_are_spelled_as_json_does(tmp_path):
    lines = '{"t": "a", "l": 1}\n{"t": "b", "l": true}\n{"t": "c\\ud800", "l": "x"}\n'
    lines += '{"t": "d", "l": 1.0}\n{"t": "e", "l": -0.0}\n{"t": "f", "l": 1.5}\n'
    examples = _load(
        tmp_path, task_section(kind="classification", text="t", label="l"), train=(".jsonl", lines)
    )
    assert [e.label for e in examples["train"]] == ["1", "true", "x", "1", "0", "1.5"]
    assert examples["train"][2].text == "c\ufffd"
    numbers = '{"t": "a", "l": 1}\n{"t": "b", "l": -2.5}\n{"t": "c", "l": "3e-1"}\n'
    examples = _load(
        tmp_path, task_section(kind="regression", text="t", label="l"), train=(".jsonl", numbers)
    )
    assert [e.label for e in examples["train"]] == [1.0, -2.5, 0.3]


@pytest.mark.parametrize(
    ("extension", "content", "expected"),
    [
        (".csv", "body\nx\ny\n", [None, None]),
        (".csv", "body,class\nx,\ny,good\n", [None, "good"]),
        (".jsonl", '{"body": "x"}\n{"body": "y", "class": null}\n', [None, None]),
    ],
)
def test_labels_of_a_test_file_may_be_missing(tmp_path, extension, content, expected):
    config = task_section(kind="classification", text="body", label="class")
    train = (".csv", "body,class\nx,good\ny,bad\n")
    examples = _load(tmp_path, config, train=train, test=(extension, content))
    assert [e.label for e in examples["test"]] == expected
    with pytest.raises(UserError, match=r"label|column 'class'"):
        _load(tmp_path, config, train=train, dev=(extension, content))


def test_a_benchmarks_name_with_files_of_ones_own(tmp_path):
    examples = _load(
        tmp_path, task_section("rte", text="t", label="l"), name="rte", train=(".csv", "t,l\na,yes\nb,no\n")
    )
    assert [e.label for e in examples["train"]] == ["yes", "no"]


WORDS = [
    WordsExample("0", ("The", "a\u00a0b", "cat"), ("B-NP", "I-NP", "I-NP")),
    WordsExample("1", ("sat",), ("B-VP",)),
]


@pytest.mark.parametrize("content", [
    "The x B-NP\na\u00a0b x I-NP\ncat x I-NP\n\nsat x B-VP\n",
    "-DOCSTART- x O\n\n\nThe x  B-NP \r\na\u00a0b x I-NP\ncat x I-NP\n \nsat x B-VP",
])  # fmt: skip
def test_columns_of_words(tmp_path, content):
    config = task_section(kind="tagging")
    bare = "The\na\u00a0b\ncat\n\nsat\n"
    examples = _load(tmp_path, config, train=(".txt", content), test=(".txt.xz", bare))
    assert examples["train"] == WORDS
    assert examples["test"] == [WordsExample(e.id, e.words) for e in WORDS]
    with pytest.raises(UserError, match="line 1 has a word and no tag"):
        _load(tmp_path, config, dev=(".txt", bare))


@pytest.mark.parametrize(("content", "line", "words", "tags"), [
    # A tab separates alone, so that words may have blanks.
    ("New York\tB-LOC\nis\tO\n", 1, ("New York", "is"), ("B-LOC", "O")),
    ("New York\tB-LOC \t\n\u200bis \t \u200bO\ufeff\n", 1, ("New York", "\u200bis"), ("B-LOC", "O")),
    ("New York\tB-LOC\nis O\n", 1, ("New York", "is"), ("B-LOC", "O")),
    # Comments are before the first word, and have other columns; a word may begin with #.
    ("# sent_id = 1\n# text = # 1\n#\tO\n1\tO\n", 3, ("#", "1"), ("O", "O")),
    ("# newdoc\n\n# text = x\nx\tO\n#\tO\n", 4, ("x", "#"), ("O", "O")),
    ("# id 1\n# O\n#1 B-X\nx O\n", 2, ("#", "#1", "x"), ("O", "B-X", "O")),
])  # fmt: skip
def test_what_separates_columns_of_words_and_what_is_a_comment(tmp_path, content, line, words, tags):
    for extension in (".txt", ".tsv", ".conll"):
        (example,) = _load(tmp_path, task_section(kind="tagging"), train=(extension, content))["train"]
        assert (example.words, example.tags) == (words, tags)
        assert example.location.of_word(0) == f"{tmp_path}/train{extension}, line {line}"


def test_lists_of_words(tmp_path):
    config = task_section(kind="tagging", text="tokens", label="tags")
    lines = [{"tokens": e.words, "tags": e.tags} for e in WORDS]
    content = "\n".join(map(json.dumps, lines))
    test = json.dumps({"tokens": ["sat"]})
    examples = _load(tmp_path, config, train=(".jsonl", content), test=(".jsonl", test))
    assert examples == {"train": WORDS, "test": [WordsExample("0", ("sat",))]}


CONTEXT = "Ann met Bob. Ann left."


def _mrqa(question):
    return (
        json.dumps({"header": {"dataset": "x"}}) + "\n" + json.dumps({"context": CONTEXT, "qas": [question]})
    )


def test_mrqa(tmp_path):
    detected = [{"text": "Ann", "char_spans": [[0, 2], [13, 15]]}]
    question = {
        "qid": "q1",
        "question": "Who?",
        "answers": ["Ann", "Bob", "Carl"],
        "detected_answers": detected,
    }
    config = task_section(kind="question_answering")
    examples = _load(tmp_path, config, train=(".jsonl.gz", _mrqa(question)))
    answers = (Answer("Ann", 0), Answer("Ann", 13), Answer("Bob", 8))  # Carl is not in the context.
    assert examples["train"] == [QuestionExample("q1", "Who?", CONTEXT, answers)]
    hidden = _mrqa({"qid": "q1", "question": "Who?"})
    assert _load(tmp_path, config, test=(".jsonl", hidden))["test"][0].hidden
    with pytest.raises(UserError, match=r"line 2: qas\[0\] has neither 'answers' nor"):
        _load(tmp_path, config, dev=(".jsonl", hidden))
    with pytest.raises(UserError, match=r"line 2: qas\[0\] has no answer"):
        _load(tmp_path, config, dev=(".jsonl", _mrqa({"qid": "q", "question": "Who?", "answers": []})))


def test_gold_answers_of_mrqa_are_the_field_answers(tmp_path):
    """As its official evaluation has it; a detected answer is only where in the context one may be trained on."""
    question = {
        "qid": "q1",
        "question": "Who?",
        "answers": ["Ann B.", "Bob"],
        "detected_answers": [{"text": "Ann", "char_spans": [[0, 2]]}],
    }
    config = task_section(kind="question_answering")
    files = {split: (".jsonl", _mrqa(question)) for split in ("train", "dev")}
    examples = _load(tmp_path, config, **files)
    assert examples["train"][0].answers == (Answer("Ann", 0), Answer("Bob", 8))
    assert examples["dev"][0].answers == (Answer("Ann B.", None), Answer("Bob", 8))
    assert example_warnings(examples) == []
    del question["answers"]
    dev = _load(tmp_path, config, dev=(".jsonl", _mrqa(question)))["dev"]
    assert dev[0].answers == (Answer("Ann", 0),)


@pytest.mark.parametrize("extension", [".json", ".jsonl"])
def test_questions_whose_answer_is_not_in_the_context_are_left_out_of_training(tmp_path, extension):
    questions = [
        {"id": "there", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]},
        {"id": "case", "question": "Who?", "answers": [{"text": "ann  left", "answer_start": 13}]},
        {"id": "nowhere", "question": "Who?", "answers": [{"text": "Carl", "answer_start": 3}]},
    ]
    if extension == ".json":
        content = json.dumps(
            {"data": [{"paragraphs": [{"context": "Ann met Bob. Ann  left.", "qas": questions}]}]}
        )
        kept = ["there", "case"]
    else:
        for question in questions:
            question["answers"] = [question["answers"][0]["text"]]
        content = json.dumps({"context": CONTEXT, "qas": questions})
        kept = ["there"]
    notes: list[str] = []
    paths = {split: tmp_path / f"{split}{extension}" for split in ("train", "dev")}
    for path in paths.values():
        path.write_text(content)
    config = task_section(kind="question_answering", **{split: str(path) for split, path in paths.items()})
    examples = load_examples("mine", config, notes=notes)
    assert [example.id for example in examples["train"]] == kept
    assert len(examples["dev"]) == 3
    (note,) = notes
    assert f"{3 - len(kept)} of 3 questions are left out, as in the original" in note
    if extension == ".json":
        assert examples["train"][1].answers == (Answer("Ann  left", 13),)


def test_blanks_around_labels_make_no_classes_of_their_own(tmp_path):
    config = task_section(kind="classification", text="t", label="l")
    tags = task_section(kind="tagging", text="t", label="l")
    lines = '{"t": "a", "l": "pos\\t"}\n{"t": "b", "l": "\u3000pos"}\n{"t": "c", "l": "neg"}\n'
    for extension, content, count, first in (
        (".csv", "t,l\na,pos\n\ufeffb,pos\nc,\u200bneg\nd,neg\ufeff\n", 2, 4),
        (".csv", "t,l\r\na,pos\r\nb, pos\r\nc,neg\r\nd,neg \r\n", 2, 3),
        (".tsv", "t\tl\na\tpos \nb\tneg\n", 1, 2),
        (".jsonl", lines, 2, 1),
    ):
        path = tmp_path / f"train{extension}"
        path.write_text(content, newline="")
        notes: list[str] = []
        examples = load_examples("mine", config.model_copy(update={"train": str(path)}), notes=notes)
        assert {e.label for e in examples["train"]} == {"pos", "neg"}
        (note,) = notes
        assert re.search(rf"train\{extension}: {count} labels? ha.* blanks around.*line {first}\)", note)
    path.write_text('{"t": ["a", "b"], "l": ["O ", " B-X"]}')
    notes = []
    examples = load_examples("mine", tags.model_copy(update={"train": str(path)}), notes=notes)
    assert examples["train"][0].tags == ("O", "B-X")
    assert "2 labels have blanks" in notes[0]


def test_long_cells_of_csv_are_read_and_the_modules_limit_is_left_as_it_was(tmp_path):
    limit = csv.field_size_limit()
    config = task_section(kind="classification", text="t", label="l")
    content = "t,l\n" + '"' + "long, " * 50_000 + '",x\nb,y\n'
    assert len(_load(tmp_path, config, train=(".csv", content))["train"][0].text) == 300_000
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("extension", [".txt", ".conll", ".bio", ".iob", ".tsv", ".conll.gz"])
def test_words_are_read_whatever_the_file_is_called(tmp_path, extension):
    examples = _load(tmp_path, task_section(kind="tagging"), train=(extension, "Ann\tB-PER\nleft\tO\n"))
    assert examples["train"] == [WordsExample("0", ("Ann", "left"), ("B-PER", "O"))]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("extension", [".txt", ".tsv", ".csv", ".jsonl"])
def test_marks_and_line_ends_do_not_matter(tmp_path, extension, ends):
    separator = "," if extension == ".csv" else "\t"
    lines = [separator.join(row) for row in (("t", "l"), ("a", "x"), ("b", "y"))]
    if extension == ".jsonl":
        lines = ['{"t": "a", "l": "x"}', '{"t": "b", "l": "y"}']
    config = task_section(kind="classification", text="t", label="l")
    examples = _load(tmp_path, config, train=(extension, "\ufeff" + ends.join(lines)))
    assert [(e.text, e.label) for e in examples["train"]] == [("a", "x"), ("b", "y")]


def test_all_files_that_are_wrong_are_in_one_message(tmp_path):
    with pytest.raises(UserError) as caught:
        _load(tmp_path, C, train=(".csv", "t,l\n"), dev=(".csv", ""), test=(".csv", "i,t\n1,a\0\n"))
    message = str(caught.value)
    assert message.startswith("3 files cannot be read: ")
    assert all(f"{split}.csv" in message for split in ("train", "dev", "test"))


def test_of_two_files_that_are_wrong_the_advice_is_kept(tmp_path):
    line = '{"l": "y", "a column with a rather long name": "y", "another column with a long name": "y", "third": 1}\n'
    with pytest.raises(UserError) as caught:
        _load(tmp_path, C, train=(".jsonl", line), dev=(".jsonl", line))
    message = str(caught.value)
    assert message.startswith("2 files cannot be read: ")
    assert message.count("mend the file") == 2


def test_a_column_that_all_files_lack_the_name_of_is_asked_for_once(tmp_path):
    rows = (".csv", "t,l\na,x\n")
    with pytest.raises(UserError) as caught:
        _load(tmp_path, task_section(kind="classification", label="l"), train=rows, dev=rows, test=rows)
    message = str(caught.value)
    assert "files cannot be read" not in message
    assert message.count("finetune.tasks") == 1


def _squad(question):
    return json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": [question]}]}]})


def test_squad_questions_without_answers_are_impossible_or_hidden(tmp_path):
    config = task_section(kind="question_answering")
    base = {"id": "q1", "question": "Who?"}
    impossible = _load(tmp_path, config, dev=(".json", _squad(base | {"answers": [], "is_impossible": True})))
    assert impossible["dev"] == [QuestionExample("q1", "Who?", CONTEXT)]
    hidden = _load(tmp_path, config, test=(".json", _squad(base)))
    assert hidden["test"] == [QuestionExample("q1", "Who?", CONTEXT, hidden=True)]
    with pytest.raises(UserError, match=r"qas\[0\] has no field 'answers' \(it has 'id', 'question'\)"):
        _load(tmp_path, config, dev=(".json", _squad(base)))


C, R, T, Q = (
    task_section(kind="classification", text="t", label="l", id="i"),
    task_section(kind="regression", text="t", label="l"),
    task_section(kind="tagging", text="t", label="l"),
    task_section(kind="question_answering"),
)
ANSWER = {"id": "q", "question": "Who?"}
WRONG = [
    (C, {"train": (".csv", "t,l\na,b\n")}, r"train\.csv has no column 'i'; its columns are 't', 'l'"),
    (C, {"train": (".csv", "t,l,l\na,b,c\n")}, "more than one column 'l'"),
    (C, {"train": (".csv", "i,t,l\n1,a,b\n\ufeffi,t,l\n")}, "line 3 is the first line again"),
    (C, {"train": (".csv", 'i,t,l\n1,"a"b,c\n')}, "line 2 is not CSV"),
    (C, {"train": (".csv", "i,t,l\n1,a,b\n1,c,d\n")}, "2 train examples have the id '1'"),
    (C, {"train": (".csv", "i,t,l\n1,a,b\n"), "dev": (".csv", "i,t,l\n1,a,c\n")},
     r"finetune\.tasks\.mine: the dev example '1' has the label 'c', which is not in the training examples; .* 'b'"),
    (C, {"train": (".csv", "i,t,l\n1,a,b\n"), "test": (".csv", "i,t,l\n1,a,c\n")}, "the test example '1'"),
    (C, {"train": (".jsonl", '{"t": "a"}\n')}, r"line 1 has no field 'l', the label \(it has 't'\)"),
    (C, {"train": (".jsonl", '{"i": 1, "t": "a", "l": 1}\n\n{"t" "b"}\n')},
     "line 3, column 6 is not JSON: expecting ':'"),
    (C, {"train": (".jsonl", "[1]\n")}, "line 1 is not a JSON object .* but a list"),
    (C, {"train": (".jsonl", '{"i": 1, "t": 3, "l": 1}')}, "line 1: the field 't' is a whole number and not text"),
    (C, {"train": (".jsonl", '{"i": 1, "t": "a", "l": [1]}')}, "line 1: the label is a list or an object"),
    (C, {"train": (".doc", "a b\n")}, r"not a file classification can be read from; give \.csv, \.tsv, \.txt, \.jsonl"),
    (C, {"train": (".jsonl", "\n")}, r"there are no train examples in \S+\.jsonl; give a file"),
    (R, {"train": (".csv", "t,l\na,many\n")}, "line 2: the label 'many' is not a number"),
    (C, {"train": (".jsonl", '{"i": 1, "t": "a", "l": NaN}')}, "line 1: the label is NaN, which is no class"),
    (C, {"train": (".jsonl", '{"i": 1, "t": "a", "l": -1e999}')}, "line 1: the label is -Infinity, which is no class"),
    (C.model_copy(update={"multi_label": True}), {"train": (".jsonl", '{"i": 1, "t": "a", "l": ["a", 1e999]}')},
     "line 1: the label is Infinity"),
    (C, {"train": (".csv", "i,t,l\n1,a,b\n2,a,\u200b\n")}, "line 3 has no label"),
    (R, {"train": (".csv", "t,l\na,1\nb,1_0\n")}, "line 3: the label '1_0' is not a number"),
    (R, {"train": (".csv", "t,l\na,inf\n")}, "line 2: the label 'inf' is not a number"),
    (R, {"train": (".jsonl", '{"t": "a", "l": true}')}, "line 1: the label True is not a number"),
    (T, {"train": (".jsonl", '{"t": ["a", "b"], "l": ["O"]}')}, "line 1 has 2 words and 1 tags"),
    (task_section(kind="tagging"), {"train": (".txt", "a\tO\n\tO\n")}, "line 2 has no word before its first tab"),
    (task_section(kind="tagging"), {"train": (".tsv", "a\tO\nb\t \n")}, "line 2 has 1 columns where line 1 has 2"),
    (task_section(kind="tagging"), {"train": (".tsv", "a\tO\nb\t\u200b\n")}, "line 2 has no tag"),
    (task_section(kind="tagging"), {"train": (".conll", "a O\n# x = y\nb O\n")},
     "line 2 has 4 columns .* or leave it out if it is a comment"),
    (task_section(kind="tagging"), {"train": (".conll", "a\tx\tO\nb x O\nc d\tO")},
     "line 3 has 2 columns where line 1 has 3"),
    (task_section(kind="tagging"), {"train": (".conll", "# text = a\n1\ta\ta\tX\t_\t_\t0\troot\t_\t_\n")},
     r"train\.conll is CoNLL-U, whose words are the second of ten columns"),
    (T, {"train": (".jsonl", '{"t": [], "l": []}')}, "line 1 has no words"),
    (T, {"train": (".jsonl", '{"t": ["a", 1], "l": ["O", "O"]}')}, "'t' holds 1, which is not text"),
    (Q, {"train": (".json", _squad(ANSWER | {"answers": [{"text": "x", "answer_start": 99}]}))},
     "the answer 'x' begins at character 99 of a context of 22"),
    (Q, {"train": (".json", _squad(ANSWER | {"answers": [{"text": "", "answer_start": 0}]}))}, "an empty answer"),
    (Q, {"train": (".json", _squad(ANSWER | {"answers": [{"text": "x", "answer_start": "0"}]}))},
     "the field 'answer_start' is text and not a whole number"),
    (Q.model_copy(update={"id": "i"}), {"train": (".jsonl", "{}")}, r"mine\.id is 'i', but .* without names"),
    (T, {"train": (".txt", "a\tO\n")}, r"mine\.text is 't', but .*train\.txt is of a format without names"),
    (Q, {"train": (".jsonl", '{"question": "Who?"}')}, "line 1 is not in MRQA's format: it has 'question'"),
    (task_section(kind="tagging"), {"train": (".txt", "a O\n\nb c O\n")}, "line 3 has 3 columns where line 1 has 2"),
    (task_section(kind="classification"), {"train": (".csv", "t,l\n")}, r"finetune\.tasks\.mine\.text is not set"),
    (task_section(kind="classification", text="t"), {"train": (".csv", "t,l\n")}, r"mine\.label is not set"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "files", "message"), WRONG)
def test_files_that_are_wrong_are_refused_in_one_sentence(tmp_path, config, files, message):
    with pytest.raises(UserError, match=message) as caught:
        _load(tmp_path, config, **files)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_those_beside_it(tmp_path):
    (tmp_path / "train.csv").touch()
    config = C.model_copy(update={"train": str(tmp_path / "trian.csv")})
    with pytest.raises(UserError, match=r"trian\.csv does not exist; files beside it: 'train\.csv'"):
        load_examples("mine", config)


def test_a_packed_file_that_was_cut_off(tmp_path):
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(gzip.compress(JSONL.encode())[:-10])
    with pytest.raises(UserError, match=r"train\.jsonl\.gz is damaged or incomplete"):
        load_examples("mine", TEXTS.model_copy(update={"train": str(path)}))
