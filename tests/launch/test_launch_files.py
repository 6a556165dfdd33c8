"""The launchers' files: scripts by shellcheck, the Dockerfile by hadolint, manifests by schema, and that all fits."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from electra_jax.config import load_config
from electra_jax.errors import UserError

PROJECT = Path(__file__).resolve().parents[2]
LAUNCH = PROJECT / "launch"
SCRIPTS = [*LAUNCH.glob("*.sh"), LAUNCH / "slurm.sbatch"]
MANIFESTS = [LAUNCH / "gke" / "tpu.yaml", LAUNCH / "gke" / "gpu.yaml"]


def tool(name):
    """A program that comes with the packages for development."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.skip(f"{name} is not installed: pip install -e '.[dev]'")
    return path


def checked(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean(script):
    checked(tool("shellcheck"), script)


@pytest.mark.parametrize(
    ("saves", "queued"),
    [("checkpoints/20", True), ("seed-1/checkpoints/5", True), ("seed-0/result.json", True), ("log", False)],
)
def test_slurm_queues_what_came_further_again(tmp_path, saves, queued):
    """Pre-training and fine-tuning, whose seeds save below; not what stops where it stopped before."""
    for program, does in {
        "srun": f"mkdir -p run/$(dirname {saves}); touch run/{saves}; exit 75",
        "scontrol": 'echo "$@" >queued',
    }.items():
        (tmp_path / program).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / program).chmod(0o755)
    for there in ("checkpoints/10", "seed-0/checkpoints/9"):
        (tmp_path / "run" / there).mkdir(parents=True)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    ended = subprocess.run(
        ["bash", str(LAUNCH / "slurm.sbatch"), "config.yaml", "run"], cwd=tmp_path, env=environment
    )
    assert ended.returncode == 75
    assert (tmp_path / "queued").exists() is queued


def test_dockerfile_is_clean_and_copies_what_is_let_through():
    dockerfile = LAUNCH / "docker" / "Dockerfile"
    checked(tool("hadolint"), dockerfile)
    let_through = [
        line[1:]
        for line in (LAUNCH / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [
        path
        for line in dockerfile.read_text().splitlines()
        if line.startswith("COPY ")
        for path in line.split()[1:-1]
    ]
    assert sorted(copied) == sorted(let_through)
    assert all((PROJECT / path).exists() for path in copied)


@pytest.mark.parametrize(
    "path",
    [*SCRIPTS, *MANIFESTS, LAUNCH / "gke" / "share.yaml", LAUNCH / "docker" / "Dockerfile"],
    ids=lambda path: path.name,
)
def test_head_says_in_three_lines_how_it_is_used(path):
    lines = [line for line in path.read_text().splitlines()[:5] if not line.startswith("#!")]
    assert all(line.startswith("# ") for line in lines[:2])
    assert any("Use: " in line for line in lines[:3])


def manifest(path):
    return yaml.safe_load(path.read_text())


def losses(given, read, path=""):
    """Where ``given`` has what ``read`` has not."""
    if isinstance(given, dict):
        if not isinstance(read, dict):
            return [path]
        return [loss for key in given for loss in losses(given[key], read.get(key), f"{path}.{key}")]
    if isinstance(given, list):
        if not isinstance(read, list) or len(given) != len(read):
            return [path]
        return [loss for i, (a, b) in enumerate(zip(given, read)) for loss in losses(a, b, f"{path}.{i}")]
    return [] if given == read else [path]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_jobsets_are_as_their_schema_says(path):
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="models of the JobSet API")
    given = manifest(path)
    read = models.JobsetV1alpha2JobSet.from_dict(given)  # refuses wrong types and what is missing
    assert losses(given, read.to_dict()) == []  # a key that the schema does not know is dropped


def test_a_misspelt_key_would_be_found():
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="models of the JobSet API")
    given = manifest(MANIFESTS[0])
    job = given["spec"]["replicatedJobs"][0]["template"]["spec"]
    job["backofLimit"] = job.pop("backoffLimit")
    job["template"]["spec"]["containers"][0]["volumeMounts"][0]["mountpath"] = "/share"
    read = models.JobsetV1alpha2JobSet.from_dict(given).to_dict()
    assert [loss.split(".")[-1] for loss in losses(given, read)] == ["mountpath", "backofLimit"]
    job["parallelism"] = "four"
    with pytest.raises(ValueError, match="parallelism"):
        models.JobsetV1alpha2JobSet.from_dict(given)


def test_claim_is_as_its_schema_says():
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="models of the Kubernetes API")
    given = manifest(LAUNCH / "gke" / "share.yaml")
    read = models.IoK8sApiCoreV1PersistentVolumeClaim.from_dict(given).to_dict()
    assert losses(given, read) == []


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_parts_of_a_jobset_fit_together(path):
    given = manifest(path)
    job = given["spec"]["replicatedJobs"][0]
    spec = job["template"]["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    assert spec["parallelism"] == spec["completions"]
    assert spec["completionMode"] == "Indexed"
    assert pod["restartPolicy"] == "Never"  # what podFailurePolicy needs
    assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"] == container["name"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    claim = manifest(LAUNCH / "gke" / "share.yaml")["metadata"]["name"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim
    environment = {variable["name"]: variable["value"] for variable in container.get("env", [])}
    ports = [port["containerPort"] for port in container["ports"]]
    if "tpu" in path.name:
        chips = 1
        for side in pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"):
            chips *= int(side)
        assert chips == spec["completions"] * container["resources"]["limits"]["google.com/tpu"]
        assert ports == [8482]  # jax's on TPUs
    else:
        name = given["metadata"]["name"]
        assert environment["JAX_NUM_PROCESSES"] == str(spec["completions"])
        first_pod = f"{name}-{job['name']}-0-0.{name}"  # as JobSet names pods, in its headless service
        assert environment["JAX_COORDINATOR_ADDRESS"] == f"{first_pod}:{ports[0]}"


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_arguments_of_a_jobset_are_those_of_training(path, monkeypatch):
    monkeypatch.chdir(PROJECT)
    (container,) = manifest(path)["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"][
        "containers"
    ]
    options = dict(word[2:].split("=", 1) for word in container["args"] if word.startswith("--"))
    overrides = [word for word in container["args"] if not word.startswith("--")]
    assert set(options) == {"config", "workdir"}
    assert load_config(Path(options["config"]), overrides).hosts.join == "on"
    with pytest.raises(UserError):
        load_config(Path(options["config"]), [*overrides, "hosts.jion=on"])


NOTEBOOK = LAUNCH / "colab" / "electra_jax.ipynb"


def test_pods_find_the_driver_of_their_gpus_or_end():
    job = manifest(LAUNCH / "gke" / "gpu.yaml")["spec"]["replicatedJobs"][0]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"]}
    assert given["LD_LIBRARY_PATH"] == "/usr/local/nvidia/lib64"
    assert given["JAX_PLATFORMS"] == "cuda,cpu"


def test_notebook_is_one():
    nbformat = pytest.importorskip("nbformat", reason="checks notebooks")
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))


def test_commands_of_the_notebook_are_those_of_the_project(monkeypatch):
    monkeypatch.chdir(PROJECT)
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    lines = "".join("".join(cell["source"]) + "\n" for cell in cells).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line[1:]) for line in lines if re.match(r"!python -m electra_jax\.", line)]
    assert {command[2] for command in commands} == {
        f"electra_jax.{name}" for name in ("train", "predict", "plot")
    }
    for command in commands:
        if command[2] == "electra_jax.train":
            words = command[3:]
            config = words[words.index("--config") + 1]
            load_config(Path(config), [word for word in words if "=" in word])
