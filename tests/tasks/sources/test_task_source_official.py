"""Official files: what is read is what another reader reads, and what is not official is refused."""

import csv
import gzip
import json
from collections import Counter

import pytest
from task_sections import task_section

from electra_jax.errors import UserError
from electra_jax.tasks.protocol import TextExample
from electra_jax.tasks.sources import BENCHMARKS, collect_labels, example_warnings, load_examples
from electra_jax.tasks.sources.checks import is_in_place

# Examples a split, as published (and, for the held-out ones, a tenth of train).
COUNTS = {
    "cola": {"train": 8551, "dev": 1043, "test": 1063},
    "sst2": {"train": 67349, "dev": 872, "test": 1821},
    "mrpc": {"train": 3668, "dev": 408, "test": 1725},
    "stsb": {"train": 5749, "dev": 1500, "test": 1379},
    "qnli": {"dev": 5463},
    "rte": {"train": 2490, "dev": 277, "test": 3000},
    "wnli": {"train": 635, "dev": 71, "test": 146},
    "squad2": {"train": 4964, "dev": 1114},
    "chunk": {"train": 8043, "dev": 893, "test": 2012},
    "ner": {"train": 14041, "dev": 3250, "test": 3453},
    "ag_news": {"train": 25957, "dev": 2884, "test": 7600},
}


def _config(shared, name):
    return task_section(name, data=str(shared / "data" / ("glue" if BENCHMARKS[name].submission else "")))


@pytest.mark.shared_data
@pytest.mark.parametrize("name", COUNTS)
def test_counts_and_labels_of_the_real_files(shared, name):
    config = _config(shared, name)
    examples = load_examples(name, config)
    assert {split: len(items) for split, items in examples.items()} == COUNTS[name]
    assert example_warnings(examples) == []
    labels = collect_labels(None, BENCHMARKS[name], examples.get("train", examples["dev"]))
    if BENCHMARKS[name].kind == "classification":
        assert labels == BENCHMARKS[name].labels
        assert {example.label for example in examples["dev"]} == set(labels)
    if BENCHMARKS[name].submission and "test" in examples:
        assert all(example.label is None for example in examples["test"])
        assert [example.id for example in examples["test"]] == [str(i) for i in range(len(examples["test"]))]
    if name == "chunk":
        assert len(labels) == 22
        assert labels[-1] == "O"
    if name == "ner":
        assert len(labels) == 9


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "folder", "columns"),
    [
        ("mrpc", "MRPC", ("#1 String", "#2 String", "Quality")),
        ("stsb", "STS-B", ("sentence1", "sentence2", "score")),
        ("rte", "RTE", ("sentence1", "sentence2", "label")),
        ("wnli", "WNLI", ("sentence1", "sentence2", "label")),
        ("sst2", "SST-2", ("sentence", None, "label")),
        ("cola", "CoLA", ("3", None, "1")),
    ],
)
def test_glue_is_read_as_the_csv_module_reads_it_without_quotes(shared, name, folder, columns):
    examples = load_examples(name, _config(shared, name))
    for split in ("train", "dev"):
        with open(shared / "data/glue" / folder / f"{split}.tsv", encoding="utf-8-sig", newline="") as file:
            names = list("0123") if name == "cola" else None
            reader = csv.DictReader(file, names, delimiter="\t", quoting=csv.QUOTE_NONE)
            expected = [tuple(row[column] if column else None for column in columns) for row in reader]
        if name == "stsb":
            expected = [(text, pair, float(label)) for text, pair, label in expected]
        assert [(e.text, e.pair, e.label) for e in examples[split]] == expected


@pytest.mark.shared_data
def test_every_answer_of_squad_is_where_it_is_said_to_be(shared):
    examples = load_examples("squad2", _config(shared, "squad2"))
    for split, answers, impossible in (("train", 7931, 2547), ("dev", 2121, 621)):
        questions = examples[split]
        assert sum(len(q.answers) for q in questions) == answers
        assert sum(is_in_place(q, a) for q in questions for a in q.answers) == answers
        assert sum(not q.answers for q in questions) == impossible
    assert max(len(q.answers) for q in examples["dev"]) > 1


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "folder", "files"), [
    ("chunk", "conll2000", {"train": "train.txt", "test": "test.txt"}),
    ("ner", "conll2003", {"train": "train.txt", "dev": "valid.txt", "test": "test.txt"}),
])  # fmt: skip
def test_every_word_and_tag_of_conll_is_kept(shared, name, folder, files):
    examples = load_examples(name, _config(shared, name))
    if name == "chunk":  # The dev sentences are the end of the training file.
        examples["train"] += examples.pop("dev")
        assert [e.id for e in examples["train"]] == [str(i) for i in range(8936)]
    for split, file in files.items():
        lines = (shared / "data" / folder / file).read_text(encoding="utf-8").split("\n")
        rows = [line.split() for line in lines if line.strip() and not line.startswith("-DOCSTART-")]
        assert [(w, t) for e in examples[split] for w, t in zip(e.words, e.tags)] == [
            (r[0], r[-1]) for r in rows
        ]


