"""Which process of how many this is, found in keys and variables."""

import jax
import pytest

from electra_jax.config.machines import HostsConfig
from electra_jax.distributed import joining
from electra_jax.distributed.cluster import ClusterInfo, detect_cluster, first_node
from electra_jax.distributed.joining import joined
from electra_jax.errors import UserError

JAX = {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:99", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "2"}
SLURM = {
    "SLURM_JOB_ID": "4097",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}


def _found(environment, on_tpu=False, **config):
    return detect_cluster(HostsConfig(**config), environment, on_tpu=on_tpu)


def _where(place):
    return place.coordinator, place.num_processes, place.process_id, place.local_device


@pytest.mark.parametrize(
    ("environment", "config", "expected"),
    [
        (JAX, {}, ("10.0.0.1:99", 4, 2, None)),
        (JAX, {"process_id": 0, "coordinator": "a:1"}, ("a:1", 4, 0, None)),
        ({}, {"coordinator": "a:1", "num_processes": 2, "process_id": 1}, ("a:1", 2, 1, None)),
        (
            {**JAX, "JAX_PROCESS_ID": "", "JOB_COMPLETION_INDEX": "3"},
            {},
            ("10.0.0.1:99", 4, 3, None),
        ),
        (SLURM, {}, ("gpu07:61441", 4, 3, 1)),
        ({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "1(x4)"}, {}, ("gpu07:61441", 4, 3, None)),
        ({**SLURM, "CUDA_VISIBLE_DEVICES": "0,1"}, {}, ("gpu07:61441", 4, 3, 1)),
        ({**SLURM, "CUDA_VISIBLE_DEVICES": "0"}, {}, ("gpu07:61441", 4, 3, None)),  # --gpus-per-task=1
        ({**SLURM, "JAX_LOCAL_DEVICE_IDS": "0,1"}, {}, ("gpu07:61441", 4, 3, None)),
        ({**SLURM, **JAX}, {}, ("10.0.0.1:99", 4, 2, None)),
    ],
    ids=[
        "variables",
        "keys win",
        "keys",
        "indexed job",
        "slurm",
        "a task a node",
        "slurm, all devices shown",
        "slurm, one device shown",
        "slurm, devices chosen",
        "variables before slurm",
    ],
)
def test_where_a_process_belongs(environment, config, expected):
    for join in ("auto", "on"):
        assert _where(_found(environment, join=join, **config)) == expected
    assert _found(environment, join="off", **config) is None


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {**SLURM, "SLURM_STEP_NUM_TASKS": "1"},
        {name: value for name, value in SLURM.items() if "STEP" not in name},
        {"JOB_COMPLETION_INDEX": "1"},
    ],
    ids=["nothing", "one task", "no srun", "a job that says nothing else"],
)
def test_alone_unless_something_says_otherwise(environment):
    assert _found(environment) is None
    with pytest.raises(UserError, match=r"hosts\.join=on, but nothing says which hosts there are"):
        _found(environment, join="on")


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, True),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_NUM_SLICES": "2"}, True),
        ({"TPU_SKIP_MDS_QUERY": "1"}, False),
    ],
)
def test_tpu_is_asked_for_its_pod_unless_it_knows_that_it_is_alone(environment, asked):
    place = _found(environment, on_tpu=True)
    assert (place is not None and _where(place) == (None, None, None, None)) == asked


@pytest.mark.parametrize(
    ("environment", "config", "message"),
    [
        ({}, {"coordinator": "a:1"}, "also needs hosts.num_processes .*, hosts.process_id"),
        ({"JAX_NUM_PROCESSES": "2"}, {}, "also needs hosts.coordinator"),
        (JAX, {"process_id": 4}, "hosts.process_id 4 is not below hosts.num_processes 4"),
        (JAX, {"coordinator": "10.0.0.1"}, "10.0.0.1 is no ADDRESS:PORT"),
        ({**JAX, "JAX_NUM_PROCESSES": "two"}, {}, "JAX_NUM_PROCESSES is 'two', not a number"),
    ],
)
def test_what_is_not_complete_is_refused(environment, config, message):
    with pytest.raises(UserError, match=message):
        _found(environment, **config)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("a", "a"),
        ("a,b", "a"),
        ("gpu[001-003,007],cpu1", "gpu001"),
        ("gpu[7,9]", "gpu7"),
        ("gpu[5]", "gpu5"),
        ("x1,gpu[1-2]", "x1"),
    ],
)
def test_first_node_of_a_list(nodes, first):
    assert first_node(nodes) == first


def test_a_tpu_that_was_used_and_has_one_host_is_joined_with_nobody(monkeypatch):
    """As where `electra_jax.load` or another run came before in the same process."""
    found = ClusterInfo("the TPU", None, None, None)
    monkeypatch.setattr(joining, "detect_cluster", lambda *_, **__: found)
    monkeypatch.setattr(joining, "_join", lambda *_: pytest.fail("joins"))
    assert jax.process_count() == 1
    with joined(HostsConfig()):
        pass


def test_a_process_joins_once(monkeypatch):
    monkeypatch.setattr(joining, "_join", lambda *_: pytest.fail("joins"))
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    config = HostsConfig(coordinator="a:1", num_processes=2, process_id=1)
    with pytest.raises(UserError, match="joined other hosts already"), joined(config):
        pass
