"""Names that files hold never lead out of the directory they belong to."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from electra_jax.config.finetuning import FinetuneConfig
from electra_jax.config.loading import validate
from electra_jax.convert.files.tensorflow_bundle import write_tensors
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.tensorflow_format import find_prefix
from electra_jax.convert.weight_files import read_folder
from electra_jax.convert.weights import Weights
from electra_jax.data.token_rows import TokenRows
from electra_jax.errors import UserError
from electra_jax.files.file_names import is_file_name, subfolder
from electra_jax.tasks.settings import TaskSettings, read_settings
from electra_jax.training.checkpoints import saved_steps
from electra_jax.training.seed_selection import best_seed

OUTSIDE = ["../../../name", "/tmp/name", "..", ".", "", ".hidden", "a/b", "a\0b", "a\nb", "\ud800", "x" * 300]
INSIDE = ["mnli", "my task", "…", "STS-B", "a.b", "-x", "任务", "a..b"]


@pytest.mark.parametrize("name", INSIDE)
def test_names_that_are_taken(name):
    assert subfolder(Path("out"), name) == Path("out") / name
    tasks = {name: {"kind": "classification", "train": "a"}}
    assert list(FinetuneConfig.model_validate({"tasks": tasks}).tasks) == [name]


@pytest.mark.parametrize("name", [*OUTSIDE, None, 3, ["a"]])
def test_names_that_are_not(name):
    assert not is_file_name(name)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_task(tmp_path, name):
    settings = TaskSettings(kind="classification", labels=("a", "b"), classes=("a", "b"))
    (tmp_path / "tasks.json").write_text(json.dumps({name: asdict(settings)}))
    with pytest.raises(UserError, match=r"names a task .* cannot be part of a path|half of a character"):
        read_settings(tmp_path)
    with pytest.raises(UserError, match="a task cannot be called"):
        validate(
            {"objective": {"kind": "finetune"}, "finetune": {"tasks": {name: {"kind": "classification"}}}},
            "file",
        )
    config = validate({"objective": {"kind": "finetune"}, "finetune": {"head_style": "huggingface"}}, "file")
    weights = Weights(config, {}, 30, None, tasks={"good": settings, name: settings})
    (tmp_path / "in" / "out").mkdir(parents=True)
    with pytest.raises(UserError, match="a folder cannot be called"):
        write_huggingface(weights, tmp_path / "in" / "out")
    assert {path.name for path in tmp_path.rglob("*")} == {"in", "tasks.json", "out"}


@pytest.mark.parametrize("name", [*OUTSIDE, None, 3, ["a"], {}])
def test_a_shard(tmp_path, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "name").write_bytes(b"")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UserError, match=r"names no files beside it|half of a character"):
        read_folder(folder)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_checkpoint_of_tensorflow(tmp_path, name):
    write_tensors(tmp_path / "name", {"a": np.zeros(1, np.float32)})
    folder = tmp_path / "a" / "b" / "folder"
    folder.mkdir(parents=True)
    (folder / "checkpoint").write_text(
        f'model_checkpoint_path: "{name}"\n', encoding="utf-8", errors="surrogatepass"
    )
    assert find_prefix(folder) is None


@pytest.mark.parametrize("name", [name for name in OUTSIDE if name not in ("\ud800", "x" * 300)])
def test_a_shard_of_prepared_rows(tmp_path, name):
    shard = {"file": name, "num_rows": 1, "num_bytes": 1}
    values = {
        "num_rows": 1,
        "sequence_length": 8,
        "dtype": "<u2",
        "rows_per_block": 1,
        "num_tokens": 1,
        "padding_share": 0.0,
        "unknown_token_share": 0.0,
        "most_frequent_token_share": 0.0,
        "fingerprint": "x",
        "shards": [shard],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="its keys are wrong"):
        TokenRows.open(tmp_path)


@pytest.mark.parametrize("seed", ["../../other", 1.5, True, None, [1]])
def test_a_seed(tmp_path, seed):
    results = {"tasks": {"a": {"dev": {"f1": {"values": [1.0]}}}}, "seeds": [seed]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(UserError, match=r"results\.json is not what was written there .seeds"):
        best_seed(tmp_path)


@pytest.mark.parametrize("results", [{}, {"tasks": []}, {"tasks": {}, "seeds": [1]}, {"tasks": {"a": 1}}])
def test_results_that_are_none(tmp_path, results):
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(UserError, match=r"results\.json is not what was written"):
        best_seed(tmp_path)


def test_directories_that_are_no_steps(tmp_path):
    for name in ("3", "0", "2147483647", "2147483648", "07", "²", "٣", "-1", "9" * 200, "3.tmp"):
        (tmp_path / name).mkdir()
    assert saved_steps(tmp_path) == [0, 3, 2147483647]
