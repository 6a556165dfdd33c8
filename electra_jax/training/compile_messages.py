"""Lines that say what is being compiled: it takes from seconds to minutes, and otherwise looks like a hang."""

import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from electra_jax.distributed.agreement import is_host_0

# Seconds before the first line. What is ready sooner, such as a program from the compilation cache, needs none.
MESSAGE_DELAY = 2.0

WriteLine = Callable[[str], None]


def _write_line(line: str) -> None:
    tqdm.write(line, file=sys.stderr)  # above the progress line, if there is one


@contextmanager
def compile_message(
    what: str, *, delay: float = MESSAGE_DELAY, write: WriteLine = _write_line
) -> Iterator[None]:
    """Print that ``what`` is being compiled if the block takes long, and how long it took once it is done.

    Only host 0 prints.

    Args:
        what: What is compiled, such as "the training step".
        delay: Seconds after which the first line is printed; a faster block prints nothing.
        write: Prints one line; by default to standard error.
    """
    started, announced = time.perf_counter(), threading.Event()

    def announce() -> None:
        announced.set()
        write(f"compiling {what} ...")

    timer = threading.Timer(delay, announce)
    timer.daemon = True
    if is_host_0():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if announced.is_set():
        timer.join()  # its line comes first
        write(f"compiled {what} in {time.perf_counter() - started:.0f} s")


def shapes_of(arguments: Any) -> Hashable:
    """Return what decides, with the same function, whether another program is compiled for a tree of arrays."""
    leaves, structure = jax.tree.flatten(arguments)
    return structure, tuple(np.shape(leaf) for leaf in leaves)


class WithCompileMessage:
    """A jitted function of (parameters, batch, …) that says so when it compiles: once for each shape of the batch.

    Attributes:
        what: What the lines call it.
    """

    def __init__(self, function: Any, what: str):
        self._function, self.what = function, what
        self._compiled_shapes: set[Any] = set()

    def __call__(self, params: Any, *rest: Any) -> Any:
        """Call the jitted function, within `compile_message` where these shapes are new."""
        shapes = shapes_of(rest)
        if shapes in self._compiled_shapes:
            return self._function(params, *rest)
        with compile_message(self.what):
            value = self._function(params, *rest)
        self._compiled_shapes.add(shapes)
        return value

    def trace(self, *args: Any) -> Any:
        """Trace the jitted function without running it, as ``jax.jit(…).trace`` does."""
        return self._function.trace(*args)

    def lower(self, *args: Any) -> Any:
        """Lower the jitted function without compiling it, as ``jax.jit(…).lower`` does."""
        return self._function.lower(*args)
