"""Fine-tuning from the command line: seeds, results, predictions, resuming, and the model in Python."""

import json
import os
import random
import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from command_runs import contents
from small_run import OBJECTS, SUBJECTS

import electra_jax
from electra_jax import compare, evaluate, predict, prepare, train
from electra_jax.convert import __main__ as convert
from electra_jax.partitioning import mesh
from electra_jax.tasks import finetune, workload
from electra_jax.training.checkpoints import find_checkpoint, read_params

RECIPE = Path(__file__).resolve().parents[2] / "configs" / "finetune" / "recipe.yaml"

TEXTS = {
    "animal": ("the cat", "a small dog", "the red fox"),
    "person": ("the old king", "my sister", "the sailor"),
}


def _write(path, count, seed):
    """Text that says its class in one word."""
    rng = random.Random(seed)
    lines = ["text,label"]
    for _ in range(count):
        label = rng.choice(list(TEXTS))
        lines.append(f"{rng.choice(TEXTS[label])} watches {rng.choice(OBJECTS)},{label}")
    path.write_text("\n".join(lines) + "\n")
    return path


def _arguments(finished, folder, workdir, *more):
    for name, count in (("train", 96), ("dev", 37), ("test", 5)):
        if not (folder / f"{name}.csv").exists():
            _write(folder / f"{name}.csv", count, seed=count)
    files = ", ".join(f"{name}: {folder / name}.csv" for name in ("train", "dev", "test"))
    return [
        *("--config", RECIPE, "--workdir", folder / workdir),
        f"init_from={finished / 'work'}",
        f"finetune.tasks.mine={{kind: classification, {files}, text: text, label: label}}",
        *(
            "finetune.epochs=6",
            "optimizer.learning_rate=5e-3",
            "optimizer.layer_decay=1.0",
            "train.batch_size=8",
        ),
        *("model.hidden_dropout=0.0", "model.attention_dropout=0.0", "data.sequence_length=16"),
        *more,
    ]


@pytest.fixture(scope="module")
def tuned(finished, tmp_path_factory):
    """A folder with a fine-tuning of two seeds in ``work``; not to be changed."""
    folder = tmp_path_factory.mktemp("tuned")
    train.main([str(a) for a in _arguments(finished, folder, "work", "finetune.seeds=2")])
    return folder


def test_a_separable_task_is_learned_wholly_with_every_seed(tuned):
    results = json.loads((tuned / "work" / "results.json").read_text())
    accuracy = results["tasks"]["mine"]["dev"]["accuracy"]
    assert accuracy["values"] == [100.0, 100.0]
    assert (accuracy["mean"], accuracy["sd"], accuracy["median"], accuracy["best"]) == (
        100.0,
        0.0,
        100.0,
        100.0,
    )
    assert results["seeds"] == [0, 1]
    assert results["steps"] == 6 * 12  # 96 rows in batches of 8


def test_every_split_is_predicted_example_by_example(tuned):
    for seed in (0, 1):
        folder = tuned / "work" / f"seed-{seed}" / "predictions"
        for split, count in (("dev", 37), ("test", 5)):
            lines = [json.loads(line) for line in (folder / f"mine.{split}.jsonl").read_text().splitlines()]
            rows = (tuned / f"{split}.csv").read_text().splitlines()[1:]
            assert [line["label"] for line in lines] == [row.rpartition(",")[2] for row in rows]
            assert len({line["id"] for line in lines}) == count
            assert all(sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-5) for line in lines)


