"""What the command lines promise to scripts."""

import doctest
import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from command_runs import contents, metrics_of, write_run

import electra_jax
from electra_jax import evaluate, prepare, train
from electra_jax.config import __main__ as config_command
from electra_jax.config import load_config
from electra_jax.tokenizers import load_tokenizer
from electra_jax.training.start import resolve_cleaning
from electra_jax.training.workdir import WorkDir

ROOT = Path(__file__).resolve().parents[2]
TRAIN_METRICS = {
    *("loss", "masked_lm_loss", "masked_lm_accuracy", "sampled_masked_lm_accuracy"),
    *("disc_loss", "disc_accuracy", "disc_auc", "disc_precision", "disc_recall"),
    *("learning_rate", "grad_norm", "sequences_per_second", "tokens_per_second"),
    *("model_flops_utilization", "padding_fraction"),
}


def test_work_directory_holds_what_is_promised(finished):
    work = finished / "work"
    assert sorted(path.name for path in work.iterdir()) == [
        *("checkpoints", "config.yaml", "metrics.jsonl", "tensorboard", "tokenizer"),
    ]
    # What follows the vocabulary, null in the file of the run, is said.
    resolved = load_config(finished / "run.yaml", ["tokenizer.strip_accents=false"])
    assert load_config(work / "config.yaml") == resolved
    assert sorted(path.name for path in (work / "checkpoints").iterdir()) == ["3", "6"]
    records = [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], r["split"]) for r in records] == [
        *((2, "train"), (4, "train"), (6, "train"), (6, "eval")),
    ]
    for record in records[:3]:
        assert set(record) == {"step", "split", *TRAIN_METRICS}
    assert any((work / "tensorboard").iterdir())


def test_run_again_when_finished_changes_nothing(finished, workdir, command):
    before = contents(workdir)
    ended = command(train.main, "--config", finished / "run.yaml", "--workdir", workdir)
    assert ended.status == 0
    assert "already trained to step 6; raise train.steps to go on" in ended.err
    after = contents(workdir)
    tensorboard = {name for name in after if name.startswith("tensorboard")}
    assert {n: c for n, c in after.items() if n not in tensorboard} == {
        n: c for n, c in before.items() if n not in tensorboard
    }


def test_config_of_a_run_alone_reproduces_it_bit_for_bit_started_in_python(finished, workdir, tmp_path):
    again = tmp_path / "again"
    metrics = electra_jax.train(workdir / "config.yaml", again)
    assert metrics["loss"] == metrics_of(again)[-1]["loss"]
    assert metrics_of(again) == metrics_of(workdir)
    assert (again / "config.yaml").read_bytes() == (workdir / "config.yaml").read_bytes()
    # A cell of a notebook that is run twice trains once, and says the same.
    assert electra_jax.train(workdir / "config.yaml", again) == metrics


