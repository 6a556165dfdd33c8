"""Several hosts as one run: joining `jax.distributed`, and what the hosts tell each other outside the devices.

A host is a process of the run. Text goes through the key-value store of jax's coordination service, which every
host has once it has joined, so nothing here waits for a device.
"""

import atexit
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
from jax.sharding import Mesh

from electra_jax.config.compare import differences, format_differences
from electra_jax.config.schema import Config, HostsConfig
from electra_jax.errors import HostLost, UserError
from electra_jax.partitioning.axes import BATCH_AXES
from electra_jax.stopping import active

T = TypeVar("T")

_LOST = (
    "another host of this run was lost, or this one was cut off from them: see the logs of the others; everything up "
    "to the last checkpoint is kept, and the same command on every host goes on from it"
)
# What is said where one host only waits for another, which is alive: its heartbeats are watched besides.
_PATIENCE = 3600


@dataclass(frozen=True)
class Place:
    """Which process of how many this is.

    Attributes:
        found: what said so, for messages.
        coordinator: ``address:port`` of host 0; None with the next two: jax asks the machine.
        num_processes: how many there are.
        process_id: which one this is.
        local_device: the only device to use where several processes share a machine's; None: all.
    """

    found: str
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    local_device: int | None = None


def find_place(config: HostsConfig, environment: Mapping[str, str], *, on_tpu: bool) -> Place | None:
    """Where this process belongs, or None if it is alone.

    Args:
        config: its keys win over the environment.
        environment: variables of the process.
        on_tpu: whether the machine has a TPU, which knows its pod.

    Raises:
        UserError: hosts.join=on and nothing says with whom, or what says so is not complete.
    """
    if config.join == "off":
        return None
    place = _named(config, environment) or _slurm(environment) or _tpu(environment, on_tpu)
    if place is None and config.join == "on":
        raise UserError(
            "hosts.join=on, but nothing says which hosts there are: neither hosts.coordinator, hosts.num_processes and "
            "hosts.process_id (or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID), nor Slurm, nor a TPU: "
            "set them, or hosts.join=off"
        )
    return place


def _named(config: HostsConfig, environment: Mapping[str, str]) -> Place | None:
    """What the keys say, or the variables of the same meaning; an indexed Kubernetes Job numbers its pods."""
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
    return Place("the configuration or the JAX_ variables", coordinator, count, number)


