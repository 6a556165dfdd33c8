"""Joining the other processes of a run, with a bounded wait, and leaving together."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
from jax._src import xla_bridge  # whether devices were used has no public name

from electra_jax.config.machines import HostsConfig
from electra_jax.distributed.agreement import barrier
from electra_jax.distributed.cluster import ClusterInfo, detect_cluster, has_tpu
from electra_jax.distributed.lost_hosts import (
    LOST_HOST_MESSAGE,
    is_lost_host_error,
    leave_at_once,
    report_abort,
)
from electra_jax.errors import HostLost, UserError


@contextmanager
def joined(config: HostsConfig) -> Iterator[None]:
    """Make this process one of the run's hosts while entered; must come before any device is touched.

    Raises:
        UserError: the hosts cannot meet.
        HostLost: they did not all meet in time, or one of them was lost.
    """
    cluster = detect_cluster(config, os.environ, on_tpu=has_tpu())
    if cluster is None or cluster.num_processes == 1 or _is_known_to_be_alone(cluster):
        yield
        return
    if jax.distributed.is_initialized():
        raise UserError(
            "this process has joined other hosts already, and a process joins once: start each run on several hosts in "
            "a process of its own"
        )
    ended = report_abort()
    _join(config, cluster, ended)
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not is_lost_host_error(error):
            raise
        leave_at_once(ended, HostLost.status)
        raise HostLost(LOST_HOST_MESSAGE) from error
    # One that is still writing is waited for; then all leave together.
    barrier("end")


def _is_known_to_be_alone(cluster: ClusterInfo) -> bool:
    """Return whether a TPU that was used before had one host alone: it knows its pod without having joined."""
    return (
        cluster.coordinator is None
        and not jax.distributed.is_initialized()
        and xla_bridge.backends_are_initialized()
        and jax.process_count() == 1
    )


def _join(config: HostsConfig, cluster: ClusterInfo, ended: Callable[[], None]) -> None:
    """Call ``jax.distributed.initialize`` with a bounded wait.

    When it gives up by itself jax ends the process, so it is left to wait longer than we do, in a thread.
    """
    # Our own handlers of signals agree on when to stop; jax's would take SIGTERM away from them.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    failure: list[BaseException] = []

    def initialize() -> None:
        try:
            jax.distributed.initialize(
                coordinator_address=cluster.coordinator,
                num_processes=cluster.num_processes,
                process_id=cluster.process_id,
                local_device_ids=None if cluster.local_device is None else [cluster.local_device],
                cluster_detection_method=None if cluster.coordinator is None else "deactivate",
                initialization_timeout=config.join_timeout + 3600,
                heartbeat_timeout_seconds=config.heartbeat_timeout,
                shutdown_timeout_seconds=config.heartbeat_timeout,
            )
        except BaseException as error:  # handed to the thread that waits
            failure.append(error)

    thread = threading.Thread(target=initialize, daemon=True)
    thread.start()
    thread.join(config.join_timeout)
    if thread.is_alive():
        # One that comes late, as a machine that takes another's place may, is there when it is tried again.
        late = f"not all were there within hosts.join_timeout={config.join_timeout} seconds"
        leave_at_once(ended, HostLost.status)
        raise HostLost(_failed_to_join(cluster, late))
    if failure:
        leave_at_once(ended, UserError.status)
        raise UserError(_failed_to_join(cluster, str(failure[0]).strip().splitlines()[0][:300]))


def _failed_to_join(cluster: ClusterInfo, why: str) -> str:
    where = (
        f"host {cluster.process_id} of {cluster.num_processes}, with host 0 at {cluster.coordinator}"
        if cluster.coordinator
        else "one of the hosts of a TPU"
    )
    return (
        f"joining the other hosts failed: {why}; this is {where}, as {cluster.source} said. Start the same command on "
        "all of them and see that they reach that address; hosts.join=off trains on this machine alone"
    )
