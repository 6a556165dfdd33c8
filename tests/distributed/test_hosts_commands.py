"""The commands on two hosts: what they write, once, is what one process with as many devices writes."""

import json
import re
import sys
from pathlib import Path

import pytest
from processes import TESTS, Hosts

sys.path.append(str(TESTS / "commands"))
from command_runs import metrics_of, write_run, write_vocabulary
from small_run import write_corpus

RECIPE = TESTS.parent / "configs" / "finetune" / "recipe.yaml"


def _run(folder: Path, hosts: int, module: str, *arguments: object):
    """Four devices, on one host or on two; what host 0 printed."""
    ended = Hosts(folder, ("-m", f"electra_jax.{module}", *arguments), hosts, 4 // hosts).ended()
    assert [e.status for e in ended] == [0] * hosts, [e.err for e in ended]
    first, *others = (
        re.sub(r"(?m)^.*(Gloo|peer ranks).*\n", "", e.out) for e in ended
    )  # which it prints itself
    assert not any(others)
    return first


def _assert_close(one, other):
    """Equal but for the order in which float32 sums of devices are added, which differs across hosts."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert other[name] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value), name


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the same run by one host in ``one`` and by two in ``two``."""
    folder = tmp_path_factory.mktemp("trained")
    config = write_run(folder)
    for hosts, name in ((2, "two"), (1, "one")):
        shown = _run(folder / f"said_{name}", hosts, "train", "--config", config, "--workdir", folder / name)
        assert "Held-out text with replacements" in shown
    return folder


@pytest.mark.slow
def test_training_on_two_hosts(trained):
    one, two = metrics_of(trained / "one"), metrics_of(trained / "two")
    assert len(one) == len(two) == 4
    for line, other in zip(one, two, strict=True):
        _assert_close(line, other)
    assert (trained / "one" / "config.yaml").read_text() == (trained / "two" / "config.yaml").read_text()
    waited = (trained / "said_two" / "err.1").read_text()
    assert "waiting for host 0: preparing tokenizer and text" in waited
    assert "is in the cache" in waited
    assert "tokenising" not in waited


@pytest.mark.slow
def test_evaluating_on_two_hosts(trained, tmp_path):
    shown = [
        json.loads(_run(tmp_path / str(hosts), hosts, "evaluate", "--workdir", trained / "two"))
        for hosts in (1, 2)
    ]
    _assert_close(*shown)
    assert [line["step"] for line in metrics_of(trained / "two")[-2:]] == [6, 6]


@pytest.mark.slow
@pytest.mark.parametrize("select", ["best", "average"])
def test_fine_tuning_on_two_hosts_answers_every_example_once(select, tmp_path):
    for name, count in (("train", 24), ("dev", 37)):
        lines = [
            f"the {'cat' if i % 3 else 'king'} likes river {i},{'pet' if i % 3 else 'man'}"
            for i in range(count)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    vocabulary = write_vocabulary(tmp_path / "vocab.txt", write_corpus(tmp_path / "corpus.txt"))
    files = f"train: {tmp_path}/train.csv, dev: {tmp_path}/dev.csv"
    results = {}
    for hosts in (1, 2):
        work = tmp_path / f"hosts{hosts}"
        _run(
            tmp_path / f"said{hosts}", hosts, "train", "--config", RECIPE, "--workdir", work,
            "tokenizer.kind=wordpiece", f"tokenizer.vocab_file={vocabulary}", "model.hidden_size=32",
            "model.num_layers=1", "model.num_heads=2", "model.embedding_size=16", "model.max_positions=16",
            f"finetune.tasks.mine={{kind: classification, {files}, text: text, label: label}}",
            "finetune.epochs=1", f"finetune.select={select}", "train.eval_every=2", "optimizer.layer_decay=1.0",
            "train.batch_size=8",
            "model.hidden_dropout=0.0", "model.attention_dropout=0.0", "data.sequence_length=16",
        )  # fmt: skip
        lines = (work / "seed-0" / "predictions" / "mine.dev.jsonl").read_text().splitlines()
        results[hosts] = [json.loads(line) for line in lines]
        assert len(results[hosts]) == 37
        assert (work / "seed-0" / select / "checkpoints" / "3").is_dir() or select == "best"
        assert not (work / "seed-0" / "recent").exists()
    for one, two in zip(results[1], results[2], strict=True):
        assert (one["id"], one["label"]) == (two["id"], two["label"])
        assert one["probabilities"] == pytest.approx(two["probabilities"], rel=1e-4)
    one, two = (json.loads((tmp_path / f"hosts{hosts}" / "results.json").read_text()) for hosts in (1, 2))
    assert (
        one["tasks"]["mine"]["dev"]["accuracy"]["values"] == two["tasks"]["mine"]["dev"]["accuracy"]["values"]
    )


@pytest.mark.slow
def test_a_task_that_writes_on_two_hosts_from_nothing(tmp_path):
    """Each host trains the same vocabulary; what beams write is what one host writes, each example once."""
    for name, count in (("train", 40), ("dev", 13)):
        lines = [{"from": f"{i:05b}", "to": f"{i:05b}"[::-1] * (1 + i % 2)} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "run.yaml").write_text("objective: {kind: finetune}\n")
    files = f"train: {tmp_path}/train.jsonl, dev: {tmp_path}/dev.jsonl"
    found = {}
    for hosts in (1, 2):
        work = tmp_path / f"hosts{hosts}"
        _run(
            tmp_path / f"said{hosts}", hosts, "train", "--config", tmp_path / "run.yaml", "--workdir", work,
            f"finetune.tasks.mine={{kind: seq2seq, {files}, source: from, target: to, metric: exact_match}}",
            "finetune.tasks.mine.metrics=[exact_match, length_ratio]", "finetune.batch_tokens=200",
            "tokenizer.kind=characters", "model.hidden_size=16", "model.num_layers=1", "model.num_heads=2",
            "model.max_positions=16", "data.sequence_length=16", "train.batch_size=4", "finetune.epochs=3",
            "optimizer.layer_decay=1.0", "generation.beams=3", "generation.n_best=2", "generation.max_new_tokens=6",
        )  # fmt: skip
        lines = (work / "seed-0" / "predictions" / "mine.dev.jsonl").read_text().splitlines()
        found[hosts] = [json.loads(line) for line in lines]
        assert [line["id"] for line in found[hosts]] == [str(number) for number in range(13)]
    for one, two in zip(found[1], found[2], strict=True):
        assert (one["text"], one["finish"]) == (two["text"], two["finish"])
        assert one["score"] == pytest.approx(two["score"], rel=1e-3)
        assert one["others"][0]["text"] == two["others"][0]["text"]
    one, two = (metrics_of(tmp_path / f"hosts{hosts}" / "seed-0") for hosts in (1, 2))
    for line, other in zip(one, two, strict=True):
        _assert_close(line, other)


@pytest.mark.slow
def test_options_stay_together_and_negatives_are_those_of_both_hosts(tmp_path):
    """A multiple choice with different numbers of options, and a ranker against all responses of a batch."""
    subjects = ("the cat", "the king", "my sister", "the red fox")
    for name, count in (("train", 24), ("dev", 13)):
        choices = [
            {
                "context": subjects[i % 4],
                "options": [subjects[i % 4], *subjects[i % 4 + 1 :], "the dog"],
                "label": 0,
            }
            for i in range(count)
        ]
        pairs = [
            {
                "context": f"{subjects[i % 4]} {i}",
                "response": f"river {i}",
                "negatives": [f"road {i}"][: i % 2 + (name == "dev")],
            }
            for i in range(count)
        ]
        for kind, lines in (("choices", choices), ("pairs", pairs)):
            (tmp_path / f"{kind}.{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    vocabulary = write_vocabulary(tmp_path / "vocab.txt", write_corpus(tmp_path / "corpus.txt"))

    def files(kind):
        return f"train: {tmp_path}/{kind}.train.jsonl, dev: {tmp_path}/{kind}.dev.jsonl"

    found = {}
    for hosts in (1, 2):
        work = tmp_path / f"hosts{hosts}"
        _run(
            tmp_path / f"said{hosts}", hosts, "train", "--config", RECIPE, "--workdir", work,
            "tokenizer.kind=wordpiece", f"tokenizer.vocab_file={vocabulary}", "model.hidden_size=16",
            "model.num_layers=1", "model.num_heads=2", "model.embedding_size=16", "model.max_positions=16",
            f"finetune.tasks.choice={{kind: multiple_choice, {files('choices')}}}",
            f"finetune.tasks.reply={{kind: ranking, {files('pairs')}, max_candidate_tokens: 8}}",
            "finetune.epochs=1", "optimizer.layer_decay=1.0", "train.batch_size=8", "finetune.length_buckets=[16]",
            "model.hidden_dropout=0.0", "model.attention_dropout=0.0", "data.sequence_length=16",
        )  # fmt: skip
        folder = work / "seed-0" / "predictions"
        found[hosts] = {
            name: [json.loads(line) for line in (folder / f"{name}.dev.jsonl").read_text().splitlines()]
            for name in ("choice", "reply")
        }
    for name, values in (("choice", "probabilities"), ("reply", "scores")):
        assert len(found[1][name]) == 13
        for one, two in zip(found[1][name], found[2][name], strict=True):
            assert one["id"] == two["id"]
            assert one[values] == pytest.approx(two[values], rel=1e-3, abs=1e-4)
    one, two = (metrics_of(tmp_path / f"hosts{hosts}" / "seed-0") for hosts in (1, 2))
    for line, other in zip(one, two, strict=True):
        _assert_close(
            {k: v for k, v in line.items() if "loss" in k}, {k: v for k, v in other.items() if "loss" in k}
        )
