"""Multiple choice from the command line: trained, run again, compared, asked in every way, and handed on."""

import json
import random

import pytest
from small_run import OBJECTS

import electra_jax
from electra_jax import compare, predict, train
from electra_jax.convert import __main__ as convert

RECIPE = "finetune/recipe"
ANIMALS, PEOPLE = ("the cat", "a small dog", "the red fox"), ("the old king", "my sister", "the sailor")


def _write(path, count, seed):
    """MuTual's layout: the option that is about an animal is right."""
    rng = random.Random(seed)
    lines = []
    for _ in range(count):
        options = [f"{rng.choice(PEOPLE)} follows" for _ in range(rng.choice([1, 2]))]
        right = rng.randrange(len(options) + 1)
        options.insert(right, f"{rng.choice(ANIMALS)} follows")
        article = f"{rng.choice(PEOPLE)} watches {rng.choice(OBJECTS)}"
        lines.append({"article": article, "options": options, "answers": "ABC"[right]})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _arguments(finished, folder, workdir, *more):
    for name, count in (("train", 160), ("dev", 21)):
        if not (folder / f"{name}.jsonl").exists():
            _write(folder / f"{name}.jsonl", count, seed=count)
    files = ", ".join(f"{name}: {folder / name}.jsonl" for name in ("train", "dev"))
    return [
        *("--config", RECIPE, "--workdir", folder / workdir, f"init_from={finished / 'work'}"),
        f"finetune.tasks.reply={{kind: multiple_choice, {files}}}",
        *("finetune.epochs=8", "optimizer.learning_rate=5e-3", "optimizer.layer_decay=1.0"),
        *("model.hidden_dropout=0.0", "model.attention_dropout=0.0", "data.sequence_length=16"),
        *("train.batch_size=8", "finetune.length_buckets=[16]", *more),
    ]


@pytest.fixture(scope="module")
def chosen(finished, tmp_path_factory):
    """A folder with a finished training in ``work``; not to be changed."""
    folder = tmp_path_factory.mktemp("chosen")
    train.main([str(argument) for argument in _arguments(finished, folder, "work")])
    return folder


def _lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_it_is_learned_and_every_example_is_predicted(chosen):
    scores = json.loads((chosen / "work" / "results.json").read_text())["tasks"]["reply"]["dev"]
    assert list(scores) == ["accuracy", "recall@2", "mrr"]
    assert scores["accuracy"]["mean"] > 90
    found = _lines((chosen / "work" / "seed-0" / "predictions" / "reply.dev.jsonl").read_text())
    dev = _lines((chosen / "dev.jsonl").read_text())
    right = [
        line["option"] == e["options"]["ABC".index(e["answers"])] for line, e in zip(found, dev, strict=True)
    ]
    assert 100 * sum(right) / len(right) == pytest.approx(scores["accuracy"]["mean"])
    assert [len(line["probabilities"]) for line in found] == [len(e["options"]) for e in dev]


def test_files_of_training_lines_of_ones_own_and_python_are_answered_alike(
    chosen, command, tmp_path, monkeypatch
):
    monkeypatch.setattr(predict, "one_device_per_core", lambda: None)
    monkeypatch.setattr(predict, "keep_freed_memory", lambda: None)
    stored = _lines((chosen / "work" / "seed-0" / "predictions" / "reply.dev.jsonl").read_text())
    ask = ("--workdir", chosen / "work", "--input")
    ended = command(predict.main, *ask, chosen / "dev.jsonl")
    assert ended.status == 0, ended.err
    for ours, theirs in zip(_lines(ended.out), stored, strict=True):
        assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-5)
    asked = ("the cat watches the moon", ["my sister follows", "the red fox follows"])
    own = {"id": "x", "context": asked[0], "options": asked[1]}
    bad = {"context": "the cat", "options": ["one"]}
    (tmp_path / "own.jsonl").write_text(json.dumps(own) + "\n" + json.dumps(bad) + "\n")
    ended = command(predict.main, *ask, tmp_path / "own.jsonl")
    assert ended.status == 2
    (line,) = _lines(ended.out)
    assert line["id"] == "x"
    assert "line 2 has 1 option, so there is nothing to choose" in ended.err
    model = electra_jax.load(chosen / "work")
    answer = model.choose(*asked)
    assert answer["option"] == line["option"] == "the red fox follows"
    first = model.choose_all([asked, (*asked, "who")])[0]
    assert first["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-5)
    with pytest.raises(
        electra_jax.UserError, match="choose_all: item 0 is a tuple of 2 and not a context with two"
    ):
        model.choose_all([("the cat", ["one"])])
    with pytest.raises(electra_jax.UserError, match="no single task of kind classification or regression"):
        model.classify("the cat")


def test_run_again_it_is_finished_and_compared_with_itself(chosen, finished, command):
    before = (chosen / "work" / "results.json").read_text()
    ended = command(train.main, *_arguments(finished, chosen, "work"))
    assert ended.status == 0, ended.err
    assert (chosen / "work" / "results.json").read_text() == before
    ended = command(compare.main, chosen / "work", chosen / "work", "--split", "dev", "--metric", "mrr")
    assert ended.status == 0, ended.err
    ended = command(convert.main, chosen / "work", chosen / "theirs")
    assert ended.status == 0, ended.err
    asked = ("the cat watches the moon", ["my sister follows", "the red fox follows"])
    ours, theirs = (
        electra_jax.load(chosen / path).choose(*asked)["probabilities"] for path in ("work", "theirs/reply")
    )
    assert theirs == pytest.approx(ours, abs=1e-5)


def test_what_is_wrong_is_one_sentence_and_nothing_is_written(finished, tmp_path, command):
    arguments = _arguments(finished, tmp_path, "work")
    (tmp_path / "dev.jsonl").write_text('{"article": "a", "options": ["b", "c"], "answers": "D"}\n')
    ended = command(train.main, *arguments)
    assert ended.status == 2
    assert "line 1: 'answers' is 'D', which is none of the 2 options" in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "work").exists()
