"""A host that no longer answers: how it is noticed, and how the others end."""

import atexit
import os
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress

import jax

from electra_jax.stopping import active

LOST_HOST_MESSAGE = (
    "another host of this run was lost, or this one was cut off from them: see the logs of the others; everything up "
    "to the last checkpoint is kept, and the same command on every host goes on from it"
)


def is_lost_host_error(error: BaseException) -> bool:
    """Return whether ``error``, or one that caused it, is that of a broken connection to another host.

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


def leave_at_once(ended: Callable[[], None], status: int) -> None:
    """Let the process exit without waiting for hosts that are not there (what is registered last comes first)."""
    atexit.register(os._exit, status)
    atexit.register(ended)


def report_abort() -> Callable[[], None]:
    """Have a sentence written when this process dies without having ended in order.

    jax aborts the process, from a thread of its own, when another host no longer answers. The shell that waits for
    the other end of a pipe outlives that.

    Returns:
        What to call when the process ends in order.
    """
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" TERM INT; read -r _ || printf "error: %s\\n" "$0" >&2', LOST_HOST_MESSAGE],
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
        watch.on_end(ended)
    return ended
