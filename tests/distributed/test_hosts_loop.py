"""Two and four real processes over loopback train as one: same losses, same stop, same end, whatever happens."""

import json
import re
import signal
from pathlib import Path

import pytest
from processes import TESTS, Hosts

from electra_jax.training.checkpoints import saved_steps

SPEEDS = ("sequences_per_second", "tokens_per_second", "model_flops_utilization")
TOY = TESTS / "distributed" / "toy_host.py"
LOST = "error: another host of this run was lost"
LONG = ("train.steps=100000", "train.log_every=1", "train.eval_every=100000", "train.checkpoint_every=100000")


def _hosts(folder: Path, hosts: int, *settings: str, devices: int, workdir: Path | None = None) -> Hosts:
    command = (TOY, folder / "run" if workdir is None else workdir)
    return Hosts(folder, command, hosts, devices, "hosts.heartbeat_timeout=5", *settings)


def _lines(workdir: Path) -> list[dict]:
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in SPEEDS} for line in lines]


def _results(hosts: Hosts) -> list[str]:
    ended = hosts.ended()
    assert [e.status for e in ended] == [0] * len(ended), [e.err for e in ended]
    return [e.out.strip().splitlines()[-1] for e in ended]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run on one host with four devices: its folder and its result."""
    folder = tmp_path_factory.mktemp("alone")
    return folder / "run", _results(_hosts(folder, 1, devices=4))[0]


def _assert_close(lines, others):
    """Equal but for the order in which float32 sums of devices are added, which differs across hosts."""
    assert len(lines) == len(others)
    for line, other in zip(lines, others, strict=True):
        assert line.pop("split") == other.pop("split")
        assert line == pytest.approx(other, rel=1e-5)


def test_each_host_writes_a_trace_of_its_own(tmp_path):
    _results(_hosts(tmp_path, 2, "train.profile_steps=2:3", devices=1))
    found = sorted(
        path.relative_to(tmp_path / "run" / "profile").parts[0] for path in tmp_path.rglob("*.xplane.pb")
    )
    assert found == ["host-0", "host-1"]


@pytest.mark.parametrize(
    ("hosts", "mesh"),
    [
        (2, ()),
        (4, ("mesh.fsdp=4",)),
        (2, ("mesh.tensor=4",)),
        (2, ("mixed=yes",)),
        (2, ("mesh.fsdp=2", "mixed=yes")),
    ],
    ids=[
        "two",
        "four, parameters over all",
        "two that one tensor axis connects",
        "two in turns on the mesh",
        "two in turns, parameters over both",
    ],
)
def test_hosts_train_as_one(alone, tmp_path, hosts, mesh):
    workdir, result = alone
    results = _results(_hosts(tmp_path, hosts, *mesh, devices=4 // hosts))
    _assert_close(_lines(tmp_path / "run"), _lines(workdir))
    assert len({r.rpartition(" ")[0] for r in (*results, result)}) == 1
    # One host wrote the log: every line of it is there once.
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


def test_stopped_by_a_signal_on_one_host_all_save_the_same_step_and_another_number_goes_on(alone, tmp_path):
    workdir, result = alone
    by_time = ("train.checkpoint_minutes=0.01", "train.checkpoint_every=100", "train.keep_checkpoints=9")
    slow = _hosts(tmp_path / "first", 2, "slow=0.5", *by_time, devices=2, workdir=tmp_path / "run")
    slow.until(lambda: "step 4/" in slow.err(0))
    slow.processes[1].send_signal(signal.SIGTERM)
    ended = _results(slow)
    step = int(ended[0].split()[1])
    assert 4 < step < 12
    assert all(e.startswith(f"step {step} stopped SIGTERM") for e in ended)
    assert f"stopped by SIGTERM after step {step}, which is saved" in slow.err(0)
    assert "stopped by" not in slow.err(1)
    assert "stopping after this step" in slow.err(1)
    # The first host's clock asked for others before, which both have written.
    assert len(saved_steps(tmp_path / "run" / "checkpoints")) > 1

    resumed = _hosts(tmp_path / "second", 4, devices=1, workdir=tmp_path / "run")
    results = _results(resumed)
    assert f"resumed at step {step}" in resumed.err(0)
    assert {r.rpartition(" ")[0] for r in results} == {result.rpartition(" ")[0]}
    _assert_close(_lines(tmp_path / "run"), _lines(workdir))


@pytest.mark.parametrize("victim", [0, 1], ids=["the first", "another"])
def test_host_killed_makes_the_others_stop_with_a_sentence(tmp_path, victim):
    hosts = _hosts(tmp_path, 2, *LONG, devices=1)
    hosts.until(lambda: "step 3/" in hosts.err(0))
    hosts.processes[victim].kill()
    survivor = hosts.ended()[1 - victim]
    assert survivor.status not in (0, -signal.SIGKILL)
    assert LOST in hosts.last_words(1 - victim, LOST)


def test_host_that_dies_while_all_save_makes_the_others_stop_with_a_sentence(tmp_path):
    hosts = _hosts(tmp_path, 2, *LONG, "train.checkpoint_every=3", "dies_saving=1", devices=1)
    ended = hosts.ended()
    assert ended[1].status == -signal.SIGKILL
    # jax aborts the process from a thread of its own, which may come before our own way out or after it.
    assert ended[0].status in (75, -signal.SIGABRT)
    assert hosts.last_words(0, LOST).count(LOST) == 1


def test_loss_that_is_not_finite_stops_all(tmp_path):
    for ended in _hosts(tmp_path, 2, "bad=7", devices=1).ended():
        assert ended.status == 2
        assert re.search(r"error: the loss of the generator is not finite at step \d+", ended.err)


def test_checkpoint_that_one_host_cannot_read_is_used_by_none(alone, tmp_path):
    _, result = alone
    _results(_hosts(tmp_path / "first", 2, "train.steps=11", devices=2, workdir=tmp_path / "run"))
    again = _hosts(tmp_path / "second", 2, "damaged_on=1", devices=2, workdir=tmp_path / "run")
    results = _results(again)
    assert "checkpoint 11 cannot be read here; falling back to the one before" in again.err(0)
    assert "resumed at step 10" in again.err(0)
    assert {r.rpartition(" ")[0] for r in results} == {result.rpartition(" ")[0]}
    assert (tmp_path / "run" / "damaged_checkpoints" / "11").is_dir()


def test_hosts_with_other_settings_refuse(tmp_path):
    hosts = Hosts(tmp_path, (TOY, tmp_path / "run"), 2, 1, "hosts.heartbeat_timeout=5", each={1: ["seed=3"]})
    for ended in hosts.ended():
        assert ended.status == 2
        assert "host 1 was started with other settings than host 0: seed: 0 -> 3" in ended.err
    assert not (tmp_path / "run").exists()


def test_host_that_is_left_alone_says_so_in_time(tmp_path):
    hosts = _hosts(
        tmp_path, 1, "hosts.coordinator=127.0.0.1:1", "hosts.num_processes=2", "hosts.process_id=1",
        "hosts.join_timeout=3", devices=1,
    )  # fmt: skip
    (ended,) = hosts.ended()
    assert ended.status == 75  # the other may only be late
    assert (
        "error: joining the other hosts failed: not all were there within hosts.join_timeout=3" in ended.err
    )
    assert "host 1 of 2, with host 0 at 127.0.0.1:1" in ended.err
    assert ended.err.count("error: ") == 1
    assert not (tmp_path / "run").exists()