def test_several_tasks_at_once_and_their_export(tuned, finished, tmp_path, command):
    """A head each on one encoder; both are learned, used by name, and handed on as folders of Hugging Face."""
    lines = (tuned / "train.csv").read_text().splitlines()[1:]
    tags = {"animal": "B-ANIMAL", "person": "B-PERSON"}
    for name, some in (("train", lines[:64]), ("dev", lines[64:])):
        sentences = []
        for line in some:
            text, _, label = line.rpartition(",")
            words = text.split()
            noun = words.index("watches") - 1
            sentences.append(
                "\n".join(f"{w} {tags[label] if i == noun else 'O'}" for i, w in enumerate(words))
            )
        (tmp_path / f"{name}.txt").write_text("\n\n".join(sentences) + "\n")
    files = ", ".join(f"{name}: {tmp_path / name}.txt" for name in ("train", "dev"))
    more = (
        f"finetune.tasks.nouns={{kind: tagging, {files}, weight: 1}}",
        "finetune.tasks.mine.weight=2",
        "finetune.head_dropout=0.0",
        "optimizer.learning_rate=3e-3",
        "finetune.epochs=12",
    )
    ended = command(train.main, *_arguments(finished, tmp_path, "both", *more))
    assert ended.status == 0, ended.err
    scores = json.loads((tmp_path / "both" / "results.json").read_text())["tasks"]
    assert scores["mine"]["dev"]["accuracy"]["mean"] == 100.0
    assert scores["nouns"]["dev"]["f1"]["mean"] > 95
    metrics = [json.loads(line) for line in (tmp_path / "both/seed-0/metrics.jsonl").read_text().splitlines()]
    assert {"mine_accuracy", "nouns_f1"} <= next(line for line in metrics if line["split"] == "eval").keys()

    ended = command(convert.main, tmp_path / "both", tmp_path / "exported")
    assert ended.status == 0, ended.err
    ours, sentence = electra_jax.load(tmp_path / "both"), "my sister watches the moon"
    assert ours.classify([sentence], "mine")[0]["label"] == "person"
    assert [entity["text"] for entity in ours.tag([sentence])[0]["entities"]] == ["sister"]
    theirs = electra_jax.load(tmp_path / "exported" / "nouns")
    assert theirs.tag([sentence])[0]["entities"] == ours.tag([sentence])[0]["entities"]
    assert theirs.tag([sentence])[0]["tags"] == ["O", "S-PERSON", "O", "O", "O"]  # the scheme that is learned
    given, expected = (
        model.classify([sentence])[0]["probabilities"]
        for model in (electra_jax.load(tmp_path / "exported" / "mine"), ours)
    )
    assert given == pytest.approx(expected, abs=1e-6)


def test_seeds_compared_as_they_were_scored(tuned, command):
    ended = command(
        compare.main, tuned / "work", tuned / "work" / "seed-1", "--split", "test", "--samples", 20, "--json"
    )
    assert ended.status == 0, ended.err
    record = json.loads(ended.out)
    assert (record["a"]["seeds"], record["b"]["seeds"], record["examples"]) == ([0], [1], 5)
    values = json.loads((tuned / "work" / "results.json").read_text())["tasks"]["mine"]["test"]["accuracy"][
        "values"
    ]
    assert [record["a"]["score"], record["b"]["score"]] == values


def test_run_again_nothing_is_trained_and_another_seed_is_added(tuned, finished, tmp_path, command):
    """The examples lie elsewhere, with the same content; what is free on resume may change."""
    shutil.copytree(tuned, tmp_path / "tuned")
    argv = _arguments(finished, tmp_path / "tuned", "work", "train.log_every=7")
    outcome = command(train.main, *argv, "finetune.seeds=3")
    assert outcome.status == 0, outcome.err
    results = json.loads((tmp_path / "tuned" / "work" / "results.json").read_text())
    assert results["seeds"] == [0, 1, 2]
    assert outcome.err.count("parameters from") == 1  # only the third was trained


def _other_examples(folder):
    lines = (folder / "train.csv").read_text().splitlines()
    (folder / "train.csv").write_text("\n".join([*lines, lines[1]]) + "\n")


def _another_rate_before(folder):
    """As an earlier version left it: the rate was changed after the second seed, and only that seed's file says so."""
    file = folder / "work" / "seed-1" / "config.yaml"
    text = file.read_text()
    assert "learning_rate: 0.005" in text
    file.write_text(text.replace("learning_rate: 0.005", "learning_rate: 0.001"))


@pytest.mark.parametrize(
    ("before", "more", "words"),
    [
        (None, ["optimizer.learning_rate=1e-3"], ["optimizer.learning_rate: 0.005 -> 0.001"]),
        (None, ["optimizer.beta1=0.8", "seed=1"], ["seed: 0 -> 1", "optimizer.beta1: 0.9 -> 0.8"]),
        (
            None,
            ["finetune.tasks.mine.labels=[person, animal]"],
            ["finetune.tasks.mine.labels: null -> ['person', 'animal']"],
        ),
        (
            None,
            ["finetune.tasks.two={kind: regression, train: a.csv}"],
            ["finetune.tasks.two: (absent) -> {"],
        ),
        (_other_examples, [], ["finetune.tasks.mine.train: 96 examples (", ") -> 97 examples ("]),
        (None, ["init_from={finished}/work/checkpoints/3"], ["checkpoints/6 (", "checkpoints/3 ("]),
        (_another_rate_before, [], ["seed-1", "optimizer.learning_rate: 0.001 -> 0.005"]),
        (
            lambda folder: (folder / "work" / "inputs.json").unlink(),  # as an earlier version left it
            ["finetune.tasks.mine.dev={tuned}/dev.csv", "init_from={finished}/work/checkpoints/6"],
            ["init_from: ", "finetune.tasks.mine.dev: "],
        ),
        (
            lambda folder: ((folder / "work" / "inputs.json").unlink(), _other_examples(folder)),
            [],
            ["the set of examples is not the one this run began with", "seed-0"],  # its checkpoint knows them
        ),
    ],
    ids=["rate", "several", "labels", "task", "examples", "start", "seed", "paths", "old"],
)
def test_run_again_otherwise_is_refused_key_by_key_before_anything_is_written(
    before, more, words, moved, tuned, finished, command, monkeypatch
):
    monkeypatch.setattr(mesh, "_all_devices", lambda: pytest.fail("a device was asked for"))
    if before is not None:
        before(moved)
    kept = contents(moved)
    more = [text.replace("{finished}", str(finished)).replace("{tuned}", str(tuned)) for text in more]
    ended = command(train.main, *_arguments(finished, moved, "work", "finetune.seeds=2", *more))
    assert ended.status == 2, ended.out
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert all(word in ended.err for word in words), ended.err
    assert contents(moved) == kept


