"""launch/tpu_vm.sh against a gcloud that writes down what is asked of it and runs what is sent to the workers."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = PROJECT / "launch" / "tpu_vm.sh"

# On the workers: what installs is taken for done; Python is a run of 40 steps that goes on where it stopped.
STUBS = {
    "mountpoint": "true",
    "uv": "[[ $1 == pip ]] || { mkdir -p .venv/bin && cp $FAKE/bin/trainer .venv/bin/python; }",
    "trainer": """
        [[ $2 == launch/train.py && $4 == configs/pretrain/tiny.yaml && $6 == $FAKE/share/runs/mine ]] || exit 9
        [[ $PWD == */0/electra_jax && $PWD == *mine/* || $PWD == *mine-0/0/* ]] || exit 0 # the first host counts
        trap 'exit 75' TERM
        [[ ! -f $FAKE/exit_status ]] || exit $(cat $FAKE/exit_status)
        echo "args: ${@:7}"
        for ((step = $(cat $FAKE/share/step 2>/dev/null || echo 0); step < 40; )); do
          echo $((++step)) >$FAKE/share/partial && mv $FAKE/share/partial $FAKE/share/step && echo "step $step"
          [[ ! -f $FAKE/slow ]] || sleep .2
        done""",
}
TOOLS = (
    *("bash", "cat", "chmod", "cp", "date", "dirname", "env", "git", "gzip", "head", "id", "ls", "mkdir"),
    *("mktemp", "mv", "pkill", "rm", "setsid", "sleep", "tail", "tar", "touch"),
)


@pytest.fixture
def cloud(tmp_path):
    """``cloud(*arguments, **environment)`` runs the launcher; no program but those named here can be found."""
    fake = tmp_path / "fake"
    (fake / "share").mkdir(parents=True)
    (fake / "bin").mkdir()
    (fake / "states").write_text("WAITING_FOR_RESOURCES PROVISIONING ACTIVE")
    for tool in TOOLS:
        (fake / "bin" / tool).symlink_to(shutil.which(tool))
    stubs = STUBS | {"gcloud": f'exec {sys.executable} {Path(__file__).with_name("fake_gcloud.py")} "$@"'}
    for name, text in stubs.items():
        (fake / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (fake / "bin" / name).chmod(0o755)

    def run(*arguments, **environment):
        settings = {
            "ZONE": "here",
            "ACCELERATOR": "v4-16",
            "SHARE": "gs://bucket",
            "PAUSE": "0",
        } | environment
        return subprocess.run(
            [str(SCRIPT), *arguments],
            env={"PATH": str(fake / "bin"), "FAKE": str(fake), **{k: v for k, v in settings.items() if v}},
            capture_output=True,
            text=True,
            timeout=60,
        )

    run.fake = fake
    yield run
    for pid in (fake / "nodes").glob("*/*/electra_jax.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(pid.read_text()), signal.SIGKILL)


def calls(cloud):
    file = cloud.fake / "calls.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def in_short(calls):
    """Verb, and of what goes to a worker the last word that says what it is to do."""
    short = []
    for call in calls:
        words = call["flags"].get("command", "").split()
        what = words[2] if words[:1] == ["bash"] else words[0] if words else ""
        short.append(f"{call['verb'].split()[1]} {what}".strip())
    return short


UP = ["create", *["describe"] * 3, "scp", "ssh mkdir", "ssh install", "ssh start", "ssh follow"]


def test_up_creates_installs_and_runs_on_all_workers(cloud):
    done = cloud(
        "up", "mine", "configs/pretrain/tiny.yaml", "data.source=text:/mnt/electra/a b/*.txt", PROJECT="p"
    )
    assert done.returncode == 0, done.stderr
    made = calls(cloud)
    assert in_short(made) == UP
    assert made[0]["words"] == ["mine"]
    assert made[0]["flags"] == {
        "accelerator-type": "v4-16",
        "runtime-version": "v2-alpha-tpuv5-lite",
        "node-id": "mine",
        "spot": "",
        "zone": "here",
        "project": "p",
    }
    assert all(call["flags"]["zone"] == "here" and call["flags"]["project"] == "p" for call in made)
    assert [call["flags"].get("worker") for call in made if call["verb"].startswith("tpu-vm")] == [
        "all"
    ] * 4 + ["0"]
    assert "step 1\n" in done.stdout
    assert done.stdout.endswith("step 40\n")
    # The override arrives as one word, its star untouched.
    assert (
        f"args: data.cache_dir={cloud.fake}/share/cache data.source=text:/mnt/electra/a b/*.txt"
        in done.stdout
    )
    for worker in "01":
        there = cloud.fake / "nodes" / "mine" / worker / "electra_jax"
        assert (there / "electra_jax" / "train.py").read_text() == (
            PROJECT / "electra_jax/train.py"
        ).read_text()
    assert "delete mine" in done.stderr


def test_after_preemption_it_is_created_again_and_goes_on(cloud):
    (cloud.fake / "preempt_at_step").write_text("3")
    (cloud.fake / "slow").touch()
    done = cloud("up", "mine", "configs/pretrain/tiny.yaml")
    assert done.returncode == 0, done.stderr
    again = [
        "describe",
        "delete",
        "create",
        "describe",
        "scp",
        "ssh mkdir",
        "ssh install",
        "ssh start",
        "ssh follow",
    ]
    assert in_short(calls(cloud)) == UP + again
    assert "mine is SUSPENDED: pre-empted" in done.stderr
    steps = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("step ")]
    second = steps.index(40) - steps[::-1].index(40)  # one run of numbers to 40, after those of the first
    assert steps[-1] == 40
    assert steps.count(1) == 1  # it did not begin anew
    assert second >= 0


