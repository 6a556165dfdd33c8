"""Stopping cleanly: SIGTERM (pre-emption) and SIGINT (Ctrl-C) on any host ask the loop to save and end on all."""

import signal
from types import FrameType

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from electra_jax.partitioning.mesh import replicated


class StopRequest:
    """While entered, the first SIGTERM or SIGINT is a request to stop; a second SIGINT stops at once."""

    def __init__(self, mesh: Mesh) -> None:
        self._requested = 0
        self._previous: dict[int, object] = {}
        self._one_each = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._largest = jax.jit(lambda numbers: numbers.max(), out_shardings=replicated(mesh))
        self._asked: Array | None = None

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self._requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._requested = number

    def agreed(self) -> str | None:
        """The name of the signal to stop by, the same on every host; None to go on. Called once a step.

        Several hosts ask each other on the devices, behind the step just dispatched, and read the answer one step
        later, when it has long been there: nothing waits.
        """
        number = self._requested
        if jax.process_count() > 1:
            answer, self._asked = self._asked, self._ask(number)
            number = 0 if answer is None else int(jax.device_get(answer))
        return signal.Signals(number).name if number else None

    def _ask(self, number: int) -> Array:
        shape = (self._one_each.mesh.size,)
        mine = np.full(1, number, np.int32)
        return self._largest(jax.make_array_from_callback(shape, self._one_each, lambda _: mine))
