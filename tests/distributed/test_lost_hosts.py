"""Which errors tell of a host that was lost."""

import pytest
from jax.errors import JaxRuntimeError

from electra_jax.distributed.lost_hosts import is_lost_host_error


def _came_of(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (JaxRuntimeError("UNAVAILABLE: Task 1 heartbeat timeout"), True),
        (JaxRuntimeError("[/gloo/transport] Connection closed by peer"), True),
        # What Orbax raises in a thread of its own while a checkpoint is written.
        (
            _came_of(TimeoutError("async_write_complete"), JaxRuntimeError("INTERNAL: UNAVAILABLE: Task 1")),
            True,
        ),
        (ValueError("UNKNOWN: Gloo AllGather failed: Read error: Connection reset by peer"), True),
        (JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), False),
        (_came_of(ValueError("no"), JaxRuntimeError("INVALID_ARGUMENT")), False),
        (TimeoutError("a file server"), False),
    ],
)
def test_errors_that_tell_of_a_lost_host(error, lost):
    assert is_lost_host_error(error) is lost