def test_slices_are_nodes_of_one_request(cloud):
    done = cloud("up", "mine", "configs/pretrain/tiny.yaml", SLICES="2", SPOT="0")
    assert done.returncode == 0, done.stderr
    made = calls(cloud)
    assert made[0]["flags"]["node-count"] == "2"
    assert made[0]["flags"]["node-prefix"] == "mine"
    assert not {"node-id", "spot"} & set(made[0]["flags"])
    started = [call["words"] for call in made if " start " in call["flags"].get("command", "")]
    assert started == [["mine-0"], ["mine-1"]]
    assert [call["words"] for call in made if call["flags"].get("command", "").endswith("follow")] == [
        ["mine-0"]
    ]


def test_lost_connection_is_not_a_preemption(cloud):
    assert cloud("create", "mine").returncode == 0
    assert cloud("install", "mine").returncode == 0
    (cloud.fake / "unreachable").write_text("3")
    done = cloud("run", "mine", "configs/pretrain/tiny.yaml")  # start and two looks at the log fail
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("connection was lost") == 2
    assert "delete" not in in_short(calls(cloud))
    assert done.stdout.endswith("step 40\n")


@pytest.mark.parametrize(("status", "starts", "exit_status"), [(2, 1, 2), (1, 2, 1)])
def test_mistakes_end_it_at_once_and_crashes_after_some_tries(cloud, status, starts, exit_status):
    (cloud.fake / "exit_status").write_text(str(status))
    done = cloud("up", "mine", "configs/pretrain/tiny.yaml", CRASHES="1")
    assert done.returncode == exit_status
    assert in_short(calls(cloud)).count("ssh start") == starts
    assert "delete" not in in_short(calls(cloud))


