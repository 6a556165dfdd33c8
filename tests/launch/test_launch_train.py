"""launch/train.py: the exit status that tells a launcher whether to run it again."""

import importlib.util
from pathlib import Path

import pytest
from small_run import small_config

from electra_jax import cli
from electra_jax.config import dump_config
from electra_jax.errors import HostLost, UserError
from electra_jax.training.workdir import WorkDir

FILE = Path(__file__).resolve().parents[2] / "launch" / "train.py"


@pytest.fixture
def launch():
    spec = importlib.util.spec_from_file_location("launch_train", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def work_directory(folder, saved=(), **sections):
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(dump_config(small_config(**sections)))
    for name in saved:
        (folder / "checkpoints" / name).mkdir(parents=True)
    return WorkDir(folder)


@pytest.mark.parametrize(
    ("saved", "done"),
    [((), False), (("5", "35"), False), (("5", "40"), True), (("40.orbax-checkpoint-tmp",), False)],
)
def test_finished_is_saved_at_the_last_step(launch, tmp_path, saved, done):
    assert launch.finished(work_directory(tmp_path / "run", saved)) is done


def test_finetuning_is_finished_when_its_results_are_there(launch, tmp_path):
    run = work_directory(
        tmp_path / "run",
        objective={"kind": "finetune"},
        finetune={"seeds": 2, "tasks": {"mrpc": {"data": "glue/MRPC"}}},
        init_from="somewhere",
    )
    assert not launch.finished(run)
    (run.root / "results.json").write_text("{}")
    assert not launch.finished(run)  # of fewer seeds
    for seed in (0, 1):
        (run.root / f"seed-{seed}").mkdir()
        (run.root / f"seed-{seed}" / "result.json").write_text("{}")
    assert launch.finished(run)


@pytest.mark.parametrize(("saved", "status"), [(("40",), 0), (("20",), 75)])
def test_status_of_an_orderly_end(launch, tmp_path, monkeypatch, saved, status):
    work_directory(tmp_path / "run", saved)
    monkeypatch.setattr(launch.train, "main", lambda argv: 0)
    assert launch.main(["--config", "c.yaml", f"--workdir={tmp_path}/run", "train.steps=40"]) == status


@pytest.mark.parametrize(("error", "status"), [(HostLost("one host"), 75), (UserError("no such file"), 2)])
def test_lost_hosts_are_no_mistake_of_the_user(launch, monkeypatch, capsys, error, status):
    def fail(argv):
        raise error

    monkeypatch.setattr(launch.train, "main", fail)
    with pytest.raises(SystemExit) as ended:
        cli.run(launch.main)
    assert ended.value.code == status
    assert capsys.readouterr().err == f"error: {error}\n"
