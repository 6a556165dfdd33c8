"""A trace of a few steps, for TensorBoard's profiler, xprof or Perfetto."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax


class Profile:
    """A trace of the steps "FIRST:LAST" (checked by the configuration) of a loop, below ``folder``; None: no trace.

    Of several hosts each writes into a folder of its own, ``host-0``, …: jax names files by the machine, and those of
    others in its folder are an error to it.
    """

    def __init__(self, steps: str | None, folder: Path):
        self._first, self._last = (0, 0) if steps is None else map(int, steps.split(":"))
        own = (
            folder / f"host-{jax.process_index()}"
            if steps is not None and jax.process_count() > 1
            else folder
        )
        self._folder, self._running = own, False

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Enter around the dispatch of step ``number``; begins the recording if it is due."""
        if not self._running and self._first <= number <= self._last:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._running = True
        named = jax.profiler.StepTraceAnnotation("train", step_num=number) if self._running else nullcontext()
        with named:
            yield

    def done(self, number: int, report: Any) -> None:
        """Note that step ``number`` was dispatched; at the last one, wait for ``report`` and write the files."""
        if self._running and number >= self._last:
            jax.block_until_ready(report)
            self.close()

    def close(self) -> None:
        """Write what was recorded, if the loop ends early."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