def test_the_example_in_the_docstring_of_train(finished, workdir, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    workdir.rename(tmp_path / "runs" / "mine")
    shutil.copy(finished / "run.yaml", tmp_path / "mine.yaml")
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(train.run, globs={}):
        runner.run(example)
    assert (runner.failures, runner.tries) == (0, 2)


def test_evaluate_prints_and_appends_and_a_raised_run_goes_on_after_it(finished, workdir, command):
    written = metrics_of(workdir)
    ended = command(evaluate.main, "--workdir", workdir)
    assert ended.status == 0
    printed = json.loads(ended.out)
    source = f"text:{finished / 'corpus.txt'}"
    # On the held-out text the newest checkpoint gives what training wrote at its end, to the last bit.
    assert {"split": "eval", **printed} == {**written[-1], "eval_source": source}
    assert metrics_of(workdir) == [*written, {**written[-1], "eval_source": source}]

    other = finished / "vocab.txt"
    ended = command(
        evaluate.main,
        f"data.eval_source=text:{other}",
        "--workdir",
        workdir,
        "--step",
        3,
        "data.encoding=ascii",
    )
    assert ended.status == 0
    assert (json.loads(ended.out)["step"], json.loads(ended.out)["eval_source"]) == (3, f"text:{other}")
    evaluated = metrics_of(workdir)
    assert len(evaluated) == len(written) + 2

    ended = command(train.main, "--config", workdir / "config.yaml", "--workdir", workdir, "train.steps=8")
    assert ended.status == 0
    assert "train.steps: 6 -> 8" in ended.err
    assert "resumed at step 6" in ended.err
    went_on = metrics_of(workdir)
    assert went_on[: len(evaluated)] == evaluated
    assert [(r["step"], r["split"]) for r in went_on[len(evaluated) :]] == [(8, "train"), (8, "eval")]
    assert load_config(workdir / "config.yaml").train.steps == 8


def test_init_from_starts_from_the_parameters_of_another_run(finished, tmp_path, command):
    settings = ["train.steps=2", "train.show_examples=0", "optimizer.learning_rate=0.0"]
    for name, init in (("fresh", []), ("from", [f"init_from={finished / 'work'}"])):
        ended = command(
            train.main, "--config", finished / "run.yaml", "--workdir", tmp_path / name, *settings, *init
        )
        assert ended.status == 0
    assert f"parameters from {finished / 'work' / 'checkpoints' / '6'}, optimizer fresh" in ended.err
    # With a learning rate of 0 the held-out loss is that of the parameters begun with.
    assert metrics_of(tmp_path / "from")[-1] == {**metrics_of(finished / "work")[-1], "step": 2}
    assert metrics_of(tmp_path / "fresh")[-1] != metrics_of(tmp_path / "from")[-1]


@pytest.mark.parametrize("module", [train, prepare], ids=lambda module: module.__name__)
def test_print_config_prints_and_does_nothing_else(module, tmp_path, command):
    run = write_run(tmp_path / "folder")
    before = contents(tmp_path)
    ended = command(module.main, "--config", run, "--print-config", "train.steps=7")
    assert (ended.status, ended.err) == (0, "")
    assert contents(tmp_path) == before
    printed = tmp_path / "printed.yaml"
    printed.write_text(ended.out)
    assert load_config(printed) == load_config(run, ["train.steps=7"])


def test_prepare_says_where_and_training_finds_it(tmp_path, command):
    run = write_run(tmp_path)
    ended = command(prepare.main, "--config", run)
    assert ended.status == 0
    places = [Path(line.rpartition(": ")[2]) for line in ended.out.splitlines()]
    assert [path.parent.name for path in places] == ["tokenizers", "tokens", "tokens"]
    assert all(any(path.iterdir()) for path in places)
    before = contents(tmp_path)
    ended = command(prepare.main, "--config", run)
    assert ended.err.count("is in the cache") == 2
    assert contents(tmp_path) == before


def _strips_accents(workdir):
    """Makes it a run that stripped them, as its vocabulary alone does not say."""
    config = workdir / "config.yaml"
    config.write_text(config.read_text().replace("strip_accents: false", "strip_accents: true"))
    for file in workdir.glob("checkpoints/*/run/metadata"):
        saved = json.loads(file.read_text())
        saved["config"]["tokenizer"]["strip_accents"] = True
        file.write_text(json.dumps(saved))


@pytest.mark.parametrize(
    ("named", "given", "expected"),
    [("", "null", True), ("checkpoints/3", "null", True), ("best", "null", True), ("", "false", False)],
    ids=["run", "a checkpoint", "its best", "given"],
)
def test_rows_are_prepared_with_the_accents_of_the_run_that_training_starts_from(
    finished, workdir, named, given, expected, tmp_path, command
):
    _strips_accents(workdir)
    if named == "best":
        shutil.copytree(workdir / "checkpoints", workdir / "best" / "checkpoints")
    settings = [f"init_from={workdir / named}", f"tokenizer.strip_accents={given}"]
    settings += [f"data.cache_dir={tmp_path / 'cache'}"]
    ended = command(prepare.main, "--config", finished / "run.yaml", *settings)
    assert ended.status == 0, ended.err
    tokenizer = load_tokenizer(Path(ended.out.splitlines()[0].rpartition(": ")[2]))
    assert tokenizer.options["strip_accents"] is expected
    trained = resolve_cleaning(load_config(finished / "run.yaml", settings), WorkDir(tmp_path / "new"))
    assert trained.tokenizer.strip_accents is expected


def test_a_start_that_is_not_there_cannot_say_which_accents_are_kept(finished, tmp_path, command):
    argv = ("--config", finished / "run.yaml", f"init_from={tmp_path / 'nowhere'}")
    ended = command(prepare.main, *argv)
    assert (ended.status, ended.out) == (2, "")
    assert f"{tmp_path / 'nowhere'} is not a work directory: there is no such directory" in ended.err
    assert command(prepare.main, *argv, "tokenizer.strip_accents=false").status == 0


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (train, ("config.yaml", "metrics.jsonl", "checkpoints/STEP/", "--workdir DIR", "examples:")),
        (prepare, ("data.cache_dir", "tokenizer.vocab_file", "examples:")),
        (evaluate, ("JSON", "metrics.jsonl", "--step N", "examples:")),
        (config_command, ("section.key=value", "when a run is resumed")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_help_says_what_is_written_and_how(module, words, command):
    ended = command(module.main, "--help")
    assert (ended.status, ended.err) == (0, "")
    for word in words:
        assert word in ended.out
    assert max(map(len, ended.out.splitlines())) <= 120


def test_a_real_process_prepares_and_prints_nothing_but_its_lines(tmp_path):
    run = write_run(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "electra_jax.prepare", "--config", str(run)],
        cwd=ROOT,
        # No device is needed, so none is looked for.
        env={**os.environ, "JAX_PLATFORMS": "none_such"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["tokenizer", "training", "evaluation"]


MODES = {
    "unigram": ["tokenizer.vocab_size=300"],
    "bpe": ["tokenizer.vocab_size=300", "tokenizer.model_type=bpe"],
    "cased": ["tokenizer.vocab_size=300", "tokenizer.lowercase=false", "tokenizer.strip_accents=false"],
    "no bytes": ["tokenizer.vocab_size=50", "tokenizer.byte_fallback=false"],
    "segment pairs": ["data.packing=segment_pairs"],
    "quirks": ["objective.reference_quirks=true"],
    "untied": ["generator.sharing=none"],
    "tied": ["generator.sharing=all", "generator.size_fraction=1.0"],
    "bfloat16": ["compute.dtype=bfloat16"],
    "scan and remat": ["compute.scan_layers=true", "compute.remat=full", "model.num_layers=2"],
    "remat dots": ["compute.remat=dots"],
    "adamw, cosine": ["optimizer.kind=adamw", "optimizer.schedule=cosine"],
    "constant": ["optimizer.schedule=constant"],
    "warm-up, stable, decay": ["optimizer.schedule=warmup_stable_decay"],
    "inverse square root": ["optimizer.schedule=inverse_sqrt", "optimizer.warmup_steps=2"],
    "accumulation": ["train.accumulation_steps=2"],
    "growing batches": ["train.batch_size_schedule.to=16", "train.accumulation_steps=2"],
    "sampling": ["objective.disallow_correct=true", "objective.temperature=2"],
    "masked language model": ["objective.kind=masked_lm"],
}
METRICS_OF_MLM = {"step", "split", "loss", "masked_lm_loss", "masked_lm_accuracy", "padding_fraction"}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_trains_and_evaluates(mode, tmp_path, command):
    run = write_run(tmp_path)
    # As a user would write it: only what differs from the defaults, so that objective.kind can be chosen.
    written = load_config(run).model_dump(exclude_defaults=True)
    if "tokenizer.vocab_size" in MODES[mode][0]:
        written["tokenizer"] = {"kind": "sentencepiece"}
    if "objective.kind=masked_lm" in MODES[mode]:
        del written["generator"]  # which it does not read
    run.write_text(json.dumps(written))  # JSON is YAML
    work = tmp_path / "work"
    ended = command(train.main, "--config", run, "--workdir", work, "train.steps=4", *MODES[mode])
    assert ended.status == 0, ended.err
    final = metrics_of(work)[-1]
    assert (final["step"], final["split"]) == (4, "eval")
    assert isinstance(final["loss"], float)
    assert (set(final) == METRICS_OF_MLM) == (mode == "masked language model")
    ended = command(evaluate.main, "--workdir", work)
    assert ended.status == 0, ended.err
    assert json.loads(ended.out)["loss"] == final["loss"]
    assert command(train.main, "--config", work / "config.yaml", "--workdir", work).status == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["c.jsonl", "c.txt.gz", "c.jsonl.xz", "c.txt.zst"])
def test_every_format_gives_the_documents_of_plain_text(name, finished, tmp_path, command):
    run = write_run(tmp_path)
    text = (tmp_path / "corpus.txt").read_text()
    documents = [document.strip() for document in text.split("\n\n")]
    lines = "".join(json.dumps({"text": document}) + "\n" for document in documents)
    content = (lines if ".jsonl" in name else text).encode()
    packed = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}.get(
        Path(name).suffix, bytes
    )
    (tmp_path / name).write_bytes(packed(content))
    work = tmp_path / "work"
    ended = command(train.main, "--config", run, "--workdir", work, f"data.source=text:{tmp_path / name}")
    assert ended.status == 0, ended.err
    assert metrics_of(work) == metrics_of(finished / "work")