@pytest.mark.shared_data
def test_ag_news_reads_both_of_its_forms(shared):
    examples = load_examples("ag_news", _config(shared, "ag_news"))
    assert examples["test"][0].text.startswith(
        "Fears for T N pension after talks . Unions representing workers"
    )
    assert examples["test"][0].label == "Business"
    assert Counter(e.label for e in examples["test"]) == dict.fromkeys(BENCHMARKS["ag_news"].labels, 1900)
    assert [e.id for e in examples["dev"][:2]] == ["9", "19"]


def _mnli(folder):
    names = ["index", "sentence1", "sentence2"]
    for split in ("train", "dev_matched", "dev_mismatched"):
        rows = [[*names, "label1", "gold_label"], ["0", f'"{split}', "b", "neutral", "entailment"]]
        (folder / f"{split}.tsv").write_text("".join("\t".join(row) + "\r\n" for row in rows))
    for split in ("test_matched", "test_mismatched"):
        (folder / f"{split}.tsv").write_text("\t".join(names) + "\n7\tx\u2028y\tb")
    return folder


def test_mnli_has_five_splits(tmp_path):
    examples = load_examples("mnli", task_section("mnli", data=str(_mnli(tmp_path))))
    assert examples == {
        "train": [TextExample("0", '"train', "b", "entailment")],
        "dev": [TextExample("0", '"dev_matched', "b", "entailment")],
        "dev_mismatched": [TextExample("0", '"dev_mismatched', "b", "entailment")],
        "test": [TextExample("7", "x\u2028y", "b")],
        "test_mismatched": [TextExample("7", "x\u2028y", "b")],
    }


def test_qqp_and_packed_files(tmp_path):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    (tmp_path / "QQP").mkdir()
    (tmp_path / "QQP/train.tsv.gz").write_bytes(gzip.compress((header + "5\t1\t2\tWhy?\tHow?\t1\n").encode()))
    (tmp_path / "QQP/test.tsv").write_text("id\tquestion1\tquestion2\n3\tWho?\tWhat?\n")
    assert load_examples("qqp", task_section("qqp", data=str(tmp_path))) == {
        "train": [TextExample("0", "Why?", "How?", "1")],
        "test": [TextExample("3", "Who?", "What?")],
    }


def test_rows_that_are_too_short_are_left_out_as_the_original_does(tmp_path):
    """QQP's training file has three; a question with a line break in it gives two."""
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    broken = "5\t1\t2\tWhy is\n it so?\tHow?\t1\n6\t1\t2\tWho?\n"
    (tmp_path / "train.tsv").write_text(header + "4\t1\t2\tWhy?\tHow?\t1\n" + broken + "7\t1\t2\tA?\tB?\t0\n")
    (tmp_path / "dev.tsv").write_text(header + "8\t1\t2\tWho?\tWhat?\t1\n")
    notes: list[str] = []
    examples = load_examples("qqp", task_section("qqp", data=str(tmp_path)), notes=notes)
    assert examples["train"] == [TextExample("0", "Why?", "How?", "1"), TextExample("1", "A?", "B?", "0")]
    (note,) = notes
    assert "train.tsv: 3 rows with too few columns are left out, as in the original (lines 3, 4, 5)" in note


@pytest.mark.parametrize("file", ["diagnostic/diagnostic.tsv", "AX/AX.tsv", "MNLI/diagnostic.tsv"])
@pytest.mark.parametrize("given", ["", "MNLI"])
def test_glues_diagnostic_examples_go_with_mnli(tmp_path, file, given):
    header, more = "sentence1\tsentence2\tgold_label\n", "index\tsentence1\tsentence2\n0\ta\tb\n"
    for path, text in (("MNLI/train.tsv", header + "a\tb\tneutral\n"), (file, more)):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert load_examples("mnli", task_section("mnli", data=str(tmp_path / given))) == {
        "train": [TextExample("0", "a", "b", "neutral")],
        "test_diagnostic": [TextExample("0", "a", "b")],
    }


