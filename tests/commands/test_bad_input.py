"""Each mistake at the command line: one sentence, status 2, no device touched, nothing written or lost."""

import contextlib
import gzip
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from command_runs import contents, metrics_of, write_run
from small_run import write_corpus

from electra_jax import evaluate, predict, prepare, train
from electra_jax.partitioning import mesh

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The current folder: a run.yaml that would work, and things that would not."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path)
    files = {
        "empty.txt": b"",
        "blank.txt": b"\n \n\n",
        "nul.txt": b"some text\0more",
        "latin.txt": b"good text\n\nbad \xff text\n",
        "cut.txt.gz": gzip.compress(b"some text\n" * 1000)[:40],
        "field.jsonl": b'{"body": "text"}\n',
        "pairs.jsonl": b'{"good": "a b", "bad": "b a"}\n',
        "half.jsonl": b'{"good": "a b", "bad": "b a", "uid": 1}\n{"good": "a b", "bad": " "}\n',
        "gaps.txt": b"the ___ cat\nno gap\n",
        "few.txt": b"[PAD]\n[UNK]\n[CLS]\n",
        "many/a.txt": b"good text\n",
        "many/b.pdf": b"%PDF\0\1\2",
        "foreign/thesis.txt": b"not ours\n",
        "file": b"",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "datasets").mkdir()
    return tmp_path


@pytest.fixture
def no_device(monkeypatch):
    """Asking for a device is an error of the test's own."""

    def fail():
        raise AssertionError("a device was asked for")

    monkeypatch.setattr(mesh, "_all_devices", fail)
    monkeypatch.setattr(jax, "devices", fail)


def refused(ended, *words: str) -> None:
    assert ended.status == 2, ended.err
    last = ended.err.splitlines()[-1]
    assert last.startswith("error: ")
    for word in words:
        assert word in last
    assert "Traceback" not in ended.err
    assert ended.out == ""


SENTENCEPIECE = ["tokenizer.kind=sentencepiece", "tokenizer.vocab_file=null"]
MISTAKES = [
    (["train.stesp=4"], ["unknown key train.stesp", "did you mean train.steps?"]),
    (["train.steps=many"], ["train.steps is 'many'", "valid integer"]),
    (["train.steps"], ["'train.steps' must have the form key.path=value"]),
    (["objective.mask_rate=1.0"], ["objective.mask_rate is 1.0", "less than 1"]),
    (["objective.mask_rate=0"], ["objective.mask_rate is 0", "greater than 0"]),
    (["objective.mask_rate_high=0.1"], ["mask_rate_high 0.1 must be above mask_rate 0.15"]),
    (["objective.mask_rate_high=1.5"], ["objective.mask_rate_high is 1.5", "less than or equal to 1"]),
    (
        ["objective.mask_rate_high=1.0", "objective.reference_quirks=true"],
        ["mask_rate_high does not go with reference_quirks"],
    ),
    (["model.num_heads=5"], ["hidden_size 32 is not divisible by num_heads 5"]),
    (["data.sequence_length=17"], ["data.sequence_length 17 is above model.max_positions 16"]),
    (["train.accumulation_steps=3"], ["batch_size 8 is not divisible by accumulation_steps 3"]),
    (["data.source=text:nowhere/*.txt"], ["text:nowhere/*.txt matches no file"]),
    (["data.source=corpus.txt"], ["'corpus.txt' is not a source", "did you mean text:corpus.txt?"]),
    (["data.source=text:many"], ["is a folder", "text:many/**/*.txt"]),
    (["data.source=text:empty.txt"], ["text:empty.txt: the file is empty"]),
    (["data.source=text:blank.txt"], ["text:blank.txt: the file is empty"]),
    (["data.source=text:nul.txt"], ["nul.txt, line 1, column 10 has a NUL byte"]),
    (["data.source=text:latin.txt"], ["latin.txt, line 3, column 5 is not utf-8", "data.encoding"]),
    (["data.source=text:many/*"], ["many/b.pdf is not utf-8 text but most likely a PDF"]),
    (["data.source=text:cut.txt.gz"], ["cut.txt.gz is damaged or incomplete"]),
    (["data.source=text:field.jsonl"], ["line 1 has no field 'text' (it has 'body')", "data.text_field"]),
    (["data.encoding=utf-9"], ["data.encoding 'utf-9' is not a text encoding"]),
    (["data.eval_source=text:nowhere.txt"], ["text:nowhere.txt matches no file"]),
    (["data.eval_fraction=0.0"], ["data.eval_fraction is 0 and data.eval_source is not set"]),
    (["data.source=embedded:nothing"], ["embedded:nothing is unknown", "embedded:python-docs"]),
    (
        ["data.source=tfds:wikipedai", "data.tfds_data_dir=datasets"],
        ["TFDS has no dataset 'wikipedai'", "did you mean tfds:wikipedia?"],
    ),
    (
        ["data.source=tfds:wikipedia/20230601.en", "data.tfds_data_dir=datasets"],
        ["is not prepared in", "tfds build wikipedia/20230601.en --file_format=array_record --data_dir="],
    ),
    ([*SENTENCEPIECE, "tokenizer.vocab_size=5"], ["tokenizer.vocab_size 5 is too small", "special tokens"]),
    ([*SENTENCEPIECE, "tokenizer.vocab_file=few.txt"], ["few.txt is not a SentencePiece model"]),
    (["tokenizer.vocab_file=null"], ["wordpiece needs tokenizer.vocab_file"]),
    (["tokenizer.vocab_file=nowhere.txt"], ["tokenizer.vocab_file nowhere.txt does not exist"]),
    (["tokenizer.vocab_file=few.txt"], ["few.txt lacks [SEP] [MASK]"]),
    (["tokenizer.vocab_size=7"], ["entries, but tokenizer.vocab_size is 7"]),
]


