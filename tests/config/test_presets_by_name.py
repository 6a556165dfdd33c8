"""Presets are found by name; a path still means the file."""

from pathlib import Path

import pytest

from electra_jax.config import load_config
from electra_jax.config.presets import FOLDER, find_config, preset_names
from electra_jax.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("small", "pretrain/small.yaml"),
        ("tiny.yaml", "pretrain/tiny.yaml"),
        ("pretrain/base", "pretrain/base.yaml"),
        ("finetune/mrpc", "finetune/mrpc.yaml"),
        ("finetune/small/mrpc", "finetune/small/mrpc.yaml"),
        ("configs/pretrain/small.yaml", "pretrain/small.yaml"),
        ("configs/finetune/large/rte.yaml", "finetune/large/rte.yaml"),
    ],
)
def test_names(name, file):
    assert find_config(name).read_bytes() == (CONFIGS / file).read_bytes()


def test_every_shipped_file_has_a_name_of_its_own():
    names = preset_names()
    assert len(set(names)) == len(names) == len(list(CONFIGS.rglob("*.yaml")))
    assert {find_config(name).resolve() for name in names} == {
        path.resolve() for path in CONFIGS.rglob("*.yaml")
    }
    assert FOLDER.is_dir()


def test_a_file_wins_over_a_preset_and_may_inherit_from_one(tmp_path):
    (tmp_path / "small").write_text("base: tiny\nseed: 5\n")
    config = load_config("small")
    assert config.seed == 5
    assert config.model == load_config(CONFIGS / "pretrain" / "tiny.yaml").model
    (tmp_path / "tiny").mkdir()  # a directory is no file
    assert load_config("tiny").model == config.model


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smal", "no file smal, and no preset of that name; near it: small"),
        ("finetune/mrcp", "near it: finetune/mrpc"),
        ("qqqqqqqqqqq", "presets are: "),
        ("../../etc/passwd.yaml", "does not exist"),
        ("nowhere.yaml", "configuration file nowhere.yaml does not exist"),
    ],
)
def test_neither_file_nor_preset(name, message):
    with pytest.raises(UserError, match=message):
        load_config(name)