def test_a_run_that_is_there_is_not_started_twice_and_stops_when_told(cloud):
    cloud("create", "mine")
    cloud("install", "mine")
    (cloud.fake / "slow").touch()
    worker = cloud.fake / "nodes" / "mine" / "0"
    start = ["bash", "electra_jax/launch/tpu_vm_worker.sh", "start", "mine", "configs/pretrain/tiny.yaml"]
    environment = {
        "PATH": str(cloud.fake / "bin"),
        "FAKE": str(cloud.fake),
        "HOME": str(worker),
        "ELECTRA_SHARE": str(cloud.fake / "share"),
    }
    for said in ("", "already running\n"):
        assert (
            subprocess.run(start, cwd=worker, env=environment, capture_output=True, text=True).stdout == said
        )
    deadline = time.monotonic() + 30
    while not (cloud.fake / "share" / "step").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert cloud("stop", "mine").returncode == 0
    assert (worker / "electra_jax.status").read_text() == "75\n"
    assert int((cloud.fake / "share" / "step").read_text()) < 40


def test_stopping_ends_the_watcher_too_and_nothing_starts_again(cloud):
    (cloud.fake / "slow").touch()
    with ThreadPoolExecutor() as pool:
        watcher = pool.submit(cloud, "up", "mine", "configs/pretrain/tiny.yaml")
        deadline = time.monotonic() + 30
        while not (cloud.fake / "share" / "step").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert cloud("stop", "mine").returncode == 0
        ended = watcher.result()
    assert ended.returncode == 75
    assert "stopped, as 'launch/tpu_vm.sh stop mine' asked" in ended.stderr
    assert in_short(calls(cloud)).count("ssh start") == 1
    assert int((cloud.fake / "share" / "step").read_text()) < 40
    (cloud.fake / "slow").unlink()
    assert cloud("run", "mine", "configs/pretrain/tiny.yaml").returncode == 0  # which may be said again


def test_request_that_fails_or_is_refused_is_said(cloud):
    (cloud.fake / "states").write_text("WAITING_FOR_RESOURCES FAILED")
    failed = cloud("create", "mine")
    assert (failed.returncode, failed.stderr.splitlines()[-1]) == (
        2, "error: the request for the TPU mine failed (launch/tpu_vm.sh delete mine removes it)"
    )  # fmt: skip
    assert cloud("delete", "mine").returncode == 0
    (cloud.fake / "refuse_create").write_text("1")
    refused = cloud("create", "mine")
    assert refused.returncode == 2
    assert "quota exceeded" in refused.stderr


def test_dry_run_prints_every_command_and_runs_none(cloud):
    arguments = ("up", "mine", "configs/pretrain/tiny.yaml", "data.source=text:/mnt/electra/a b/*.txt")
    done = cloud("--dry-run", *arguments)
    assert done.returncode == 0, done.stderr
    assert calls(cloud) == []
    printed = [shlex.split(line) for line in done.stdout.splitlines() if not line.startswith("#")]
    for verb in (("create", "mine"), ("delete", "mine")):
        for line in cloud("--dry-run", *verb).stdout.splitlines():
            assert shlex.split(line) in printed
    assert all(words[:3] == ["gcloud", "compute", "tpus"] for words in printed)
    # What is printed is what is done.
    cloud(*arguments)
    really = [[call["verb"], *call["words"], call["flags"]] for call in calls(cloud)]
    for call in really:
        if "scp" not in call[0]:  # the archive has another name each time
            flags = {f"--{flag}={value}" if value else f"--{flag}" for flag, value in call[-1].items()}
            assert {*call[0].split(), *call[1:-1], *flags} in [set(words[3:]) for words in printed]


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["up", "mine"], {}, "CONFIG is missing"),
        (["up", "mine", "nowhere.yaml"], {}, "CONFIG is nowhere.yaml"),
        (["create", "Mine"], {}, "NAME is 'Mine'"),
        (["create"], {}, "NAME is ''"),
        (["create", "mine"], {"ZONE": ""}, "ZONE is not set"),
        (["create", "mine"], {"ACCELERATOR": ""}, "ACCELERATOR is not set"),
        (["install", "mine"], {"SHARE": "bucket"}, "SHARE is 'bucket'"),
        (["launch", "mine"], {}, "no such command: launch"),
    ],
)
def test_mistakes_are_one_sentence(cloud, arguments, environment, said):
    done = cloud(*arguments, **environment)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1
    assert calls(cloud) == []
