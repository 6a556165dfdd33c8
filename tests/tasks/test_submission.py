"""GLUE's submission files, byte for byte."""

from types import SimpleNamespace

import pytest

from electra_jax.errors import UserError
from electra_jax.tasks.sources import BENCHMARKS
from electra_jax.tasks.submission import check_submission, write_submission


def test_rows_are_in_the_order_of_their_index(tmp_path):
    folder = tmp_path / "new" / "folder"
    predictions = [{"id": str(i), "label": label} for i, label in ((10, "1"), (9, "0"), (0, "1"))]
    (path,) = write_submission(folder, "cola", {"test": predictions, "dev": predictions})
    assert path == folder / "CoLA.tsv"
    assert path.read_bytes() == b"index\tprediction\n0\t1\n9\t0\n10\t1\n"
    assert [p.name for p in folder.iterdir()] == ["CoLA.tsv"]


def test_mnli_has_three_files(tmp_path):
    one, two = [{"id": "0", "label": "neutral"}], [{"id": "0", "label": "contradiction"}]
    paths = write_submission(tmp_path, "mnli", {"test": one, "test_mismatched": two, "test_diagnostic": one})
    assert [(p.name, p.read_text()) for p in paths] == [
        ("MNLI-m.tsv", "index\tprediction\n0\tneutral\n"),
        ("MNLI-mm.tsv", "index\tprediction\n0\tcontradiction\n"),
        ("AX.tsv", "index\tprediction\n0\tneutral\n"),
    ]


def test_sts_b_has_numbers_from_0_to_5(tmp_path):
    values = [-0.2, 0.12349, 4.9996, 5.7]
    predictions = [{"id": str(number), "value": value} for number, value in enumerate(values)]
    (path,) = write_submission(tmp_path, "stsb", {"test": predictions})
    assert path.read_text() == "index\tprediction\n0\t0.000\n1\t0.123\n2\t5.000\n3\t5.000\n"


def test_names_of_all_files():
    names = {file for benchmark in BENCHMARKS.values() for file in benchmark.submission.values()}
    assert names == {
        *("CoLA.tsv", "SST-2.tsv", "MRPC.tsv", "STS-B.tsv", "QQP.tsv", "MNLI-m.tsv", "MNLI-mm.tsv"),
        *("QNLI.tsv", "RTE.tsv", "WNLI.tsv", "AX.tsv"),
    }


def test_other_tasks_have_none(tmp_path):
    assert write_submission(tmp_path / "x", "mine", {"test": [{"id": "0", "label": "a"}]}) == []
    assert write_submission(tmp_path / "x", "squad", {"test": [{"id": "0", "answer": "a"}]}) == []
    assert write_submission(tmp_path / "x", "rte", {"dev": []}) == []
    assert not (tmp_path / "x").exists()


def test_labels_that_glue_does_not_have(tmp_path):
    with pytest.raises(
        UserError, match="rte: 'yes' is predicted, but GLUE's labels are entailment, not_entail"
    ):
        write_submission(tmp_path, "rte", {"test": [{"id": "0", "label": "yes"}]})


def test_what_could_not_be_written_is_refused_before_training():
    task = SimpleNamespace(kind="classification", labels=("0", "1"))
    check_submission({"cola": {"test": []}}, {"cola": task})
    with pytest.raises(UserError, match=r"cola, mine is none that has test examples"):
        check_submission({"cola": {"dev": []}, "mine": {"test": []}}, {"cola": task, "mine": task})
    task.labels = ("0", "bad")
    with pytest.raises(UserError, match="cola has the class 'bad', but GLUE's labels are 0, 1"):
        check_submission({"cola": {"test": []}}, {"cola": task})


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"CoLA\.tsv cannot be written"):
        write_submission(tmp_path / "file", "cola", {"test": [{"id": "0", "label": "1"}]})