@pytest.mark.parametrize(("settings", "words"), MISTAKES, ids=lambda part: part[-1])
@pytest.mark.parametrize("module", [train, prepare], ids=["train", "prepare"])
def test_mistake_in_the_settings(module, settings, words, place, no_device, command):
    before = contents(place)
    where = ["--workdir", "new"] if module is train else []
    refused(command(module.main, "--config", "run.yaml", *where, *settings), *words)
    assert contents(place) == before


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ["required: --config"]),
        (["--config", "run.yaml"], ["--workdir is missing"]),
        (["--config", "runn.yaml", "--workdir", "new"], ["runn.yaml does not exist", "run.yaml"]),
        (["--config", "run.yaml", "--workdir", "new", "--frobnicate"], ["unrecognized arguments: --frobni"]),
        (["--config", "run.yaml", "--workdir", "file"], ["--workdir file is a file, not a directory"]),
        (
            ["--config", "run.yaml", "--workdir", "file/new"],
            ["--workdir file/new cannot be made", "is a file"],
        ),
        (["--config", "run.yaml", "--workdir", "foreign"], ["foreign is not empty and holds no run"]),
        (
            ["--config", "run.yaml", "--workdir", "new", "init_from=foreign"],
            ["init_from foreign: there is no"],
        ),
    ],
    ids=lambda part: part[-1] if part else "nothing",
)
def test_mistake_in_the_arguments(argv, words, place, no_device, command):
    before = contents(place)
    refused(command(train.main, *argv), *words)
    assert contents(place) == before


def test_work_directory_that_cannot_be_written(place, no_device, command, monkeypatch):
    # Root may write anywhere, so the file system's answer is given here.
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path) == place and mode & os.W_OK))
    refused(
        command(train.main, "--config", "run.yaml", "--workdir", "new"),
        "--workdir new cannot be written",
        str(place),
    )


