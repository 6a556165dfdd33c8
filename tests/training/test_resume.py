"""Whole runs as processes of their own: killed, asked to stop, and run again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from fake_devices import xla_flags
from small_run import small_run_config

from electra_jax.config import dump_config
from electra_jax.data.prepare import prepare
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.checkpoints import restore_state, saved_steps
from electra_jax.training.program import build_program

ROOT = Path(__file__).resolve().parents[2]
SPEEDS = {"sequences_per_second", "tokens_per_second", "model_flops_utilization"}

# The command line, ending itself without warning some time after a step.
KILLED = """
import os, signal, sys, threading
import electra_jax.training.loop as loop
from electra_jax import cli, train

step, delay = int(sys.argv.pop(1)), float(sys.argv.pop(1))
read_report = loop.read_report

def reading(number, *args):
    if number == step:
        threading.Timer(delay, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    return read_report(number, *args)

loop.read_report = reading
cli.run(train.main)
"""


class Project:
    """A prepared small run, and processes that train it."""

    def __init__(self, folder):
        self.folder = folder
        self.config = small_run_config(
            folder,
            model={"num_layers": 1},
            train={"log_every": 1, "keep_checkpoints": 3, "show_examples": 0},
        )
        self.file = folder / "run.yaml"
        self.file.write_text(dump_config(self.config))
        self.prepared = prepare(self.config.data, self.config.tokenizer, progress=False)

    def start(self, name, *arguments, devices=8, kill=None):
        """Starts training in work directory ``name``; ``kill`` is (step, seconds) after which it dies."""
        program = ["-m", "electra_jax.train"] if kill is None else ["-c", KILLED, *map(str, kill)]
        return subprocess.Popen(
            [
                *(sys.executable, *program, "--config", str(self.file)),
                *("--workdir", str(self.folder / name), *arguments),
            ],
            cwd=ROOT,
            env={**os.environ, "XLA_FLAGS": xla_flags(devices)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lines(self, name):
        """metrics.jsonl without the speeds."""
        text = (self.folder / name / "metrics.jsonl").read_text()
        return [{k: v for k, v in json.loads(line).items() if k not in SPEEDS} for line in text.splitlines()]

    def state(self, name, step):
        program = build_program(self.config, self.prepared.tokenizer, make_mesh(self.config.mesh))
        return jax.device_get(restore_state(self.folder / name / "checkpoints", step, program.abstract))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("project"))


def _ends(process, status=0):
    out, err = process.communicate(timeout=400)
    assert process.returncode == status, err[-3000:]
    return out + err


def _assert_same_state(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def _random_kill(steps):
    """A step, and seconds after it: most are within a few steps, some within a save or an evaluation."""
    return random.randrange(*steps), round(random.uniform(0, 0.3), 3)


def _assert_goes_on_identically(project, straight, killed):
    assert project.lines(killed) == project.lines(straight)
    last = project.config.train.steps
    _assert_same_state(project.state(killed, last), project.state(straight, last))
    folder = project.folder / killed / "checkpoints"
    assert all(path.name.isdigit() for path in folder.iterdir())  # nothing half-written is left


def test_run_killed_at_random_goes_on_bit_for_bit(project):
    kill = _random_kill((6, 36))
    print("killed at", kill)  # shown when this fails
    # Two devices: eight take half as long again. The slow tests have eight.
    straight, killed = project.start("straight", devices=2), project.start("killed", devices=2, kill=kill)
    _ends(straight)
    _ends(killed, -signal.SIGKILL)
    _ends(project.start("killed", devices=2))
    lines = project.lines("straight")
    assert [line["step"] for line in lines if line["split"] == "train"] == list(range(1, 41))
    assert [line["step"] for line in lines if line["split"] == "eval"] == [20, 40]
    _assert_goes_on_identically(project, "straight", "killed")


@pytest.mark.slow
def test_run_killed_again_and_again_goes_on_bit_for_bit(project):
    straight = project.start("undisturbed")
    kills = [_random_kill(steps) for steps in ((1, 5), (6, 15), (15, 25), (25, 36))]
    print("killed at", kills)
    for kill in kills:
        if max(saved_steps(project.folder / "disturbed" / "checkpoints"), default=0) < kill[0]:
            _ends(project.start("disturbed", kill=kill), -signal.SIGKILL)
    _ends(project.start("disturbed"))
    _ends(straight)
    _assert_goes_on_identically(project, "undisturbed", "disturbed")


def _wait_for_steps(project, name, process):
    """Waits until a run has written a line of metrics."""
    metrics = project.folder / name / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text()):
        time.sleep(0.01)


def _stop(project, name, which):
    """Trains a long run until it gets the signal, and returns (what it said, the step it saved)."""
    process = project.start(name, "train.steps=100000", "optimizer.schedule=constant")
    _wait_for_steps(project, name, process)
    process.send_signal(which)
    said = _ends(process)
    step = saved_steps(project.folder / name / "checkpoints")[-1]
    assert f"stopped by {which.name} after step {step}, which is saved; to go on:" in said
    assert f"--workdir {project.folder / name}" in said
    assert max(line["step"] for line in project.lines(name)) == step
    return said, step


@pytest.mark.slow
def test_sigterm_saves(project):
    _stop(project, "stopped", signal.SIGTERM)


@pytest.mark.slow
def test_sigint_saves_and_the_line_it_shows_goes_on(project):
    said, step = _stop(project, "interrupted", signal.SIGINT)
    command = said[said.index("python -m electra_jax.train") :].splitlines()[0].split()
    done = subprocess.run(
        [sys.executable, *command[1:], f"train.steps={step + 3}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"resumed at step {step} from" in done.stderr
    assert saved_steps(project.folder / "interrupted" / "checkpoints")[-1] == step + 3


@pytest.mark.slow
def test_run_goes_on_with_another_number_of_devices(project):
    straight, killed = project.start("eight"), project.start("fewer", kill=(17, 0.0))
    _ends(straight)
    _ends(killed, -signal.SIGKILL)
    said = _ends(project.start("fewer", "mesh.fsdp=2", devices=2))
    assert "resumed at step" in said
    lines = {(line["step"], line["split"]): line for line in project.lines("fewer")}
    for line in project.lines("eight"):
        ours = lines.pop((line["step"], line["split"]))
        # The share of padding is a count of the batch's rows: the same rows came.
        assert ours["padding_fraction"] == line["padding_fraction"]
        assert ours["loss"] == pytest.approx(line["loss"], rel=1e-3)
    assert not lines
