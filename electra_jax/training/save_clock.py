"""When time alone asks for a checkpoint: ``train.checkpoint_minutes``."""

import time

from electra_jax.distributed.agreement import is_host_0


class SaveClock:
    """Counts the minutes since the last checkpoint; of several hosts the first one's clock decides."""

    def __init__(self, minutes: float | None):
        """Starts now; None never asks."""
        self._seconds = None if minutes is None or not is_host_0() else 60 * minutes
        self.restart()

    def restart(self) -> None:
        """A checkpoint was made."""
        self._since = time.monotonic()

    def due(self) -> bool:
        """Whether it is time; asks once, and then counts anew: hosts that agree on it do so a step later."""
        if self._seconds is None or time.monotonic() - self._since < self._seconds:
            return False
        self.restart()
        return True