def test_all_seeds_start_from_what_was_there_when_the_command_began(finished, tmp_path, command, monkeypatch):
    """Another checkpoint of a run that is still training may appear between two of them."""
    shutil.copytree(finished / "work", tmp_path / "work")
    run_seed = finetune.run_seed

    def and_then_another_checkpoint(*arguments):
        result = run_seed(*arguments)
        checkpoints = tmp_path / "work" / "checkpoints"
        shutil.copytree(checkpoints / "6", checkpoints / "9", dirs_exist_ok=True)
        return result

    monkeypatch.setattr(finetune, "run_seed", and_then_another_checkpoint)
    more = (f"init_from={tmp_path / 'work'}", "finetune.seeds=2", "finetune.epochs=0.1")
    ended = command(train.main, *_arguments(finished, tmp_path, "tuned", *more))
    assert ended.status == 0, ended.err
    assert ended.err.count(f"parameters from {tmp_path / 'work' / 'checkpoints' / '6'},") == 2
    for seed in (0, 1):  # as it was given
        assert (
            f"init_from: {tmp_path / 'work'}\n" in (tmp_path / f"tuned/seed-{seed}/config.yaml").read_text()
        )


def test_hosts_with_other_examples_are_refused_before_anything_is_written(
    finished, tmp_path, command, monkeypatch
):
    compared = []

    def gather(name, value):
        compared.append(value)
        return [value, value, "those of another file"]

    monkeypatch.setattr(finetune, "gather_from_hosts", gather)
    ended = command(train.main, *_arguments(finished, tmp_path, "tuned"))
    assert ended.status == 2
    assert f"the examples of {tmp_path / 'tuned'}: host 2 has other examples" in ended.err
    assert not (tmp_path / "tuned").exists()
    others = (tmp_path / "train.csv").read_text().splitlines(keepends=True)
    (tmp_path / "train.csv").write_text("".join(others[:-1]))
    command(train.main, *_arguments(finished, tmp_path, "tuned"))
    assert len(set(compared)) == 2


@pytest.fixture
def moved(tuned, tmp_path):
    """A copy of ``tuned`` whose configurations name the examples in the copy."""
    shutil.copytree(tuned, tmp_path / "tuned")
    for file in (tmp_path / "tuned").rglob("config.yaml"):
        file.write_text(file.read_text().replace(f"{tuned}/", f"{tmp_path / 'tuned'}/"))
    for file in (tmp_path / "tuned").rglob("run/metadata"):
        file.write_text(file.read_text().replace(f"{tuned}/", f"{tmp_path / 'tuned'}/"))
    return tmp_path / "tuned"


def test_a_run_of_an_earlier_version_goes_on_and_says_what_was_not_compared(moved, finished, command):
    (moved / "work" / "inputs.json").unlink()
    ended = command(train.main, *_arguments(finished, moved, "work", "finetune.seeds=2"))
    assert ended.status == 0, ended.err
    assert "an earlier version began" in ended.err
    assert not (moved / "work" / "inputs.json").exists()  # what the first seeds started from is not known


