"""What the hosts of a run exchange outside the devices: broadcast, gather and barrier, for small values.

A host is a process of the run. Text goes through the key-value store of jax's coordination service, which every
host has once it has joined, so nothing here waits for a device.
"""

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from electra_jax.errors import UserError

T = TypeVar("T")

# Seconds. One host only waits for another, which is alive: its heartbeats are watched besides.
_TIMEOUT_SECONDS = 3600


def is_host_0() -> bool:
    """Return whether this host is the one that writes files and prints."""
    return _is_single_process() or jax.process_index() == 0


def _is_single_process() -> bool:
    """Return whether this process is the whole run; looks for no device unless hosts were joined."""
    return not jax.distributed.is_initialized() or jax.process_count() == 1


def print_on_host_0(line: str) -> None:
    """Print a line on standard error, once for all hosts."""
    if is_host_0():
        print(line, file=sys.stderr)


def _client() -> Any:
    from jax._src import distributed  # the coordination service has no public name

    return distributed.global_state.client


def broadcast_from_host_0(name: str, make: Callable[[], T], *, timeout: float = _TIMEOUT_SECONDS) -> T:
    """Return on every host what ``make`` returns on host 0; what it raises there is raised on every host.

    Args:
        name: names this exchange; used once in a run.
        make: called on host 0 alone; returns something JSON can hold.
        timeout: seconds the others wait.

    Raises:
        UserError: ``make`` raised one, or host 0 took too long.
    """
    if _is_single_process():
        return make()
    key = f"electra_jax/{name}"
    if is_host_0():
        try:
            value = make()
        except UserError as error:
            _client().key_value_set(key, json.dumps({"error": str(error)}))
            raise
        _client().key_value_set(key, json.dumps({"value": value}))
        return value
    answer = json.loads(
        _with_timeout(lambda: _client().blocking_key_value_get(key, int(timeout * 1000)), name, timeout)
    )
    if "error" in answer:
        raise UserError(f"host 0: {answer['error']}")
    return answer["value"]


def host_0_first(name: str, make: Callable[[], T], fingerprint: Callable[[T], str], *, timeout: float) -> T:
    """Return what ``make`` returns on this host, having let host 0 make it first.

    Where hosts share files the others then find what host 0 made; where they do not, each makes its own.

    Args:
        name: names this exchange; used once in a run.
        make: finds or makes it.
        fingerprint: of what was made, equal where that is equal.
        timeout: seconds to wait for others.

    Raises:
        UserError: ``make`` raised one, a host took too long, or the hosts made different things.
    """
    if _is_single_process():
        return make()
    made: list[T] = []
    if not is_host_0():
        print(f"waiting for host 0: {name}", file=sys.stderr, flush=True)
    broadcast_from_host_0(name, lambda: made.append(make()), timeout=timeout)
    value = made[0] if made else make()
    first, *others = gather_from_hosts(f"{name}, on all hosts", fingerprint(value), timeout=timeout)
    if wrong := [str(host) for host, other in enumerate(others, start=1) if other != first]:
        raise UserError(
            f"{name}: host {', '.join(wrong)} has another result than host 0: all hosts must have the same files, or "
            "share them, and the same packages"
        )
    return value


def gather_from_hosts(name: str, value: Any, *, timeout: float = _TIMEOUT_SECONDS) -> list[Any]:
    """Return the value of every host, by host; no host goes on before all have given theirs.

    Args:
        name: names this exchange; used once in a run.
        value: something JSON can hold.
        timeout: seconds to wait for the others.

    Raises:
        UserError: some took too long.
    """
    if _is_single_process():
        return [value]
    key = f"electra_jax/{name}/"
    _client().key_value_set(f"{key}{jax.process_index()}", json.dumps(value))
    _with_timeout(
        lambda: _client().wait_at_barrier(f"electra_jax/{name}", int(timeout * 1000)), name, timeout
    )
    said = {
        int(stored.rpartition("/")[2]): json.loads(text) for stored, text in _client().key_value_dir_get(key)
    }
    return [said[host] for host in range(jax.process_count())]


def _with_timeout(wait: Callable[[], T], name: str, timeout: float) -> T:
    try:
        return wait()
    except jax.errors.JaxRuntimeError as error:
        if "DEADLINE" not in str(error):
            raise
        raise UserError(
            f"the other hosts were waited for {timeout:.0f} seconds ({name}): see their logs"
        ) from error


def barrier(name: str) -> None:
    """Wait until every host has come here; ``name`` names this barrier and is used once in a run."""
    if not _is_single_process():
        _client().wait_at_barrier(f"electra_jax/{name}", _TIMEOUT_SECONDS * 1000)