@pytest.mark.parametrize(
    ("devices", "settings", "words"),
    [
        (3, [], ["train.batch_size 8", "not divisible by the 3 devices", "a multiple of 3"]),
        (4, ["mesh.data=3"], ["mesh.data=3", "does not make 4, the number of devices"]),
        (4, ["mesh.tensor=3"], ["mesh.tensor=3", "does not make 4, the number of devices"]),
        (4, ["compute.attention=splash"], ["compute.attention=splash needs a TPU", "choose xla or blocked"]),
    ],
)
def test_devices_that_do_not_fit_are_found_before_preparing(
    devices, settings, words, place, command, monkeypatch
):
    monkeypatch.setattr(mesh, "_all_devices", lambda: jax.devices()[:devices])
    before = contents(place)
    refused(command(train.main, "--config", "run.yaml", "--workdir", "new", *settings), *words)
    assert contents(place) == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["seed=4"], ["holds another run", "seed: 0 -> 4"]),
        (["model.hidden_size=64"], ["holds another run", "model.hidden_size: 32 -> 64"]),
        (["objective.mask_rate=0.2"], ["objective.mask_rate: 0.15 -> 0.2"]),
        (["data.packing=segment_pairs"], ["data.packing: documents -> segment_pairs"]),
        (["train.batch_size=16", "train.steps=9"], ["train.batch_size: 8 -> 16; choose another --workdir"]),
    ],
    ids=lambda part: part[0],
)
def test_work_directory_of_another_run(settings, words, finished, workdir, no_device, command):
    before = contents(workdir)
    refused(command(train.main, "--config", finished / "run.yaml", "--workdir", workdir, *settings), *words)
    assert contents(workdir) == before


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("config", ["the run's own", "what it began with"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda work: _edit(work / "config.yaml", "seed: 0\ninit_from", "seed: 5\ninit_from"),
            ["seed: ", "cannot change"],
        ),
        (
            lambda work: os.truncate(work / "config.yaml", (work / "config.yaml").read_text().index("_file")),
            ["config.yaml line ", "not valid YAML"],
        ),
        (lambda work: os.truncate(work / "config.yaml", 0), ["data.source: ", "cannot change"]),
        (
            lambda work: _edit(work / "tokenizer" / "vocab.txt", "moon\n", "noom\n"),
            ["vocab.txt is not what was saved (its hash differs)", "restore it from a copy"],
        ),
        (
            lambda work: os.truncate(work / "tokenizer" / "tokenizer.json", 9),
            ["line 2: not valid JSON", "restore it"],
        ),
        (lambda work: (work / "tokenizer" / "tokenizer.json").unlink(), ["does not hold a tokenizer"]),
    ],
    ids=["edited", "cut off", "emptied", "vocabulary", "description cut off", "description gone"],
)
def test_work_directory_that_was_damaged(damage, words, config, finished, workdir, no_device, command):
    damage(workdir)
    before = contents(workdir)
    path = {"the run's own": workdir / "config.yaml", "what it began with": finished / "run.yaml"}[config]
    refused(command(train.main, "--config", path, "--workdir", workdir), *words)
    assert contents(workdir) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda folder: write_corpus(folder / "corpus.txt", 100),
            ["the prepared training text is not the one"],
        ),
        (
            lambda folder: _edit(folder / "vocab.txt", "moon\n", "noom\n"),
            ["the tokenizer is not the one this run began with", "the vocabulary file"],
        ),
    ],
    ids=["corpus", "vocabulary"],
)
def test_text_or_vocabulary_changed_under_a_run(change, words, finished, tmp_path, command):
    folder = tmp_path / "moved"
    shutil.copytree(finished, folder)
    for config in (folder / "run.yaml", folder / "work" / "config.yaml"):
        config.write_text(config.read_text().replace(str(finished), str(folder)))
    # The checkpoint's copy of the settings has the folder, too.
    for step in (folder / "work" / "checkpoints").iterdir():
        run = step / "run" / "metadata"
        run.write_text(run.read_text().replace(str(finished), str(folder)))
    change(folder)
    before = contents(folder / "work")
    refused(command(train.main, "--config", folder / "run.yaml", "--workdir", folder / "work"), *words)
    assert contents(folder / "work") == before


def test_init_from_with_another_vocabulary(finished, tmp_path, command):
    vocabulary = tmp_path / "vocab.txt"
    *tokens, _ = (finished / "vocab.txt").read_text().split()
    vocabulary.write_text("\n".join([*tokens, "another", "and-one-more"]))
    settings = ["--config", finished / "run.yaml", "--workdir", tmp_path / "new"]
    init = f"init_from={finished / 'work'}"
    refused(
        command(train.main, *settings, init, f"tokenizer.vocab_file={vocabulary}"),
        f"{init.replace('=', ' ')} was trained with another vocabulary",
        str(finished / "work" / "tokenizer"),
    )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("init", "settings", "words"),
    [
        ("work", ["model.hidden_size=64"], ["checkpoints/6 has the parameters of", "hidden_size: 32 -> 64"]),
        ("work", ["model.num_heads=4"], ["model.num_heads: 2 -> 4"]),
        ("work", ["generator.sharing=none"], ["generator.sharing: embeddings -> none"]),
        ("work/checkpoints/5", [], ["no checkpoint of step 5", "there are: 3, 6"]),
    ],
    ids=lambda part: str(part[-1:]),
)
def test_init_from_another_model(init, settings, words, finished, tmp_path, no_device, command):
    argv = ["--config", finished / "run.yaml", "--workdir", tmp_path / "new", f"init_from={finished / init}"]
    refused(command(train.main, *argv, *settings), *words)
    assert not (tmp_path / "new").exists()