def test_a_head_taken_over_from_the_root_knows_its_classes_by_their_names(tuned, finished, tmp_path, command):
    """The best seed is taken; the classes are given in the other order; hardly anything is learned."""
    for name in ("train", "dev", "test"):
        shutil.copy(tuned / f"{name}.csv", tmp_path)
    ended = command(
        train.main,
        *_arguments(finished, tmp_path, "further", "finetune.epochs=0.05", "optimizer.learning_rate=1e-9"),
        f"init_from={tuned / 'work'}",
        "finetune.tasks.mine.labels=[person, animal]",
    )
    assert ended.status == 0, ended.err
    assert f"parameters from {tuned / 'work' / 'seed-0' / 'checkpoints'}" in ended.err
    assert "the head of mine is taken over, its classes put in this run's order by their names" in ended.err
    scores = json.loads((tmp_path / "further" / "results.json").read_text())["tasks"]["mine"]["dev"]
    assert scores["accuracy"]["mean"] == 100.0
    assert "to export mine to Hugging Face: python -m electra_jax.convert" in ended.err


def test_predict_and_load_agree(tuned, command, tmp_path):
    texts = ["the cat watches the moon", "my sister watches old books"]
    (tmp_path / "in.txt").write_text("\n".join(texts) + "\n")
    outcome = command(predict.main, "--workdir", tuned / "work", "--input", tmp_path / "in.txt")
    assert outcome.status == 0, outcome.err
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [line["label"] for line in lines] == ["animal", "person"]
    model = electra_jax.load(tuned / "work")
    for line, answer in zip(lines, model.classify(texts), strict=True):
        assert line["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-6)
    vectors = model.encode(texts)
    assert vectors.shape == (2, 32)
    np.testing.assert_allclose(model.encode(texts[::-1]), vectors[::-1], atol=1e-6)


def test_what_is_tuned_by_default_can_be_exported(tuned, command, tmp_path):
    ended = command(convert.main, tuned / "work", tmp_path / "exported")
    assert ended.status == 0, ended.err
    ours, theirs = (
        electra_jax.load(path).classify(["my sister watches the moon"])[0]
        for path in (tuned / "work", tmp_path / "exported" / "mine")
    )
    assert theirs["probabilities"] == pytest.approx(ours["probabilities"], abs=1e-6)


def test_commands_of_pre_training_say_that_they_are(tuned, command):
    for folder, words in (("seed-0", "of one seed: result.json"), (".", "of which seed-0 is the best")):
        ended = command(evaluate.main, "--workdir", tuned / "work" / folder)
        assert ended.status == 2
        assert "was fine-tuned" in ended.err
        assert words in ended.err
    ended = command(prepare.main, "--config", RECIPE)
    assert ended.status == 2
    assert "nothing to prepare for fine-tuning" in ended.err


def test_a_pre_trained_model_detects_and_encodes(finished):
    model = electra_jax.load(finished / "work")
    text = f"{SUBJECTS[0]} likes the moon."
    (tokens,) = model.detect([text])
    assert tokens
    assert all(text[token.start : token.end] == token.text and 0 <= token.replaced <= 1 for token in tokens)
    assert model.encode([text, "a"], pooling="first").shape == (2, 32)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["finetune.tasks.mine.label=klass"], ["klass"]),
        (["finetune.tasks.mine.dev=nowhere.csv"], ["nowhere.csv"]),
        (["finetune.tasks.mine.metric=bleu"], ["bleu"]),
        (
            ["finetune.tasks.mine.labl=x"],
            ["finetune.tasks.mine.labl", "did you mean finetune.tasks.mine.label"],
        ),
        (["init_from=null"], ["fine-tuning starts from a checkpoint"]),
        (["model.num_heads=4"], ["model.num_heads: 2 -> 4"]),
    ],
    ids=lambda part: str(part[0]),
)
def test_mistakes_are_one_sentence_and_nothing_is_written(
    more, words, finished, tmp_path, command, monkeypatch
):
    monkeypatch.setattr(mesh, "_all_devices", lambda: pytest.fail("a device was asked for"))
    ended = command(train.main, *_arguments(finished, tmp_path, "work", *more))
    assert ended.status == 2
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert all(word in ended.err for word in words), ended.err
    assert not (tmp_path / "work").exists()


