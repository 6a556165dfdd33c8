"""Reranking from the command line: weights are tuned, written to a file, and read where texts are written."""

import json

import jax
import pytest
from tiny_writer import EXAMPLES, tiny_writer

from electra_jax import generate, predict, rerank
from electra_jax.config.loading import validate
from electra_jax.inference import reranker_file
from electra_jax.inference.model import Model
from electra_jax.partitioning import mesh

SOURCES = [example.source for example in EXAMPLES]


@pytest.fixture(scope="module")
def model():
    writer = tiny_writer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        return Model(writer.config, writer.task.tokenizer, writer.params, {"mine": writer.task})


@pytest.fixture
def run(model, monkeypatch, tmp_path, command):
    """Both commands, with the model of this test in any directory."""
    lines = [json.dumps({"source": source, "target": "abc"}) for source in SOURCES]
    (tmp_path / "dev.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "in.txt").write_text("\n".join(SOURCES) + "\n")
    section = model.config.finetune.tasks["mine"].model_copy(
        update={
            "dev": str(tmp_path / "dev.jsonl"),
            "metric": "exact_match",
            "source": "source",
            "target": "target",
        }
    )
    section = model.config.finetune.model_copy(update={"tasks": {"mine": section}})
    config = model.config.model_copy(update={"finetune": section})
    for module in (generate, predict, rerank):
        monkeypatch.setattr(module, "one_device_per_core", lambda: None)
        monkeypatch.setattr(module, "keep_freed_memory", lambda: None)
        monkeypatch.setattr(module, "load_with_notes", lambda path: model)
    for module in (generate, predict, rerank, reranker_file):
        monkeypatch.setattr(module, "trained_tasks", lambda path: (config, model.tasks))

    def ask(module, *arguments):
        return command(module.main, "--workdir", tmp_path, *arguments)

    ask.config = config
    return ask


KEYS = ("generation.beams=3", "generation.n_best=3")


def test_weights_go_by_a_file_from_the_command_that_tunes_to_the_one_that_writes(run, model, tmp_path):
    tuned = tmp_path / "judges.json"
    ended = run(rerank, "--judge", "length", "--judge", "decoder", "--output", tuned, "--limit", "5", *KEYS)
    assert ended.status == 0
    report = json.loads(ended.out)
    assert report["dev"]["sources"] == 5
    assert report["dev"]["judges"].keys() == report["weights"].keys() == {"length", "decoder"}
    stored = json.loads(tuned.read_text())
    assert stored["tuned"] == report
    stored["judges"]["length"]["weight"] = -1.0
    stored["judges"]["decoder"]["weight"] = 0.0
    tuned.write_text(json.dumps(stored))
    ended = run(generate, "--input", tmp_path / "in.txt", "--rerank", tuned, *KEYS)
    lines = [json.loads(line) for line in ended.out.splitlines()]
    for line, texts in zip(lines, model.generate(SOURCES, beams=3, n_best=3), strict=True):
        assert len(line["text"]) == min(len(text.text) for text in texts if text.text)
        assert line["scores"].keys() == {"length", "decoder"}
        assert len(line["others"]) == 2


def test_replies_are_tuned_on_conversations_that_are_not_in_train(run, model, monkeypatch, tmp_path):
    conversations = [["ab", "a", "c"], ["cab", "abc"], ["ba", "b"]]
    lines = [json.dumps({"turns": turns}) + "\n" for turns in conversations]
    (tmp_path / "train.jsonl").write_text(lines[1])
    (tmp_path / "dev.jsonl").write_text("".join(lines))
    files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "dev")}
    section = {"kind": "seq2seq", "conversations": {"speakers": "none"}, "metric": "exact_match", **files}
    values = {**run.config.model_dump(exclude_unset=True), "finetune": {"tasks": {"mine": section}}}
    for module in (rerank, reranker_file):
        monkeypatch.setattr(
            module, "trained_tasks", lambda path: (validate(values, "conversations"), model.tasks)
        )
    ended = run(rerank, "--judge", "length", "--output", tmp_path / "judges.json", *KEYS)
    assert ended.status == 0
    assert json.loads(ended.out)["dev"]["sources"] == 3
    assert "note: " in ended.err
    (tmp_path / "train.jsonl").rename(tmp_path / "moved.jsonl")
    asked = ("--judge", "length", *KEYS)
    moved = run(
        rerank,
        "--output",
        tmp_path / "2.json",
        *asked,
        f"finetune.tasks.mine.train={tmp_path / 'moved.jsonl'}",
    )
    assert (moved.status, moved.out) == (0, ended.out)
    section["conversations"]["keep_repeated"] = True
    kept = run(rerank, "--output", tmp_path / "3.json", *asked)  # train is not asked
    assert json.loads(kept.out)["dev"]["sources"] == 4


def test_candidates_of_a_file_are_put_in_order_whoever_wrote_them(run, tmp_path):
    lines = [
        {"id": "x", "source": "ab", "candidates": ["a", "abc", ""]},
        {"source": "ab"},
        {"source": "b", "candidates": []},
    ]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = ("--input", tmp_path / "asked.jsonl", "--rerank", "length")
    ended = run(predict, *asked)
    assert ended.status == 2
    assert "asked.jsonl, line 2 has no 'candidates', a list of texts to put in order" in ended.err
    answer = json.loads(ended.out)
    assert answer["id"] == "x"
    assert [one["candidate"] for one in answer["ranked"]] == ["abc", "a", ""]
    assert answer["ranked"][2]["score"] is None
    assert run(predict, *asked, "--on-error", "skip").err.count("skipped: ") == 2


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (generate, ("--prompt", "ab", "--rerank", "length"), "reranking chooses among several texts"),
        (
            generate,
            ("--prompt", "ab", "--rerank", "rtd", *KEYS),
            "the judge rtd cannot be the model that writes",
        ),
        (
            generate,
            ("--prompt", "ab", "--rerank", "ranker", *KEYS),
            "one task of its kind, a task that ranks",
        ),
        (generate, ("--prompt", "ab", "--rerank", "nothing.json", *KEYS), "is neither a file that"),
        (generate, ("--prompt", "ab", "--rerank", "length=runs/a", *KEYS), "the judge length asks no model"),
        (generate, ("--prompt", "ab", "--rerank", "rtd=", *KEYS), "names no directory: write rtd=DIR"),
        (rerank, ("--judge", "length", "--judge", "length", *KEYS), "--judge length is given twice"),
        (rerank, ("--judge", "length", "train.steps=3", *KEYS), "train.steps=3 cannot change here"),
        (rerank, ("--judge", "length", "--limit", "0", *KEYS), "--limit 0 must be at least 1"),
        (rerank, ("--judge", "length", "--test", *KEYS), "finetune.tasks.mine has no test examples"),
        (rerank, ("--judge", "length", "--metric", "ter", *KEYS), "of which less is better"),
        (predict, ("--input", "-", "--rerank", "pll"), "the judge pll cannot be the model that writes"),
        (rerank, ("--judge", "length"), "reranking chooses among several texts"),
    ],
)
def test_what_does_not_fit_is_refused(run, tmp_path, module, arguments, message):
    more = ("--output", tmp_path / "new.json") if module is rerank else ()
    ended = run(module, *arguments, *more)
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "new.json").exists()
