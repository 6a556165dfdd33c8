"""Lines that say what is being waited for: compiling takes from seconds to minutes, and looks like a hang."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from electra_jax.distributed.agreement import is_host_0

# What is there sooner, as from the compilation cache, needs no line.
PATIENCE = 2.0

Say = Callable[[str], None]


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)  # above the progress line, if there is one


@contextmanager
def compiling(what: str, *, patience: float = PATIENCE, say: Say = _say) -> Iterator[None]:
    """Says that ``what`` is being compiled once that takes longer than ``patience`` seconds, and then how long it took.

    Host 0 speaks for all.
    """
    started, said = time.perf_counter(), threading.Event()

    def announce() -> None:
        said.set()
        say(f"compiling {what} ...")

    timer = threading.Timer(patience, announce)
    timer.daemon = True
    if is_host_0():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if said.is_set():
        timer.join()  # its line comes first
        say(f"compiled {what} in {time.perf_counter() - started:.0f} s")


class Announced:
    """A jitted function of (parameters, batch, …) whose compiling is announced: at the first call for each batch shape.

    Attributes:
        what: what it is called in the lines.
    """

    def __init__(self, function: Any, what: str):
        self._function, self.what = function, what
        self._seen: set[Any] = set()

    def __call__(self, first: Any, *rest: Any) -> Any:
        """The function's value."""
        leaves, structure = jax.tree.flatten(rest)
        shapes = structure, tuple(np.shape(leaf) for leaf in leaves)
        if shapes in self._seen:
            return self._function(first, *rest)
        with compiling(self.what):
            value = self._function(first, *rest)
        self._seen.add(shapes)
        return value

    def trace(self, *args: Any) -> Any:
        """The jitted function's `trace`, to be looked at."""
        return self._function.trace(*args)

    def lower(self, *args: Any) -> Any:
        """The jitted function's `lower`, to be compiled and looked at."""
        return self._function.lower(*args)
