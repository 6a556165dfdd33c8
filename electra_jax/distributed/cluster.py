"""Which process of how many this is: by the configuration, by jax's variables, by Slurm, or by the TPU.

``jax.distributed.initialize`` detects clusters too, and a TPU's pod is left to it. Slurm is not: jax gives every task
one device, also where it is alone on its node and should have all, and counts the tasks of the allocation, of which a
step may have fewer. Nor is Kubernetes, whose detection needs a package and a service account; an indexed Job says all
that is needed in variables.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from electra_jax.config.machines import HostsConfig
from electra_jax.errors import UserError

# What says which devices a process sees.
_SHOWN_DEVICES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@dataclass(frozen=True)
class ClusterInfo:
    """Which process of how many this is.

    Attributes:
        source: what said so, for messages.
        coordinator: ``address:port`` of host 0; None with the next two: jax asks the machine.
        num_processes: how many there are.
        process_id: which one this is.
        local_device: the only device to use where several processes share a machine's; None: all.
    """

    source: str
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    local_device: int | None = None


def detect_cluster(
    config: HostsConfig, environment: Mapping[str, str], *, on_tpu: bool
) -> ClusterInfo | None:
    """Return which process of how many this is, or None if it is alone.

    Args:
        config: its keys win over the environment.
        environment: variables of the process.
        on_tpu: whether the machine has a TPU, which knows its pod.

    Raises:
        UserError: hosts.join=on and nothing says with whom, or what says so is not complete.
    """
    if config.join == "off":
        return None
    place = _from_settings(config, environment) or _from_slurm(environment) or _from_tpu(environment, on_tpu)
    if place is None and config.join == "on":
        raise UserError(
            "hosts.join=on, but nothing says which hosts there are: neither hosts.coordinator, hosts.num_processes and "
            "hosts.process_id (or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID), nor Slurm, nor a TPU: "
            "set them, or hosts.join=off"
        )
    return place


def _from_settings(config: HostsConfig, environment: Mapping[str, str]) -> ClusterInfo | None:
    """Return what the keys say, or the variables of the same meaning; an indexed Kubernetes Job numbers its pods."""
    coordinator = config.coordinator or environment.get("JAX_COORDINATOR_ADDRESS")
    number = config.process_id
    if number is None:
        number = _integer(environment, "JAX_PROCESS_ID")
    count = config.num_processes or _integer(environment, "JAX_NUM_PROCESSES")
    if coordinator is None and count is None and number is None:
        return None
    if number is None:
        number = _integer(environment, "JOB_COMPLETION_INDEX")
    names = {
        "hosts.coordinator (or JAX_COORDINATOR_ADDRESS)": coordinator,
        "hosts.num_processes (or JAX_NUM_PROCESSES)": count,
        "hosts.process_id (or JAX_PROCESS_ID)": number,
    }
    if missing := [name for name, value in names.items() if value is None]:
        raise UserError(f"a run on several hosts also needs {', '.join(missing)}")
    assert coordinator is not None
    assert count is not None
    assert number is not None
    if not re.fullmatch(r".+:\d+", coordinator):
        raise UserError(f"hosts.coordinator {coordinator} is no ADDRESS:PORT, such as 10.0.0.1:12321")
    if not 0 <= number < count:
        raise UserError(
            f"hosts.process_id {number} is not below hosts.num_processes {count}: they count from 0"
        )
    return ClusterInfo("the configuration or the JAX_ variables", coordinator, count, number)


def _from_slurm(environment: Mapping[str, str]) -> ClusterInfo | None:
    """Return which task of a ``srun`` this is; several on a node have a device each.

    Where Slurm shows each task its own device alone (``--gpus-per-task``), or the user has said which it takes, there
    is nothing to choose: what is seen is numbered from 0 again.
    """
    count = _integer(environment, "SLURM_STEP_NUM_TASKS")
    if count is None or count < 2 or "SLURM_STEP_NODELIST" not in environment:
        return None
    job, number = _integer(environment, "SLURM_JOB_ID"), _integer(environment, "SLURM_PROCID")
    assert job is not None
    assert number is not None
    several = not re.match(r"1(\D|$)", environment.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    seen = next((environment[name] for name in _SHOWN_DEVICES if environment.get(name)), "")
    is_chosen = "JAX_LOCAL_DEVICE_IDS" in environment or (seen != "" and "," not in seen)
    return ClusterInfo(
        "Slurm",
        f"{first_node(environment['SLURM_STEP_NODELIST'])}:{61440 + job % 4096}",
        count,
        number,
        _integer(environment, "SLURM_LOCALID") if several and not is_chosen else None,
    )


def first_node(nodes: str) -> str:
    """Return the first name of a Slurm list such as ``gpu[001-003,007],cpu1``."""
    name, bracket, rest = nodes.partition("[")
    if not bracket or "," in name:
        return nodes.partition(",")[0]
    return name + re.split(r"[,\-\]]", rest)[0]


def _from_tpu(environment: Mapping[str, str], on_tpu: bool) -> ClusterInfo | None:
    """Return that jax is to ask the TPU for its pod.

    Returns:
        None where there is no TPU, it is known to be alone, or the environment forbids to ask the metadata server.
    """
    workers = environment.get("TPU_PROCESS_ADDRESSES", environment.get("TPU_WORKER_HOSTNAMES"))
    slices = _integer(environment, "MEGASCALE_NUM_SLICES") or 1
    if not on_tpu:
        return None
    if slices == 1 and workers is not None and "," not in workers:
        return None
    if workers is None and "TPU_SKIP_MDS_QUERY" in environment:
        return None
    return ClusterInfo("the TPU")


def _integer(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name)
    if value is None or value == "":
        return None
    if not value.isdigit():
        raise UserError(f"the environment variable {name} is {value!r}, not a number")
    return int(value)


def has_tpu() -> bool:
    """Return whether the machine has a TPU and the library that drives it; touches neither."""
    devices = [*Path("/dev").glob("accel*"), *Path("/dev").glob("vfio/[0-9]*")]
    return bool(devices) and find_spec("libtpu") is not None
