"""What all hosts agree on after each step: to stop, as SIGTERM or Ctrl-C asked one of them, or to save."""

import signal
from contextlib import ExitStack
from dataclasses import dataclass

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from electra_jax import stopping
from electra_jax.partitioning.mesh import replicated

_SAVE = 1  # below SIGINT and SIGTERM, which are saved for besides


@dataclass(frozen=True)
class Agreed:
    """What is to be done after a step, the same on every host.

    Attributes:
        stop: the name of the signal to stop by; None to go on.
        save: whether the time for a checkpoint has come.
    """

    stop: str | None
    save: bool


class StopRequest:
    """While entered, the first SIGTERM or SIGINT is a request to stop; a second SIGINT stops at once.

    A process that trains alone and has not made a step has nothing to save: there the first stops at once.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._stack = ExitStack()
        self._alone = jax.process_count() == 1
        self._stepped = False
        self._one_each = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._largest = jax.jit(lambda numbers: numbers.max(), out_shardings=replicated(mesh))
        self._asked: Array | None = None

    def __enter__(self) -> "StopRequest":
        self._watch = self._stack.enter_context(stopping.watching())
        self._stack.enter_context(self._watch.defer(self._acknowledge))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _acknowledge(self, number: int) -> str | None:
        if self._alone and not self._stepped:
            return None
        return f"stopping after this step{' (again: at once)' if number == signal.SIGINT else ''}"

    def stepped(self) -> None:
        """A step is done, so that from now on there is something to save."""
        self._stepped = True

    def agreed(self, *, save: bool = False) -> Agreed:
        """What to do after the step just dispatched. Called once a step.

        Several hosts ask each other on the devices, behind that step, and read the answer one step later, when it has
        long been there: nothing waits.

        Args:
            save: whether this host finds it time for a checkpoint.
        """
        number = self._watch.requested or (_SAVE if save else 0)
        if not self._alone:
            answer, self._asked = self._asked, self._ask(number)
            number = 0 if answer is None else int(jax.device_get(answer))
        return Agreed(signal.Signals(number).name if number > _SAVE else None, number > 0)

    def _ask(self, number: int) -> Array:
        shape = (self._one_each.mesh.size,)
        mine = np.full(1, number, np.int32)
        return self._largest(jax.make_array_from_callback(shape, self._one_each, lambda _: mine))