def _slurm(environment: Mapping[str, str]) -> Place | None:
    """The tasks of one `srun`; several on a node have a device each."""
    count = _integer(environment, "SLURM_STEP_NUM_TASKS")
    if count is None or count < 2 or "SLURM_STEP_NODELIST" not in environment:
        return None
    job, number = _integer(environment, "SLURM_JOB_ID"), _integer(environment, "SLURM_PROCID")
    assert job is not None
    assert number is not None
    several = not re.match(r"1(\D|$)", environment.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    return Place(
        "Slurm",
        f"{first_node(environment['SLURM_STEP_NODELIST'])}:{61440 + job % 4096}",
        count,
        number,
        _integer(environment, "SLURM_LOCALID") if several else None,
    )


def first_node(nodes: str) -> str:
    """The first name of a Slurm list such as ``gpu[001-003,007],cpu1``."""
    name, bracket, rest = nodes.partition("[")
    if not bracket or "," in name:
        return nodes.partition(",")[0]
    return name + re.split(r"[,\-\]]", rest)[0]


def _tpu(environment: Mapping[str, str], on_tpu: bool) -> Place | None:
    """A TPU's pod, which jax knows how to ask for; a machine that is told to ask nobody, or knows it is alone."""
    workers = environment.get("TPU_PROCESS_ADDRESSES", environment.get("TPU_WORKER_HOSTNAMES"))
    slices = _integer(environment, "MEGASCALE_NUM_SLICES") or 1
    if not on_tpu:
        return None
    if slices == 1 and workers is not None and "," not in workers:
        return None
    if workers is None and "TPU_SKIP_MDS_QUERY" in environment:
        return None
    return Place("the TPU")


def _integer(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name)
    if value is None or value == "":
        return None
    if not value.isdigit():
        raise UserError(f"the environment variable {name} is {value!r}, not a number")
    return int(value)


def has_tpu() -> bool:
    """Whether the machine has a TPU and the library that drives it; touches neither."""
    devices = [*Path("/dev").glob("accel*"), *Path("/dev").glob("vfio/[0-9]*")]
    return bool(devices) and find_spec("libtpu") is not None


@contextmanager
def joined(config: HostsConfig) -> Iterator[None]:
    """Makes this process one of the run's hosts while entered; must come before any device is touched.

    Raises:
        UserError: the hosts did not all meet in time.
        HostLost: one of them was lost.
    """
    place = find_place(config, os.environ, on_tpu=has_tpu())
    if place is None or place.num_processes == 1:
        yield
        return
    ended = _say_when_aborted()
    _join(config, place, ended)
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not tells_of_a_lost_host(error):
            raise
        _leave_at_once(ended, HostLost.status)
        raise HostLost(_LOST) from error
    # One that is still writing is waited for; then all leave together.
    _client().wait_at_barrier("electra_jax/end", _PATIENCE * 1000)


def tells_of_a_lost_host(error: BaseException) -> bool:
    """Whether ``error``, or what it came of, is that of a connection that broke.

    Orbax, which waits for all hosts to have written, says that it has waited for too long; and jax raises
    some of these errors as ValueError.
    """
    came_of: BaseException | None = error
    while came_of is not None:
        if isinstance(came_of, (jax.errors.JaxRuntimeError, ValueError)) and re.search(
            "Gloo|(closed|reset) by peer|UNAVAILABLE|coordination service", str(came_of)
        ):
            return True
        came_of = came_of.__cause__ or came_of.__context__
    return False


def _join(config: HostsConfig, place: Place, ended: Callable[[], None]) -> None:
    """`jax.distributed.initialize` with a bounded wait.

    When it gives up by itself jax ends the process, so it is left to wait longer than we do, in a thread.
    """
    # Our own handlers of signals agree on when to stop; jax's would take SIGTERM away from them.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    failure: list[BaseException] = []

    def initialize() -> None:
        try:
            jax.distributed.initialize(
                coordinator_address=place.coordinator,
                num_processes=place.num_processes,
                process_id=place.process_id,
                local_device_ids=None if place.local_device is None else [place.local_device],
                cluster_detection_method=None if place.coordinator is None else "deactivate",
                initialization_timeout=config.join_timeout + 3600,
                heartbeat_timeout_seconds=config.heartbeat_timeout,
                shutdown_timeout_seconds=config.heartbeat_timeout,
            )
        except BaseException as error:  # handed to the thread that waits
            failure.append(error)

    thread = threading.Thread(target=initialize, daemon=True)
    thread.start()
    thread.join(config.join_timeout)
    if thread.is_alive() or failure:
        _leave_at_once(ended, UserError.status)
    if thread.is_alive():
        _fail_to_join(
            config, place, f"not all were there within hosts.join_timeout={config.join_timeout} seconds"
        )
    if failure:
        _fail_to_join(config, place, str(failure[0]).strip().splitlines()[0][:300])


def _fail_to_join(config: HostsConfig, place: Place, why: str) -> NoReturn:
    where = (
        f"host {place.process_id} of {place.num_processes}, with host 0 at {place.coordinator}"
        if place.coordinator
        else "one of the hosts of a TPU"
    )
    raise UserError(
        f"joining the other hosts failed: {why}; this is {where}, as {place.found} said. Start the same command on "
        "all of them and see that they reach that address; hosts.join=off trains on this machine alone"
    )


def _leave_at_once(ended: Callable[[], None], status: int) -> None:
    """At exit, does not wait for hosts that are not there (what is registered last comes first)."""
    atexit.register(os._exit, status)
    atexit.register(ended)


def _say_when_aborted() -> Callable[[], None]:
    """Has a sentence written when this process dies without having ended in order.

    jax aborts the process, from a thread of its own, when another host no longer answers. The shell that waits for
    the other end of a pipe outlives that.

    Returns:
        What to call when the process ends in order.
    """
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" TERM INT; read -r _ || printf "error: %s\\n" "$0" >&2', _LOST],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )

    def ended() -> None:
        assert watcher.stdin is not None
        if not watcher.stdin.closed:
            with suppress(BrokenPipeError):  # the shell itself was killed
                watcher.stdin.write(b"ended\n")
                watcher.stdin.close()

    atexit.register(ended)
    if (watch := active()) is not None:
        watch.at_the_end(ended)
    return ended


def alike(config: Config) -> Config:
    """The configuration without what differs from host to host, and from one start to the next."""
    hosts = config.hosts.model_copy(update={"coordinator": None, "num_processes": None, "process_id": None})
    return config.model_copy(update={"hosts": hosts})


def check_alike(config: Config) -> None:
    """Refuses hosts that were started with different settings.

    Raises:
        UserError: see above.
    """
    first, *others = (Config.model_validate(values) for values in from_all("settings", config.model_dump()))
    for host, other in enumerate(others, start=1):
        if changes := differences(first, other):
            raise UserError(
                f"host {host} was started with other settings than host 0: {format_differences(changes)}; "
                "start all hosts with the same command"
            )


def is_first() -> bool:
    """Whether this host is the one that writes and speaks."""
    return _alone() or jax.process_index() == 0


def _alone() -> bool:
    """Whether this process is the whole run; looks for no device unless hosts were joined."""
    return not jax.distributed.is_initialized() or jax.process_count() == 1


def say(line: str) -> None:
    """A line on standard error, once for all hosts."""
    if is_first():
        print(line, file=sys.stderr)


def _client() -> Any:
    from jax._src import distributed  # the coordination service has no public name

    return distributed.global_state.client


def from_first(what: str, make: Callable[[], T], *, timeout: float = _PATIENCE) -> T:
    """What ``make`` returns on host 0, on every host; what it raises there is raised everywhere.

    Args:
        what: a name for it that is used once in a run.
        make: called on host 0 alone; returns something JSON can hold.
        timeout: seconds the others wait.

    Raises:
        UserError: ``make`` raised one, or host 0 took too long.
    """
    if _alone():
        return make()
    key = f"electra_jax/{what}"
    if is_first():
        try:
            value = make()
        except UserError as error:
            _client().key_value_set(key, json.dumps({"error": str(error)}))
            raise
        _client().key_value_set(key, json.dumps({"value": value}))
        return value
    answer = json.loads(
        _in_time(lambda: _client().blocking_key_value_get(key, int(timeout * 1000)), what, timeout)
    )
    if "error" in answer:
        raise UserError(f"host 0: {answer['error']}")
    return answer["value"]


def first_then_all(what: str, make: Callable[[], T], fingerprint: Callable[[T], str], *, timeout: float) -> T:
    """What ``make`` returns on every host: host 0 makes it first, so that the others find it where hosts share files.

    Where they do not, each makes its own.

    Args:
        what: a name for it that is used once in a run.
        make: finds or makes it.
        fingerprint: equal where what was made is.
        timeout: seconds to wait for others.

    Raises:
        UserError: ``make`` raised one, a host took too long, or the hosts made different things.
    """
    if _alone():
        return make()
    made: list[T] = []
    if not is_first():
        print(f"waiting for host 0: {what}", file=sys.stderr, flush=True)
    from_first(what, lambda: made.append(make()), timeout=timeout)
    value = made[0] if made else make()
    first, *others = from_all(f"{what}, on all hosts", fingerprint(value), timeout=timeout)
    if wrong := [str(host) for host, other in enumerate(others, start=1) if other != first]:
        raise UserError(
            f"{what}: host {', '.join(wrong)} has another result than host 0: all hosts must have the same files, or "
            "share them, and the same packages"
        )
    return value


def from_all(what: str, value: Any, *, timeout: float = _PATIENCE) -> list[Any]:
    """What every host says, by host; nobody goes on before all have spoken.

    Args:
        what: a name for it that is used once in a run.
        value: something JSON can hold.
        timeout: seconds to wait for the others.

    Raises:
        UserError: some took too long.
    """
    if _alone():
        return [value]
    key = f"electra_jax/{what}/"
    _client().key_value_set(f"{key}{jax.process_index()}", json.dumps(value))
    _in_time(lambda: _client().wait_at_barrier(f"electra_jax/{what}", int(timeout * 1000)), what, timeout)
    said = {int(name.rpartition("/")[2]): json.loads(text) for name, text in _client().key_value_dir_get(key)}
    return [said[host] for host in range(jax.process_count())]


def _in_time(wait: Callable[[], T], what: str, timeout: float) -> T:
    try:
        return wait()
    except jax.errors.JaxRuntimeError as error:
        if "DEADLINE" not in str(error):
            raise
        raise UserError(
            f"the other hosts were waited for {timeout:.0f} seconds ({what}): see their logs"
        ) from error


def row_share(mesh: Mesh) -> tuple[int, int]:
    """(which part, of how many) of the rows of a batch this host reads.

    Hosts that a tensor axis connects hold the same rows, and read the same.

    Raises:
        UserError: the rows this host's devices hold are not one part of equal parts.
    """
    owners = mesh.devices.reshape(mesh.shape["data"] * mesh.shape["fsdp"], -1)
    mine = [
        place
        for place, devices in enumerate(owners)
        if any(d.process_index == jax.process_index() for d in devices)
    ]
    size = len(mine)
    if not mine or len(owners) % size or mine[0] % size or mine[-1] - mine[0] != size - 1:
        raise UserError(
            f"mesh.{' x mesh.'.join(BATCH_AXES)} gives host {jax.process_index()} rows that are not one piece of a "
            "batch: choose mesh axes that multiply to, or divide, the number of devices of a host"
        )
    return mine[0] // size, len(owners) // size