def test_squad_1_and_2_are_told_apart_by_their_files(tmp_path):
    def content(answers, **more):
        question = {"id": "q", "question": "Who?", "answers": answers, **more}
        return json.dumps({"data": [{"paragraphs": [{"context": "Ann did.", "qas": [question]}]}]})

    (tmp_path / "dev-v1.1.json").write_text(content([{"text": "Ann", "answer_start": 0}]))
    (tmp_path / "dev-v2.0.json").write_text(content([{"text": "Ann", "answer_start": 0}], is_impossible=True))
    config = task_section("squad", data=str(tmp_path))
    assert [a.text for a in load_examples("squad", config)["dev"][0].answers] == ["Ann"]
    assert load_examples("squad2", config)["dev"][0].answers == ()


WRONG = [
    ("rte", "train.tsv", "index\tsentence1\tlabel\n0\ta\tentailment\n", r"no column 'sentence2'.*'index', 'sente"),
    ("rte", "train.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tentailment\n", r"there are no train examples"),
    ("rte", "train.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tc\td\n", r"line 2 has 5 columns.*has 4"),
    ("rte", "train.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tmaybe\n", r"train.*'maybe'.*'entailment'"),
    ("rte", "train.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\t\n", "line 2 has no label"),
    ("rte", "train.tsv", "index\tsentence1\tsentence2\tlabel\n", "there are no train examples"),
    ("rte", "train.tsv", "", r"train\.tsv is empty"),
    ("rte", "test.tsv", "index\tsentence1\tsentence2\n1\ta\tb\n1\tc\td\n", "2 test examples have the id '1'"),
    ("rte", "other.tsv", "x", r"none of train\.tsv, dev\.tsv, test\.tsv.*RTE/; found there: other\.tsv"),
    ("cola", "train.tsv", "a\tb\n", r"has 2 columns where the benchmark's file has 4.*'a', 'b'"),
    ("stsb", "dev.tsv", "sentence1\tsentence2\tscore\na\tb\tgood\n", "line 2: the label 'good' is not a number"),
    ("stsb", "dev.tsv", "sentence1\tsentence2\tscore\na\tb\tnan\n", "line 2: the label 'nan' is not a number"),
    ("ner", "train.txt", "EU NNP B-NP B-ORG\nrejects B-VP O\n", "line 2 has 3 columns where line 1 has 4"),
    ("chunk", "train.txt", "EU NNP B-NP B-ORG\n", "line 1 has 4 columns where there should be 3"),
    ("ner", "train.txt", "-DOCSTART- -X- -X- O\n\n", "has no sentence"),
    ("squad2", "dev-v2.0.json", '{"data": [\n{"x": }]}', r"line 2, column 7 is not JSON: expecting value"),
    ("squad2", "dev-v2.0.json", '{"data": [{"x": 1}]}', r"data\[0\] has no field 'paragraphs' \(it has 'x'\)"),
    ("ag_news", "test.csv", '"1","a","b\n', r"line 1 is not CSV \(its quote is not closed\)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "content", "message"), WRONG)
def test_files_that_are_not_official_are_refused_in_one_sentence(tmp_path, name, file, content, message):
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        load_examples(name, task_section(name, data=str(tmp_path)))
    assert "\n" not in str(caught.value)
    assert "finetune.tasks." in str(caught.value) or str(tmp_path) in str(caught.value)


def test_a_file_that_is_not_utf_8_names_the_line(tmp_path):
    (tmp_path / "train.txt").write_bytes("EU NNP B-NP B-ORG\nfür IN O O\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"train\.txt, line 2, column 2 is not utf-8 \(byte 0xfc\)"):
        load_examples("ner", task_section("ner", data=str(tmp_path)))


def test_splits_that_are_needed_must_be_there(tmp_path):
    config = task_section("mnli", data=str(_mnli(tmp_path)))
    (tmp_path / "train.tsv").unlink()
    assert "train" not in load_examples("mnli", config)
    with pytest.raises(
        UserError, match=r"has no train examples \(train\.tsv\); found in .*: dev_matched\.tsv, "
    ):
        load_examples("mnli", config, needs=("train", "dev"))


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("rte", task_section("rte"), "names neither data nor files"),
        ("rte", task_section("rte", data="x", train="y"), "names both data and train"),
        ("rte", task_section("rte", data="/no/such"), "/no/such does not exist"),
        (
            "rte",
            task_section("rte", data="/no/such", kind="regression"),
            "kind is regression, but rte is classification",
        ),
        ("rte", task_section("rte", data="/no/such", text="body"), r"rte\.text is set, but official files"),
        ("RTE", task_section("RTE", data="/no/such"), r"'RTE' is no benchmark \(did you mean rte\?\)"),
        (
            "mine",
            task_section(data="/no/such", kind="tagging"),
            "data is a folder, but 'mine' is no benchmark",
        ),
    ],
)
def test_configurations_that_cannot_be_read_from(name, config, message):
    with pytest.raises(UserError, match=message):
        load_examples(name, config)
