"""`electra_jax.benchmark` on runs that were trained here: the exam, pairs, probes and a fine-tuning."""

import errno
import json
import os
import shutil

import jax
import pytest
from command_runs import contents
from small_run import OBJECTS, SUBJECTS, small_config

from electra_jax.benchmark import __main__ as benchmark
from electra_jax.benchmark.suite import Suite
from electra_jax.config import dump_config
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network
from electra_jax.tokenizers import load_tokenizer
from electra_jax.training.checkpoints import RunIdentity, write_params

TINY = Suite(sentences=20, replaced_share=0.2, pairs=2, layers=4, probe_examples=12, seeds=1, samples=20)


@pytest.fixture
def place(finished, tmp_path, monkeypatch):
    """A directory with data of every kind, named in benchmark.yaml, which is where the command runs."""
    monkeypatch.setitem(benchmark.SUITES, "small", TINY)
    monkeypatch.chdir(tmp_path)
    shutil.copy(finished / "corpus.txt", "text.txt")
    pairs = [{"uid": uid, "good": "the cat likes the moon.", "bad": "moon the likes."} for uid in "aab"]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (tmp_path / "marked.tsv").write_text("the\tc\ncat\ti\n\nmoon\tc\n.\ti\n")
    rows = [(text, label) for label, texts in (("who", SUBJECTS), ("what", OBJECTS)) for text in texts]
    (tmp_path / "task.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    (tmp_path / "benchmark.yaml").write_text(
        "exam: text.txt\npairs: {order: pairs.jsonl}\nerrors: {marked: marked.tsv}\n"
        "probes:\n  who: &who {kind: classification, train: task.csv, dev: task.csv, text: text, label: label}\n"
        "finetune:\n  who: *who\n"
        "settings: [train.batch_size=4, finetune.epochs=1, 'finetune.length_buckets=[8]']\n"
    )
    return tmp_path


def test_runs_are_asked_the_same_and_compared(place, workdir, command):
    shutil.copytree(workdir, "other")
    before = contents(workdir)
    argv = (
        "work",
        "other",
        "--data",
        ".",
        "--only",
        "exam,errors,pairs,probes",
        "--generator",
        "work",
        "--out",
        "out.json",
    )
    ended = command(benchmark.main, *argv)
    assert ended.status == 0, ended.err
    results = json.loads((place / "out.json").read_text())
    first, other = results["runs"]
    assert list(first["scores"]) == [
        "exam, any word: AUC",
        "exam, a word that follows: AUC",
        "exam, a generator's word: AUC",
        "marked: AUC",
        "order, rtd",
        "order, pll",
        "who probe, layer 1: accuracy",
    ]
    assert [score["items"] for score in first["scores"].values()] == [20, 20, 20, 2, 3, 3, 14]
    assert [first["label"], other["label"], first["step"]] == ["work", "other", 6]
    assert first["scores"] == other["scores"]
    assert first["scores"]["who probe, layer 1: accuracy"]["value"] > 50
    assert {(some["difference"], some["p"]) for some in results["comparisons"]} == {(0.0, 1.0)}
    assert len(results["comparisons"]) == 7
    assert (first["tokens"], first["kept"] < first["parameters"]) == (6 * 8 * 16, True)
    assert first["flops"] > 1e6
    assert first["seconds"] > 0
    assert ended.out.splitlines()[0].split() == ["work", "other"]
    assert len(ended.out.splitlines()) == 1 + 5 + 7
    assert contents(workdir) == before


def _write_untrained(folder, kind, tokenizer_folder):
    """A work directory of a small network of another objective, with parameters at random."""
    config = small_config(model={"num_layers": 1}, objective={"kind": kind})
    tokenizer = load_tokenizer(tokenizer_folder)
    network = build_network(config, tokenizer.vocab_size)
    params = jax.jit(lambda: init_params(network, jax.random.key(0)))()
    folder.mkdir()
    (folder / "config.yaml").write_text(dump_config(config))
    tokenizer.save(folder / "tokenizer")
    identity = RunIdentity(tokenizer.fingerprint, None, config.model_dump())
    write_params(folder / "checkpoints", 1, params, identity)


def test_parts_that_a_language_model_cannot_take_are_skipped_by_name(place, workdir, command):
    """The first run of two is a causal language model; a masked one replaces words of the exam."""
    _write_untrained(place / "causal", "causal_lm", workdir / "tokenizer")
    _write_untrained(place / "masked", "masked_lm", workdir / "tokenizer")
    argv = ("causal", "work", "--data", ".", "--only", "exam,probes", "--generator", "masked")
    ended = command(benchmark.main, *argv, "--out", "out.json")
    assert ended.status == 0, ended.err
    causal, work = json.loads((place / "out.json").read_text())["runs"]
    assert causal["skipped"]["probes"] == "a causal language model has no vectors of texts"
    assert (causal["scores"], work["skipped"]) == ({}, {})
    assert {"exam, a generator's word: AUC", "who probe, layer 1: accuracy"} < {*work["scores"]}
    assert "causal skipped probes: a causal language model has no vectors of texts" in ended.out


