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

_SAVE = 1  # below the numbers of SIGINT and SIGTERM, for which a checkpoint is saved too


@dataclass(frozen=True)
class StepDecision:
    """What is to be done after a step, the same on every host.

    Attributes:
        stop: The name of the signal to stop by; None goes on.
        save: Whether a checkpoint is due.
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
        self._one_per_device = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._max = jax.jit(lambda numbers: numbers.max(), out_shardings=replicated(mesh))
        self._pending_answer: Array | None = None

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

    def step_done(self) -> None:
        """Note that a step is done, so that from now on there is something to save."""
        self._stepped = True

    def decide(self, *, save: bool = False) -> StepDecision:
        """Decide, with all other hosts, what to do after the step just dispatched; called once per step.

        Several hosts take the maximum of their requests on the devices, behind that step, and read the result one step
        later, when it has long been there: nothing waits.

        Args:
            save: Whether this host finds a checkpoint due.
        """
        number = self._watch.requested or (_SAVE if save else 0)
        if not self._alone:
            answer, self._pending_answer = self._pending_answer, self._reduce(number)
            number = 0 if answer is None else int(jax.device_get(answer))
        return StepDecision(signal.Signals(number).name if number > _SAVE else None, number > 0)

    def _reduce(self, number: int) -> Array:
        shape = (self._one_per_device.mesh.size,)
        mine = np.full(1, number, np.int32)
        return self._max(jax.make_array_from_callback(shape, self._one_per_device, lambda _: mine))