PAIRS = ["--workdir", "work", "--pairs"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workdir", "nowhere"], ["nowhere is not a work directory: there is no such directory"]),
        (["--workdir", "foreign"], ["foreign is not a work directory: it has no config.yaml"]),
        (["--workdir", "work", "--step", "5"], ["no checkpoint of step 5", "there are: 3, 6"]),
        (["--workdir", "work", "--step", "x"], ["--step: invalid int value: 'x'"]),
        (["--workdir", "work", "model.num_heads=4"], ["cannot be evaluated as another", "num_heads: 2 -> 4"]),
        (["--workdir", "work", "generator.size_fraction=1.0"], ["cannot be evaluated as another"]),
        (["--workdir", "work", "tokenizer.lowercase=false"], ["cannot be evaluated as another"]),
        (["--workdir", "work", "data.eval_source=text:nowhere.txt"], ["text:nowhere.txt matches no file"]),
        (
            ["--workdir", "work", "data.eval_fraction=0.49", "data.document_separator=line"],
            ["the run in work was trained on: data.document_separator: 'blank_line' -> 'line', data.eval_fr"],
        ),
        (["--workdir", "work", "data.eval_sorce=text:x"], ["did you mean data.eval_source?"]),
        (["--workdir", "work", "--score", "pll"], ["--score says how to evaluate --pairs, which is missing"]),
        (["--workdir", "work", "--group", "uid"], ["--group says how to evaluate --pairs"]),
        (["--workdir", "work", "--end"], ["--end says how to evaluate --pairs"]),
        ([*PAIRS, "pairs.jsonl", "--end"], ["the end of a text is scored by lm alone, and this is rtd"]),
        ([*PAIRS, "nowhere.jsonl"], ["nowhere.jsonl", "No such file"]),
        ([*PAIRS, "empty.txt"], ["empty.txt holds no pairs"]),
        ([*PAIRS, "few.txt"], ["few.txt, line 1 has neither good and bad nor", "(there is 'text')"]),
        ([*PAIRS, "half.jsonl"], ["half.jsonl, line 2: bad is empty, so there is nothing to score"]),
        ([*PAIRS, "pairs.jsonl", "--group", "term"], ["pairs.jsonl, line 1 has no 'term'"]),
        ([*PAIRS, "pairs.jsonl", "train.steps=1"], ["--pairs evaluates a model as it is: leave out train"]),
        ([*PAIRS, "pairs.jsonl", "--stride", "4"], ["--stride is for held-out text", "leave it out"]),
        ([*PAIRS, "pairs.jsonl", "--score", "bleu"], ["--score: invalid choice: 'bleu'"]),
        (
            [*PAIRS, "pairs.jsonl", "--score", "lm"],
            ["the score lm needs a causal language model", "rtd or pll"],
        ),
        ([*PAIRS, "pairs.jsonl", "--step", "5"], ["no checkpoint of step 5", "there are: 3, 6"]),
        (["--workdir", "work", "--tune-on", "x"], ["--tune-on says how to evaluate --errors"]),
        (["--workdir", "work", "--layer", "1"], ["--layer says how to evaluate --sts, which is missing"]),
        ([*PAIRS, "pairs.jsonl", "--pooling", "mean"], ["--pooling says how to evaluate --sts"]),
        ([*PAIRS, "pairs.jsonl", "--threshold", "0.1"], ["--threshold says how to evaluate --errors"]),
        (["--workdir", "work", "--errors", "few.txt"], ["few.txt"]),
        (
            ["--workdir", "work", "--errors", "few.txt", "--threshold", "7"],
            ["the threshold is 7.0, but must be a probability from 0 to 1"],
        ),
    ],
    ids=lambda part: part[-1],
)
def test_mistake_of_evaluate(arguments, words, place, workdir, no_device, command):
    before = contents(place)
    refused(command(evaluate.main, *arguments), *words)
    assert contents(place) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--per-token"], ["--per-token says how to --score, which is missing"]),
        (["--end"], ["--end says how to --score, which is missing"]),
        (["--layer", "1"], ["--layer says how to --encode, which is missing"]),
        (["--score", "pll", "--end"], ["the end of a text is scored by lm alone, and this is pll"]),
        (["--score", "bleu"], ["--score: invalid choice: 'bleu'"]),
        (["--score", "electric"], ["the score electric needs Electric's energies", "use rtd or pll"]),
        (["--fill", "many"], ["--fill: invalid int value: 'many'"]),
        (["--fill", "--score"], ["not allowed with argument --fill"]),
        (["--threshold", "0.1"], ["--threshold says how to --review, which is missing"]),
        (["--readable"], ["--readable says how to --review, which is missing"]),
        (["--review", "--threshold", "-1"], ["the threshold is -1.0, but must be a probability from 0 to 1"]),
        (["--labels", "a,b"], ["--labels and --template go together"]),
        (["--template", "{text} {label}"], ["--labels and --template go together"]),
        (["--labels", "a", "--template", "{text} {label}"], ["the labels 'a' must be two or more"]),
        (["--labels", "a,b", "--template", "{text}"], ["must have {text} and {label} once each"]),
        (["--review", "-1"], ["the number of suggestions for a word is -1"]),
    ],
    ids=lambda part: part[-1],
)
def test_mistake_of_predict_for_scores_and_gaps(arguments, words, place, workdir, no_device, command):
    before = contents(place)
    argv = ["--workdir", "work", "--input", "gaps.txt", "--output", "out.jsonl"]
    refused(command(predict.main, *argv, *arguments), *words)
    assert contents(place) == before


