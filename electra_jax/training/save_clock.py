"""When a checkpoint is due by time alone: ``train.checkpoint_minutes``."""

import time

from electra_jax.distributed.agreement import is_host_0


class SaveClock:
    """Counts the minutes since the last checkpoint; of several hosts the clock of host 0 decides."""

    def __init__(self, minutes: float | None):
        """Start the clock; with None a checkpoint is never due."""
        self._seconds = None if minutes is None or not is_host_0() else 60 * minutes
        self.restart()

    def restart(self) -> None:
        """Count anew, as a checkpoint was made."""
        self._since = time.monotonic()

    def due(self) -> bool:
        """Return whether a checkpoint is due, and if so count anew.

        It is true once and not until the checkpoint is made, since several hosts agree on it one step later.
        """
        if self._seconds is None or time.monotonic() - self._since < self._seconds:
            return False
        self.restart()
        return True
