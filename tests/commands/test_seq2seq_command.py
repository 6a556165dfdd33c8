"""A task that writes, from the command line: trained from nothing, resumed, predicted anew, and asked in every way."""

import json
import random
import shutil

import jax
import numpy as np
import pytest
from command_runs import contents

import electra_jax
from electra_jax import generate, predict, train
from electra_jax.convert import __main__ as convert
from electra_jax.partitioning import mesh
from electra_jax.training.checkpoints import read_params

LETTERS = "abcdef"
STEPS = 150
WRITES = {
    "copy": lambda text: text,
    "reverse": lambda text: text[::-1],
    "sort": lambda text: "".join(sorted(text)),
}


def _write(path, count, seed, writes="copy"):
    rng = random.Random(seed)
    lines = []
    for _ in range(count):
        text = "".join(rng.choice(LETTERS) for _ in range(rng.randint(2, 5)))
        lines.append(json.dumps({"from": text, "to": WRITES[writes](text)}))
    path.write_text("\n".join(lines) + "\n")
    return path


def _arguments(folder, workdir, *more, writes="copy", counts=(("train", 256), ("dev", 24))):
    for name, count in counts:
        if not (folder / f"{name}.jsonl").exists():
            _write(folder / f"{name}.jsonl", count, count, writes)
    (folder / "run.yaml").write_text("objective: {kind: finetune}\n")
    files = ", ".join(f"{name}: {folder / name}.jsonl" for name, _ in counts)
    return [
        *("--config", folder / "run.yaml", "--workdir", folder / workdir),
        f"finetune.tasks.{writes}={{kind: seq2seq, {files}, source: from, target: to, metric: exact_match}}",
        f"finetune.tasks.{writes}.metrics=[exact_match, length_ratio]",
        *(f"finetune.tasks.{writes}.label_smoothing=0.0", "finetune.length_buckets=[8]"),
        *("tokenizer.kind=characters", "tokenizer.lowercase=false", "data.sequence_length=16"),
        *("model.hidden_size=32", "model.num_layers=1", "model.num_heads=2", "model.max_positions=16"),
        *("model.hidden_dropout=0.0", "model.attention_dropout=0.0", "model.initializer_range=0.1"),
        *("model.vocab_multiple=8", "optimizer.kind=adamw", "optimizer.beta2=0.98"),
        *("optimizer.learning_rate=5e-3", "optimizer.layer_decay=1.0"),
        *("train.batch_size=8", "finetune.batch_tokens=512", "finetune.epochs=null"),
        *(f"train.steps={STEPS}", f"train.eval_every={STEPS}", "train.checkpoint_every=100"),
        *("train.keep_checkpoints=5", "finetune.select=best", "generation.max_new_tokens=8", *more),
    ]


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A folder with a finished training on copying in ``work``, on one device; not to be changed."""
    folder = tmp_path_factory.mktemp("copied")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        train.main([str(argument) for argument in _arguments(folder, "work")])
    return folder


@pytest.fixture
def ask(copied, command, monkeypatch):
    for module in (generate, predict):
        monkeypatch.setattr(module, "one_device_per_core", lambda: None)
        monkeypatch.setattr(module, "keep_freed_memory", lambda: None)
    return lambda main, *arguments: command(main, "--workdir", copied / "work", *arguments)


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def _predictions(workdir, task="copy"):
    return _lines(workdir / "seed-0" / "predictions" / f"{task}.dev.jsonl")


def test_copying_is_learned_from_nothing_with_a_vocabulary_of_sources_and_targets(copied):
    results = json.loads((copied / "work" / "results.json").read_text())["tasks"]["copy"]["dev"]
    means = {name: found["mean"] for name, found in results.items()}
    assert means == {"exact_match": 100.0, "length_ratio": 1.0}
    dev = _lines(copied / "dev.jsonl")
    found = _predictions(copied / "work")
    assert [line["text"] for line in found] == [line["to"] for line in dev]
    assert [line["id"] for line in found] == [str(number) for number in range(len(dev))]
    assert {line["finish"] for line in found} == {"end"}
    assert all(-1 < line["score"] <= 0 for line in found)
    letters = json.loads((copied / "work" / "seed-0" / "tokenizer" / "characters.json").read_text())
    assert set(LETTERS) < set(letters)


def test_interrupted_and_resumed_is_uninterrupted_to_the_bit(copied, tmp_path, command):
    """What a run leaves that is killed after step 100."""
    work = shutil.copytree(copied / "work", tmp_path / "work")
    seed = work / "seed-0"
    for path in (work / "results.json", seed / "result.json"):
        path.unlink()
    shutil.rmtree(seed / "checkpoints" / str(STEPS))
    shutil.rmtree(seed / "predictions")
    arguments = _arguments(copied, "work")
    arguments[3] = work
    ended = command(train.main, *arguments)
    assert ended.status == 0, ended.err
    assert "resumed at step 100" in ended.err + ended.out
    ours, theirs = (read_params(folder / "checkpoints", STEPS) for folder in (seed, copied / "work/seed-0"))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert _predictions(work) == _predictions(copied / "work")


def test_settings_of_writing_may_change_afterwards_and_all_is_predicted_anew(copied, tmp_path, command):
    work = shutil.copytree(copied / "work", tmp_path / "work")
    arguments = _arguments(copied, "work", "generation.max_new_tokens=2", "generation.beams=2")
    arguments[3] = work
    ended = command(train.main, *arguments)
    assert ended.status == 0, ended.err
    assert "seed 0 is predicted and scored anew: generation.max_new_tokens: 8 -> 2" in ended.err + ended.out
    assert {line["finish"] for line in _predictions(work)} == {"length"}
    wanted = [line["to"] for line in _lines(copied / "dev.jsonl")]
    assert [line["text"] for line in _predictions(work)] == [text[:2] for text in wanted]
    results = json.loads((work / "results.json").read_text())["tasks"]["copy"]["dev"]
    assert results["exact_match"]["mean"] == pytest.approx(100 * np.mean([len(text) == 2 for text in wanted]))
    again = command(train.main, *arguments)
    assert "anew" not in again.err + again.out
    # A seed that is to come would choose the best of other texts.
    refused = command(train.main, *arguments, "generation.beams=3", "finetune.seeds=2")
    assert refused.status == 2
    assert "generation.beams: 2 -> 3" in refused.err


def test_a_text_is_answered_alone_in_a_file_and_in_python(copied, ask, tmp_path):
    assert ask(generate.main, "--prompt", "fade").out == "fade\n"
    file = tmp_path / "sources.txt"
    file.write_text("fade\nbe\nabcde\n")
    ended = ask(generate.main, "--input", file, "generation.beams=3", "generation.n_best=2")
    assert ended.status == 0, ended.err
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["text"] for line in lines] == ["fade", "be", "abcde"]
    for line in lines:
        (other,) = line["others"]
        assert other["text"] != line["text"]
        assert other["score"] < line["score"]
    model = electra_jax.load(copied / "work")
    texts = model.generate(["fade", "be"], beams=3, n_best=2)
    assert [[text.text for text in some] for some in texts] == [
        [line["text"], line["others"][0]["text"]] for line in lines[:2]
    ]
    assert model.generate("fade").text == "fade"
    assert model.generate([]) == []
    answered = ask(predict.main, "--input", file)
    assert [json.loads(line)["text"] for line in answered.out.splitlines()] == ["fade", "be", "abcde"]
    drawn = [model.generate(["fade", "be"], temperature=5.0, seed=seed, n=2) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0][0][0] != drawn[0][0][1]


def test_files_to_predict_may_be_those_of_training(copied, ask):
    """Its columns are known; what it should write is not looked at."""
    ended = ask(predict.main, "--input", copied / "dev.jsonl")
    assert ended.status == 0, ended.err
    found = [json.loads(line)["text"] for line in ended.out.splitlines()]
    assert found == [line["to"] for line in _lines(copied / "dev.jsonl")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prompt", "fade", "--stream"), "cannot be streamed"),
        (("--prompt", "fade", "generation.method=refine"), "needs a generator and a discriminator"),
        (("--prompt", "fade", "--task", "other"), "no task 'other' that writes: name one of copy"),
        (("--prompt", "fade", "generation.refine.steps=3"), "does not read generation.refine.steps"),
        (("--prompt", "fade", "generation.n_best=2"), "n_best 2 is above beams 1"),
    ],
)
def test_what_does_not_fit_is_refused(ask, arguments, message):
    ended = ask(generate.main, *arguments)
    assert ended.status == 2
    assert ended.out == ""
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_a_task_that_writes_and_one_that_classifies_share_an_encoder(copied, tmp_path, command):
    rows = [line["from"] for line in _lines(copied / "train.jsonl")]
    table = "\n".join(["text,label", *(f"{row},{'early' if row[0] < 'd' else 'late'}" for row in rows)])
    (tmp_path / "labels.csv").write_text(table + "\n")
    for name in ("train", "dev"):
        shutil.copy(copied / f"{name}.jsonl", tmp_path)
    other = f"train: {tmp_path}/labels.csv, dev: {tmp_path}/labels.csv, text: text, label: label, weight: 1"
    ended = command(
        train.main,
        *_arguments(tmp_path, "both", f"finetune.tasks.first={{kind: classification, {other}}}"),
        *("finetune.tasks.copy.weight=3", "train.steps=200", "train.eval_every=200"),
    )
    assert ended.status == 0, ended.err
    scores = json.loads((tmp_path / "both" / "results.json").read_text())["tasks"]
    assert scores["copy"]["dev"]["exact_match"]["mean"] > 60
    assert scores["first"]["dev"]["accuracy"]["mean"] == 100
    model = electra_jax.load(tmp_path / "both")
    dev = [line["from"] for line in _lines(tmp_path / "dev.jsonl")]
    assert [text.text for text in model.generate(dev)] == [
        line["text"] for line in _predictions(tmp_path / "both")
    ]
    assert model.classify("fade")["label"] == "late"


@pytest.mark.filterwarnings("ignore:the tokenizer does not keep")
@pytest.mark.parametrize(
    "decoder", ["init: generator", "sharing: all", "init: encoder, copy_mechanism: true"]
)
def test_from_a_pre_trained_pair_the_decoder_is_built_saved_loaded_and_found_again(
    decoder, finished, copied, tmp_path, command
):
    """A vocabulary of other words gives [UNK] alone, which is enough: every array is saved, read and used."""
    own = ("tokenizer.", "model.", "optimizer.layer_decay", "train.", "finetune.epochs")
    arguments = [some for some in _arguments(copied, "x") if not str(some).startswith(own)]
    arguments[3] = tmp_path / "work"
    arguments += [f"init_from={finished / 'work'}", f"finetune.tasks.copy.decoder={{{decoder}}}"]
    arguments += ["train.batch_size=8", "train.steps=3", "finetune.epochs=null"]
    ended = command(train.main, *arguments)
    assert ended.status == 0, ended.err
    starts = "the decoder of copy starts from the generator, its head included" in ended.err + ended.out
    assert starts == (decoder == "init: generator")
    line = "not to be exported to Hugging Face: copy, whose decoder has a copy mechanism"
    assert (line in ended.err) == ("copy_mechanism" in decoder)
    assert ("to export copy to Hugging Face: python" in ended.err) != ("copy_mechanism" in decoder)
    if "copy_mechanism" in decoder:
        refused = command(convert.main, tmp_path / "work", tmp_path / "out")
        assert refused.status == 2
        assert (
            "copy was trained with decoder.copy_mechanism, which Hugging Face's decoder has not"
            in refused.err
        )
        assert not (tmp_path / "out").exists()
    assert "the vocabulary cannot write" in ended.err + ended.out
    model = electra_jax.load(tmp_path / "work")
    dev = [line["from"] for line in _lines(copied / "dev.jsonl")]
    texts = model.generate(dev)
    found = _predictions(tmp_path / "work")
    assert [text.text for text in texts] == [line["text"] for line in found]
    assert [text.score for text in texts] == pytest.approx([line["score"] for line in found], rel=1e-3)
    before = contents(tmp_path / "work")
    again = command(train.main, *arguments)
    assert again.status == 0, again.err
    assert contents(tmp_path / "work") == before


def test_with_modern_blocks_a_task_that_writes_is_trained_loaded_and_found_again(tmp_path, command):
    more = ("model.block=modern", "model.local_attention.window=4", "train.steps=3", "train.eval_every=3")
    copies = "finetune.tasks.copy.decoder.copy_mechanism=true"
    ended = command(train.main, *_arguments(tmp_path, "work", *more, copies, "model.num_layers=2"))
    assert ended.status == 0, ended.err
    assert "to export" not in ended.err
    assert "not to be exported to Hugging Face: copy, whose decoder has modern blocks" in ended.err
    dev = [line["from"] for line in _lines(tmp_path / "dev.jsonl")]
    texts = electra_jax.load(tmp_path / "work").generate(dev)
    assert [text.text for text in texts] == [line["text"] for line in _predictions(tmp_path / "work")]
    refused = command(convert.main, tmp_path / "work", tmp_path / "out")
    assert refused.status == 2
    assert "has modern blocks, of which Hugging Face has no decoder with a source" in refused.err


@pytest.mark.slow
@pytest.mark.parametrize("writes", ["reverse", "sort"])
def test_reversing_and_sorting_are_learned(writes, tmp_path, command):
    more = ("train.steps=600", "train.eval_every=600", "model.num_layers=2")
    counts = (("train", 1024), ("dev", 64))
    ended = command(train.main, *_arguments(tmp_path, "work", *more, writes=writes, counts=counts))
    assert ended.status == 0, ended.err
    results = json.loads((tmp_path / "work" / "results.json").read_text())["tasks"][writes]["dev"]
    assert results["exact_match"]["mean"] == 100