def test_damaged_newest_checkpoint_falls_back_to_the_one_before(finished, workdir, command):
    written = metrics_of(workdir)
    for path in (workdir / "checkpoints" / "6" / "params").rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)
    ended = command(train.main, "--config", finished / "run.yaml", "--workdir", workdir)
    assert ended.status == 0
    assert "checkpoints/6/params cannot be restored" in ended.err
    assert "falling back to the one before" in ended.err
    assert "resumed at step 3" in ended.err
    assert metrics_of(workdir) == written
    assert (workdir / "damaged_checkpoints" / "6").is_dir()


def test_no_checkpoint_that_can_be_read(finished, workdir, command):
    for path in (workdir / "checkpoints").rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)
    before = contents(workdir)
    ended = command(train.main, "--config", finished / "run.yaml", "--workdir", workdir)
    refused(ended, "none of the checkpoints in", "can be read", "start a new work directory")
    assert contents(workdir) == before


@contextlib.contextmanager
def _file_size_limit(limit: int):
    """A file that grows beyond cannot be written: what a full disk is, anywhere and without being root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("limit", "settings", "words"),
    [
        (
            1500,
            [*SENTENCEPIECE, "tokenizer.vocab_size=300"],
            ["cannot write the tokenizer to", "File too large"],
        ),
        (4000, [], ["cannot write to", "File too large", "set data.cache_dir to another directory"]),
    ],
    ids=["tokenizer", "rows"],
)
def test_full_disk_while_preparing_leaves_nothing_half_done(limit, settings, words, place, command):
    with _file_size_limit(limit):
        ended = command(prepare.main, "--config", "run.yaml", *settings)
    refused(ended, *words)
    left = [path for path in (place / "cache").rglob("*") if path.is_file() and path.name != ".lock"]
    assert {path.parent.parent.name for path in left} <= {"cache", "tokenizers"}
    assert not any("unfinished" in path.name for path in (place / "cache").rglob("*"))
    assert command(prepare.main, "--config", "run.yaml", *settings).status == 0


def test_full_disk_while_saving_keeps_the_earlier_state(finished, workdir, tmp_path, command):
    more = ["--config", finished / "run.yaml", "--workdir", workdir, "train.steps=8"]
    whole = shutil.copytree(workdir, tmp_path / "whole")
    before = contents(workdir / "checkpoints" / "6")
    assert command(train.main, *more[:3], whole, *more[4:]).status == 0
    # Room for everything but a checkpoint, whose arrays end up in files of 43 and 87 kB.
    with _file_size_limit(20_000):
        ended = command(train.main, *more)
    refused(ended, str(workdir))
    assert contents(workdir / "checkpoints" / "6") == before
    assert command(train.main, *more).status == 0
    assert metrics_of(workdir) == metrics_of(whole)


@pytest.mark.parametrize("argument", ["data.source=text:nul.txt", "train.stesp=1", "init_from=foreign"])
def test_a_real_process_looks_for_no_device(argument, place):
    done = subprocess.run(
        [sys.executable, "-m", "electra_jax.train", "--config", "run.yaml", "--workdir", "new", argument],
        env={**os.environ, "JAX_PLATFORMS": "none_such", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (place / "new").exists()


def test_no_device_at_all_is_one_sentence(place):
    done = subprocess.run(
        [sys.executable, "-m", "electra_jax.train", "--config", "run.yaml", "--workdir", "new"],
        env={**os.environ, "JAX_PLATFORMS": "none_such", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: jax has no device to work on: ")
    assert done.stderr.count("\n") == 1
    assert not (place / "new").exists()
