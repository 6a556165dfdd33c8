"""The command: a plan for the devices here, mistakes in one sentence, and, where libtpu is, for TPUs that are not."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import small_config

from electra_jax import plan
from electra_jax.config import dump_config
from electra_jax.errors import UserError
from electra_jax.planning import compiling, machine, report
from electra_jax.planning.machine import parse_topology, topology_machine

PRESETS = Path(__file__).resolve().parents[2] / "configs" / "pretrain"
HAS_LIBTPU = importlib.util.find_spec("libtpu") is not None


@pytest.fixture
def run_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        dump_config(small_config(tokenizer={"vocab_size": 300}, model={"num_layers": 1}, mesh={"fsdp": 2}))
    )
    return path


def test_plan_and_sweep_of_the_devices_here(run_file, capsys, monkeypatch):
    assert plan.main(["--config", str(run_file), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["mesh"] == {"data": 4, "fsdp": 2, "tensor": 1}
    assert {one["kind"] for one in values["collectives"]} >= {"all-reduce", "all-gather"}

    # What was compiled once stands for every choice.
    monkeypatch.setattr(report, "make_plan", lambda config, machine: PlanOf(values))
    assert plan.main(["--config", str(run_file), "--sweep", "--limit", "2", "--json"]) == 0
    swept = json.loads(capsys.readouterr().out)
    assert len(swept["plans"]) == 2
    assert swept["skipped"]


class PlanOf:
    """A plan as its JSON says it."""

    fits, times, memory = True, None, {}

    def __init__(self, values):
        self.values = values

    def as_json(self):
        return self.values


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("v9:2x2", "no figures are known of the chip v9; known: v4, v5e, v5p, v6e"),
        ("v5e", "not of the form CHIP:AxB, such as v5e:4x4"),
        ("v5e:0x4", "not of the form"),
        ("v5e:4x4x4", "v5e is wired in 2 dimensions, as in v5e:4x4"),
        ("v4:8x8", "v4 is wired in 3 dimensions, as in v4:4x4x4"),
    ],
)
def test_topology_that_is_none(name, words):
    with pytest.raises(UserError) as refused:
        parse_topology(name)
    assert words in str(refused.value)
    assert f"--topology {name}" in str(refused.value)


def test_topologies_are_read():
    assert parse_topology("v5e:16x16") == ("v5e", (16, 16))
    assert parse_topology("v5p:2x2x4") == ("v5p", (2, 2, 4))


def test_no_slice_at_all():
    with pytest.raises(UserError, match="--slices 0 must be at least 1"):
        topology_machine("v5e:2x2", 0)


def test_libtpu_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)
    with pytest.raises(UserError, match=r"needs libtpu.*pip install 'electra_jax\[plan\]'"):
        topology_machine("v5e:2x2")


def test_mistake_ends_with_status_2_and_one_sentence(run_file):
    ended = subprocess.run(
        [sys.executable, "-m", "electra_jax.plan", "--config", run_file, "--topology", "v9:2x2"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: --topology v9:2x2: no figures are known")
    assert len(ended.stderr.splitlines()) == 1


def test_what_does_not_fit_is_a_users_error(run_file, capsys, monkeypatch):
    failed = compiling.CompiledStep(
        1.0, 2.0, 3.0, 4.0, 5.0, 6.0, temporaries=65e9, out_of_memory="Ran out of memory on HBM"
    )
    monkeypatch.setattr(report, "compile_step", lambda *_: failed)
    with pytest.raises(UserError, match=r"does not fit on 8 x cpu: use more train\.accumulation_steps"):
        plan.main(["--config", str(run_file)])
    assert "DOES NOT FIT: Ran out of memory on HBM" in capsys.readouterr().out
    with pytest.raises(UserError, match="nothing that was tried fits"):
        plan.main(["--config", str(run_file), "--sweep", "--limit", "2"])


def test_what_no_gpu_holds_is_a_users_error_too(run_file, capsys, monkeypatch):
    """A step that was compiled, of which only the sum of the bytes says that it is too large."""
    made = compiling.CompiledStep(1e9, 1e9, 1e9, 0.0, 5.0, 6.0, temporaries=500e9)
    monkeypatch.setattr(report, "compile_step", lambda *_: made)
    monkeypatch.setattr(report, "_capacity", lambda _: 80e9)
    with pytest.raises(UserError, match="does not fit on 8 x cpu"):
        plan.main(["--config", str(run_file)])
    assert "DOES NOT FIT: the step needs 503.00 GB on each device" in capsys.readouterr().out
    with pytest.raises(UserError, match="nothing that was tried fits"):
        plan.main(["--config", str(run_file), "--sweep", "--limit", "2"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["mesh.data=3"], "does not make 8, the number of devices"),
        (["train.batch_size=12"], "not divisible by the 8 devices"),
        (["--sweep", "--limit", "0"], "--limit 0 must be at least 1"),
        (["--slices", "2"], "--slices 2 needs --topology, the shape of each slice"),
    ],
)
def test_settings_that_cannot_be_planned(settings, words, run_file):
    with pytest.raises(UserError) as refused:
        plan.main(["--config", str(run_file), *settings])
    assert words in str(refused.value)


def test_fine_tuning_has_no_one_step_to_plan():
    with pytest.raises(UserError, match=r"electra_jax\.plan is for pre-training"):
        compiling.check_plannable("finetune")


def test_machine_here_is_known_by_its_devices():
    here = machine.local_machine()
    assert (here.name, here.chip, len(here.devices)) == ("8 x cpu", None, 8)


needs_libtpu = pytest.mark.skipif(not HAS_LIBTPU, reason="libtpu is not installed: pip install -e '.[plan]'")


def _plan(run_file, *arguments):
    ended = subprocess.run(
        [sys.executable, "-m", "electra_jax.plan", "--config", run_file, *arguments],
        env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    return ended


@needs_libtpu
@pytest.mark.slow
@pytest.mark.parametrize(
    ("topology", "devices"), [("v5e:2x2", 4), ("v4:2x2x1", 4), ("v5p:2x2x1", 4), ("v6e:2x2", 4)]
)
def test_plan_for_tpus_that_are_not_there(topology, devices, run_file):
    ended = _plan(run_file, "--topology", topology, "--json", "compute.dtype=bfloat16")
    assert ended.returncode == 0, ended.stderr
    values = json.loads(ended.stdout)
    assert (values["devices"], values["chip"]) == (devices, topology.split(":")[0])
    assert values["work"]["sent_bytes"] > 0
    assert 0 < values["times"]["best"]["model_flops_utilization"] < 1
    assert values["times"]["best"]["hours"] <= values["times"]["worst"]["hours"]


@needs_libtpu
@pytest.mark.slow
def test_slices_send_each_other_the_gradients_and_no_more(run_file):
    wide = "model.hidden_size=256", "model.intermediate_size=1024", "model.embedding_size=128"
    settings = "--json", "compute.dtype=bfloat16", "mesh.fsdp=1", *wide
    one, two = (
        json.loads(_plan(run_file, "--topology", "v5e:2x2", *slices, *settings).stdout)
        for slices in ((), ("--slices", "2", "train.batch_size=32"))
    )
    assert (one["devices"], one["work"]["slices_bytes"], one["times"]["slices"]) == (4, 0, 0)
    assert (two["machine"], two["devices"], two["mesh"]["data"]) == ("2 x v5e:2x2", 8, 8)
    summed = sum(c["times"] * c["full_bytes"] for c in one["collectives"] if c["kind"] == "all-reduce")
    # Each device passes on a quarter of what its slice has summed; small pieces are padded.
    assert summed / 4 <= two["work"]["slices_bytes"] < 1.15 * summed / 4
    assert {c["kind"] for c in two["collectives"] if c["between_slices"]} == {"all-reduce"}
    assert two["times"]["slices"] == pytest.approx(two["work"]["slices_bytes"] / 3.125e9)


@needs_libtpu
@pytest.mark.slow
@pytest.mark.parametrize(("preset", "topology"), [("base", "v6e:2x2"), ("small", "v5e:2x2")])
def test_blocks_with_dropout_do_not_overflow_libtpus_stack(preset, topology):
    ended = _plan(
        PRESETS / f"{preset}.yaml", "--topology", topology, "--json", "compute.attention=blocked", "model.num_layers=1",
        "compute.dtype=bfloat16", "train.batch_size=32",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["fits"]


@needs_libtpu
@pytest.mark.slow
def test_run_too_large_for_a_tpu_is_said_so(run_file):
    ended = _plan(run_file, "--topology", "v5e:2x2", "train.batch_size=4194304")
    assert ended.returncode == 2, ended.stderr
    assert "DOES NOT FIT: Ran out of memory" in ended.stdout
    assert ended.stderr.splitlines()[-1].startswith("error: it does not fit on v5e:2x2")


@needs_libtpu
def test_slice_that_libtpu_does_not_know(run_file):
    ended = _plan(run_file, "--topology", "v5e:3x3")
    assert ended.returncode == 2
    assert "libtpu knows no such slice" in ended.stderr