def test_the_table_is_there_though_the_file_cannot_be_written(place, workdir, command, monkeypatch):
    def full(path, value):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(benchmark, "write_json", full)
    argv = ("work", "--data", ".", "--only", "errors")
    refused = command(benchmark.main, *argv, "--out", "out.json")
    assert (refused.status, "disk full" in refused.err) == (2, True)
    assert refused.out.splitlines()[-1].startswith("marked: AUC")


def test_what_is_not_known_of_the_costs_is_left_out(place, workdir, command):
    """A line of metrics that was cut short when its writer was killed; a checkpoint of converted weights."""
    shutil.copytree(workdir, "killed")
    with (place / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "split": "tr')
    shutil.copytree(workdir, "converted")
    for progress in (place / "converted").glob("checkpoints/*/progress"):
        shutil.rmtree(progress)
    argv = ("work", "killed", "converted", "--data", ".", "--only", "errors", "--out", "out.json")
    ended = command(benchmark.main, *argv)
    assert ended.status == 0, ended.err
    names = ("tokens", "flops", "seconds")
    costs = [[run[name] for name in names] for run in json.loads((place / "out.json").read_text())["runs"]]
    assert costs[0] == costs[1]
    assert costs[2] == [None] * 3


def test_fine_tunings_are_kept_and_read_again(place, workdir, command):
    argv = (
        "work",
        "--data",
        "benchmark.yaml",
        "--only",
        "finetune",
        "--workdir",
        "kept",
        "--out",
        "out.json",
    )
    first = command(benchmark.main, *argv)
    assert first.status == 0, first.err
    (score,) = json.loads((place / "out.json").read_text())["runs"][0]["scores"].items()
    assert score[0] == "who fine-tuned: accuracy"
    assert len(score[1]["by_seed"]) == 1
    (kept,) = (place / "kept").iterdir()
    written = contents(kept / "who" / "seed-0" / "predictions")
    assert written
    # Another suite has more seeds of it, the last of which was not finished.
    shutil.copytree(kept / "who" / "seed-0", kept / "who" / "seed-1")
    (kept / "who" / "seed-1" / "result.json").unlink()
    refused = command(benchmark.main, *argv)
    assert (refused.status, "--out out.json exists already; name another file" in refused.err) == (2, True)
    again = command(benchmark.main, *argv[:-1], "again.json")
    assert (again.status, again.out) == (0, first.out)
    assert (place / "again.json").read_text() == (place / "out.json").read_text()
    assert "already trained" in again.err or contents(kept / "who" / "seed-0" / "predictions") == written


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--data", "."], ["nowhere"]),
        (["work", "--data", "nowhere.yaml"], ["--data nowhere.yaml cannot be read: No such file"]),
        (["work", "--data", ".", "--only", "all"], ["--only 'all' is no part"]),
        (["work", "--data", ".", "--suite", "huge"], ["--suite: invalid choice: 'huge'"]),
        (["work", "--data", ".", "--out", "."], ["--out . is a directory"]),
        (
            ["work", "--data", ".", "--only", "pairs", "--generator", "work"],
            ["--generator writes wrong words for the exam, which is not asked"],
        ),
    ],
    ids=lambda part: part[-1],
)
def test_mistake_of_benchmark(arguments, words, place, workdir, command):
    before = contents(place)
    ended = command(benchmark.main, *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert all(word in ended.err.splitlines()[-1] for word in words), ended.err
    assert contents(place) == before


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("train: task.csv", "train: nowhere.csv", "nowhere.csv"),
        ("kind: classification", "kind: regression", "number"),
        ("train.batch_size=4", "train.batchsize=4", "unknown key train.batchsize"),
    ],
    ids=["file", "kind", "settings"],
)
def test_tasks_are_read_before_anything_is_computed(
    right, wrong, words, place, workdir, command, monkeypatch
):
    monkeypatch.delattr(benchmark, "_examine")
    file = place / "benchmark.yaml"
    file.write_text(file.read_text().replace(right, wrong))
    before = contents(place)
    ended = command(benchmark.main, "work", "--data", ".")
    assert (ended.status, ended.out) == (2, "")
    assert words in ended.err.splitlines()[-1], ended.err
    assert contents(place) == before
