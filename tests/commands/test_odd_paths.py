"""Work directories of any name: what was trained there is read again, or the name is refused before any work."""

import json
import pwd
import shutil

import numpy as np
import pytest
from command_runs import metrics_of, write_run

from electra_jax import evaluate, plot, predict, prepare, train
from electra_jax.config.schema import Config
from electra_jax.config.text import DataConfig, TokenizerConfig
from electra_jax.convert import __main__ as convert
from electra_jax.data import prepare as prepare_data
from electra_jax.errors import UserError
from electra_jax.files.local_paths import local_path
from electra_jax.training.checkpoints import (
    RunIdentity,
    find_checkpoint,
    read_identity,
    read_params,
    saved_shapes,
    write_params,
)
from electra_jax.training.literal_path import LiteralPath

NAMES = [
    "a [x] b",
    "lr=[0.1, 0.2]",
    "[!a]",
    " with blanks ",
    "per%cent%20",
    "{braces}{a,b}",
    "star*",
    "**",
    "q?mark",
    "quo'te\"d",
    "new\nline",
    "ünïcödé-日本語-e\u0301",
    "-dash",
    "n" * 255,
    "shards@3",
    "a:b",
    "$HOME & ~ # | ; `x`",
]
# Everything at once, and what the shell and Python make of a path.
WORST = "lr=[0.1, 0.2] {a,b} 'q' \"%20\" *? é\n@2"


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_checkpoint_is_read_again(name, tmp_path):
    (tmp_path / "starred" / "checkpoints" / "3").mkdir(parents=True)  # what star* would find too
    work = tmp_path / name
    params = {"layer": {"kernel": np.arange(12.0).reshape(3, 4)}}
    write_params(work / "checkpoints", 3, params, RunIdentity("t", "d", Config().model_dump()))
    step, directory = find_checkpoint(work)
    assert (step, directory) == (3, work / "checkpoints")
    assert read_identity(directory, step).data == "d"
    assert saved_shapes(directory, step) == {"layer/kernel": (3, 4)}
    np.testing.assert_array_equal(read_params(directory, step)["layer"]["kernel"], params["layer"]["kernel"])


def test_patterns_find_what_is_below_the_path_and_nowhere_else(tmp_path):
    for folder in ("run*", "run2"):
        (tmp_path / folder / "part").mkdir(parents=True)
        (tmp_path / folder / "part" / f"of {folder}").touch()
    found = (LiteralPath(tmp_path / "run*") / "part").glob("of *")
    assert [(type(path), path.name) for path in found] == [(LiteralPath, "of run*")]


def test_backslash_is_refused_where_checkpoints_are_written_or_read(tmp_path):
    work = tmp_path / "back\\slash"
    params = {"kernel": np.zeros(3)}
    with pytest.raises(UserError, match="has a backslash in its name"):
        write_params(work / "checkpoints", 3, params, RunIdentity(None, None, {}))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="has a backslash in its name"):
        find_checkpoint(work)


def test_every_command_in_the_worst_of_places(finished, tmp_path, command, monkeypatch):
    folder = tmp_path / WORST
    work = shutil.copytree(finished / "work", folder / "work [1]")
    shutil.rmtree(work / "checkpoints" / "6")
    shutil.copy(finished / "corpus.txt", folder / "text [x].txt")
    monkeypatch.chdir(folder)
    here = f"data.cache_dir={json.dumps(str(folder / 'cache'))}"
    assert command(prepare.main, "--config", finished / "run.yaml", here).status == 0
    ended = command(train.main, "--config", finished / "run.yaml", "--workdir", "work [1]/", here)
    assert ended.status == 0, ended.err
    assert "resumed at step 3" in ended.err
    assert metrics_of(work) == metrics_of(finished / "work")
    (folder / "link").symlink_to(work)
    ended = command(evaluate.main, "--workdir", "link", "data.eval_source=text:text [x].txt")
    assert json.loads(ended.out)["step"] == 6
    ended = command(convert.main, "link", "n" * 255, "--to", "huggingface")
    assert ended.status == 0, ended.err
    ended = command(convert.main, "n" * 255, "back [x]")
    assert ended.status == 0, ended.err
    arguments = ["--input", "text [x].txt", "--output", "out [x].jsonl", "--encode", "mean"]
    ended = command(predict.main, "--workdir", "back [x]", *arguments)
    assert ended.status == 0, ended.err
    assert json.loads((folder / "out [x].jsonl").read_text().splitlines()[0])["vector"]
    assert command(plot.main, "work [1]", "--out", "drawn [x].png").status == 0
    assert (folder / "drawn [x].png").stat().st_size
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["work [1]", "text [x].txt", "cache", "link", "n" * 255, "back [x]", "out [x].jsonl", "drawn [x].png"]
    )


@pytest.mark.parametrize(
    "settings",
    ["data.cache_dir={}/cache", "data.source=text:{}/corpus.txt", "tokenizer.vocab_file={}/vocab.txt"],
)
def test_file_url_is_its_path(settings, tmp_path, command):
    config = write_run(tmp_path / "a b")
    ended = command(
        train.main, "--config", config, settings.format(f"file://{tmp_path}/a%20b"), "--print-config"
    )
    assert ended.status == 0
    printed = " ".join(ended.out.split())  # YAML breaks long lines at blanks
    assert settings.partition("=")[2].format(tmp_path / "a b") in printed
    assert "file:/" not in printed


def test_file_url_as_work_directory_and_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in (
        f"file://{tmp_path}/a%20b",
        f"file:{tmp_path}/a b",
        "~/a b",
        f"file://localhost{tmp_path}/a b",
        f"/{tmp_path}/a b",
        f"file:///{tmp_path}/a b",
    ):
        assert str(local_path(given)) == str(tmp_path / "a b")


def test_no_home_directory_is_one_sentence(monkeypatch):
    """As in a container whose user has no entry: the default of data.cache_dir is in it."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
    with pytest.raises(UserError, match=r"data\.cache_dir ~/.* names the home directory of nobody"):
        prepare_data.check_prepare(DataConfig(source="text:x.txt"), TokenizerConfig())
