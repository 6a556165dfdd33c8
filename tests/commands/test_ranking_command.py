"""Ranking from the command line: trained with negatives of the batch, asked in every way, compared; not exported."""

import json
import random

import pytest
from small_run import OBJECTS, VERBS

import electra_jax
from electra_jax import compare, predict, train
from electra_jax.convert import __main__ as convert


def _write(path, count, seed, negatives=0):
    """The response repeats the object of the context."""
    rng = random.Random(seed)
    lines = []
    for _ in range(count):
        things = rng.sample(OBJECTS, 1 + negatives)
        context = f"{rng.choice(VERBS)} {things[0]}"
        lines.append({"context": context, "response": things[0], "negatives": things[1:]})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _arguments(finished, folder, workdir, *more):
    for name, count, negatives in (("train", 160, 0), ("dev", 20, 4)):
        if not (folder / f"{name}.jsonl").exists():
            _write(folder / f"{name}.jsonl", count, count, negatives)
    files = ", ".join(f"{name}: {folder / name}.jsonl" for name in ("train", "dev"))
    section = "encoder: poly, codes: 4, pooling: mean, max_candidate_tokens: 8"
    return [
        *("--config", "finetune/recipe", "--workdir", folder / workdir, f"init_from={finished / 'work'}"),
        f"finetune.tasks.reply={{kind: ranking, {files}, {section}}}",
        *("finetune.epochs=8", "optimizer.learning_rate=1e-3", "optimizer.layer_decay=1.0"),
        *("model.hidden_dropout=0.0", "model.attention_dropout=0.0", "data.sequence_length=8"),
        *("train.batch_size=8", "finetune.length_buckets=[16]", *more),
    ]


@pytest.fixture(scope="module")
def ranked(finished, tmp_path_factory):
    """A folder with a finished training in ``work``; not to be changed."""
    folder = tmp_path_factory.mktemp("ranked")
    train.main([str(argument) for argument in _arguments(finished, folder, "work")])
    return folder


def _lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_it_is_learned_and_asked_alike_in_files_and_in_python(ranked, command, monkeypatch, tmp_path):
    monkeypatch.setattr(predict, "one_device_per_core", lambda: None)
    monkeypatch.setattr(predict, "keep_freed_memory", lambda: None)
    scores = json.loads((ranked / "work" / "results.json").read_text())["tasks"]["reply"]["dev"]
    assert list(scores) == ["hits@1", "recall@5", "recall@10", "mrr", "ndcg"]
    assert scores["hits@1"]["mean"] > 80
    assert scores["recall@5"]["mean"] == 100
    stored = _lines((ranked / "work" / "seed-0" / "predictions" / "reply.dev.jsonl").read_text())
    ask = ("--workdir", ranked / "work", "--input")
    ended = command(predict.main, *ask, ranked / "dev.jsonl")
    assert ended.status == 0, ended.err
    for ours, theirs in zip(_lines(ended.out), stored, strict=True):
        assert ours["scores"] == pytest.approx(theirs["scores"], abs=1e-4)
    candidates = ["the moon", "a river", "old books"]
    (tmp_path / "own.jsonl").write_text(
        json.dumps({"id": "x", "context": "draws a river", "candidates": candidates}) + '\n{"context": "a"}\n'
    )
    ended = command(predict.main, *ask, tmp_path / "own.jsonl")
    assert ended.status == 2
    (line,) = _lines(ended.out)
    assert (line["id"], line["candidate"]) == ("x", "a river")
    assert "line 2 has neither a field 'response'" in ended.err
    model = electra_jax.load(ranked / "work")
    found = model.rank("draws a river", candidates)
    assert found[0] == {
        "candidate": "a river",
        "number": 1,
        "score": pytest.approx(line["scores"][1], abs=1e-4),
    }
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    with pytest.raises(
        electra_jax.UserError, match="rank_all: item 0 is a tuple of 2 and not a context with cand"
    ):
        model.rank("draws a river", [])
    with pytest.raises(electra_jax.UserError, match="no single task of kind multiple_choice; there is: none"):
        model.choose("draws a river", candidates)


def test_compared_with_itself_and_not_exported(ranked, finished, command):
    ended = command(compare.main, ranked / "work", ranked / "work", "--split", "dev", "--metric", "ndcg")
    assert ended.status == 0, ended.err
    ended = command(convert.main, ranked / "work", ranked / "theirs")
    assert ended.status == 2
    assert "reply ranks candidates, for which Hugging Face's transformers has no class" in ended.err
    assert not (ranked / "theirs").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("finetune.tasks.reply.codes=9", "codes is 9, more than the 8 tokens of a context"),
        (
            "train.accumulation_steps=2",
            "takes its negatives from the batch, which train.accumulation_steps=2",
        ),
        ("finetune.tasks.reply.dev=DEV", "dev.tsv, line 2 has 1 candidate, so there is nothing to rank"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(override, message, finished, tmp_path, command):
    (tmp_path / "dev.tsv").write_text("context\tresponse\na\tb\n")
    override = override.replace("DEV", str(tmp_path / "dev.tsv"))
    ended = command(train.main, *_arguments(finished, tmp_path, "work", override))
    assert ended.status == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "work").exists()