def test_any_number_of_labels_from_files_to_an_export(finished, tmp_path, command):
    """Learned whole; the threshold is found on dev, remembered, and used by predict, load and the exported folder."""
    for name, count in (("train", 64), ("dev", 30), ("test", 5)):
        rng, lines = random.Random(count), []
        for _ in range(count):
            labels = [label for label in TEXTS if rng.random() < 0.5]
            nouns = " and ".join(rng.choice(TEXTS[label]) for label in labels)
            lines.append({"text": f"{nouns} watches {rng.choice(OBJECTS)}", "label": labels})
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = ", ".join(f"{name}: {tmp_path / name}.jsonl" for name in ("train", "dev", "test"))
    task = f"{{kind: classification, multi_label: true, threshold: tune, {files}, text: text, label: label}}"
    arguments = _arguments(finished, tmp_path, "work", "finetune.seeds=1", f"finetune.tasks.mine={task}")
    ended = command(train.main, *arguments)
    assert ended.status == 0, ended.err
    scores = json.loads((tmp_path / "work" / "results.json").read_text())["tasks"]["mine"]
    for split in ("dev", "test"):
        assert {metric: values["mean"] for metric, values in scores[split].items()} == {
            "micro_f1": 100.0,
            "macro_f1": 100.0,
            "exact_match": 100.0,
            "mean_average_precision": 100.0,
        }
    file = tmp_path / "work" / "seed-0" / "tasks.json"
    settings = json.loads(file.read_text())
    assert 0 < settings["mine"]["threshold"] < 1
    assert f"at least {settings['mine']['threshold']} probable" in ended.err

    texts = ["the cat and my sister watches the moon", "watches the moon"]
    before = electra_jax.load(tmp_path / "work").classify(texts)
    assert [answer["labels"] for answer in before] == [["animal", "person"], []]
    sure = 0.99 * max(before[1]["probabilities"].values())
    settings["mine"]["threshold"] = sure  # so that only what is remembered can give this label
    file.write_text(json.dumps(settings))
    (tmp_path / "in.txt").write_text("\n".join(texts) + "\n")
    ended = command(predict.main, "--workdir", tmp_path / "work", "--input", tmp_path / "in.txt")
    assert ended.status == 0, ended.err
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [len(line["labels"]) for line in lines] == [2, 1]
    ended = command(convert.main, tmp_path / "work", tmp_path / "exported")
    assert ended.status == 0, ended.err
    described = json.loads((tmp_path / "exported" / "mine" / "config.json").read_text())
    assert (described["problem_type"], described["multi_label_threshold"]) == (
        "multi_label_classification",
        sure,
    )
    (after,) = electra_jax.load(tmp_path / "exported" / "mine").classify(texts[:1])
    assert after["labels"] == ["animal", "person"]
    assert after["probabilities"] == pytest.approx(before[0]["probabilities"], abs=1e-6)


AVERAGED = (
    "finetune.select=average",
    "finetune.average_last=3",
    "finetune.epochs=4",
    "finetune.warmup_fraction=0",
)


def test_the_mean_of_the_last_evaluations_is_what_is_kept_also_after_interruptions(
    finished, tmp_path, command, monkeypatch
):
    """Against NumPy's mean of the checkpoints at the evaluations; then stopped, killed, and run to the end."""
    every = ("train.checkpoint_every=12", "train.keep_every=12")
    ended = command(train.main, *_arguments(finished, tmp_path, "straight", *AVERAGED, *every))
    assert ended.status == 0, ended.err
    assert "seed-0: the mean of the parameters at 3 evaluations is kept (steps 24, 36, 48)" in ended.err
    seed = tmp_path / "straight" / "seed-0"
    assert find_checkpoint(tmp_path / "straight") == (48, seed / "average" / "checkpoints")
    kept = read_params(seed / "average" / "checkpoints", 48)
    stored = [read_params(seed / "checkpoints", step) for step in (24, 36, 48)]
    jax.tree.map(
        lambda mean, *leaves: np.testing.assert_array_equal(mean, np.mean(np.stack(leaves), axis=0)),
        kept,
        *stored,
    )
    assert not (seed / "recent").exists()
    texts = [line.rpartition(",")[0] for line in (tmp_path / "test.csv").read_text().splitlines()[1:]]
    predicted = [
        json.loads(line) for line in (seed / "predictions" / "mine.test.jsonl").read_text().splitlines()
    ]
    for line, answer in zip(predicted, electra_jax.load(tmp_path / "straight").classify(texts), strict=True):
        assert line["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-6)

    make_batch, made = workload.make_batch, []

    def interrupted(*arguments, **options):
        made.append(1)
        if len(made) == 15:
            os.kill(os.getpid(), signal.SIGTERM)
        if len(made) == 44:
            raise RuntimeError("killed")  # after the evaluation at step 36, which no checkpoint has yet
        return make_batch(*arguments, **options)

    monkeypatch.setattr(workload, "make_batch", interrupted)
    rarely = _arguments(finished, tmp_path, "again", *AVERAGED, "train.checkpoint_every=30")
    assert "stopped by SIGTERM after step" in command(train.main, *rarely).err
    with pytest.raises(RuntimeError, match="killed"):
        train.main([str(argument) for argument in rarely])
    assert command(train.main, *rarely).status == 0
    again = read_params(tmp_path / "again" / "seed-0" / "average" / "checkpoints", 48)
    jax.tree.map(np.testing.assert_array_equal, again, kept)
