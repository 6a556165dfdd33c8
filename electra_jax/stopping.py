"""Ctrl-C and SIGTERM at any moment: acknowledged at once, ended with one sentence, never with a traceback.

Python runs handlers of signals in its main thread, between two instructions of its own, so not while that thread
compiles or loads a library. The interpreter's own handler, which runs at once, writes the signal's number to a pipe; a
thread reads it, says what will follow and, where the main thread does not come to unwind what it has begun, ends the
process. This module is imported before anything that takes time, and needs nothing but the standard library.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Seconds that a command has to undo what it has begun, such as half-written directories, before the process ends.
GRACE = 3.0

# What a first signal is answered with; None: nothing is to be saved, and all ends.
Acknowledgement = Callable[[int], str | None]


class SignalWatch:
    """What this process does when it is asked to stop by a signal.

    A first signal ends what runs, by KeyboardInterrupt in the main thread, unless somebody has asked to `defer` it:
    then it is acknowledged and remembered in ``requested``. A second Ctrl-C ends in any case.

    Attributes:
        requested: number of the first signal; 0: none came.
    """

    def __init__(self, *, ends_process: bool, unwinds: bool):
        """Install nothing yet.

        Args:
            ends_process: the process belongs to one command and ends with it, if need be without unwinding.
            unwinds: somebody will catch the KeyboardInterrupt; else the process ends at once.
        """
        self.requested = 0
        self.unwinds = unwinds
        self.status: int | None = None
        self._ends_process = ends_process
        self._ending = False
        self._acknowledge: Acknowledgement | None = None
        self._last_acts: list[Callable[[], None]] = []
        self._answering = threading.Lock()
        self._previous: dict[int, object] = {}
        self._pipe: tuple[int, int] | None = None

    def open(self) -> None:
        """Take the signals over; to be called in the main thread."""
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._previous = {number: signal.signal(number, self._in_main_thread) for number in SIGNALS}
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(self._pipe[0],), daemon=True, name="signals").start()

    def close(self) -> None:
        """Give the signals back to the handlers they had before."""
        assert self._pipe is not None
        signal.set_wakeup_fd(-1)
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        writer, self._pipe = self._pipe[1], None
        os.close(writer)  # which ends the thread

    def leave(self, handler: signal.Handlers = signal.SIG_IGN) -> None:
        """Ignore signals from here on: a command is done and Python only tidies up, which no signal need interrupt."""
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, handler)

    @contextmanager
    def defer(self, acknowledge: Acknowledgement) -> Iterator[None]:
        """Answer a first signal with what ``acknowledge`` says, from another thread, while entered."""
        before, self._acknowledge = self._acknowledge, acknowledge
        try:
            yield
        finally:
            self._acknowledge = before

    def on_end(self, act: Callable[[], None]) -> None:
        """Register ``act`` to be called when a signal ends the process, in place of what Python would do at exit."""
        self._last_acts.append(act)

    def end(self) -> NoReturn:
        """End the process as the signal asks, and leave out what Python does at exit: the compiler may still run."""
        for act in self._last_acts:
            with suppress(Exception):
                act()
        os._exit(self.exit_status)

    @property
    def ended_by_signal(self) -> bool:
        """Whether what runs is being ended by a signal."""
        return self._ending

    @property
    def ends_process(self) -> bool:
        """Whether the process belongs to one command."""
        return self._ends_process

    @property
    def exit_status(self) -> int:
        """What the process ends with: 128 and the signal, as shells report it, or what the command prefers."""
        return 128 + self.requested if self.status is None else self.status

    def _in_main_thread(self, *_: object) -> None:
        """Handle a signal in the main thread: wait until the other thread has answered, and unwind if it says so."""
        end = time.monotonic() + 1
        while self._pipe is not None and time.monotonic() < end:
            with self._answering:
                if not select.select([self._pipe[0]], [], [], 0)[0]:
                    break
            time.sleep(0.001)
        with self._answering:  # an answer that has begun is said before anything is unwound
            unwinds = self._ending and self.unwinds
        if unwinds:
            raise KeyboardInterrupt

    def _listen(self, reader: int) -> None:
        while True:
            select.select([reader], [], [])
            with self._answering:
                numbers = os.read(reader, 64)
                for number in numbers:
                    self._answer(number)
            if not numbers:
                os.close(reader)
                return

    def _answer(self, number: int) -> None:
        if self._ending:
            if self._ends_process and number == signal.SIGINT:
                self.end()
            return
        first = not self.requested
        self.requested = self.requested or number
        if self._acknowledge is not None:
            sentence = self._acknowledge(number)
            if first and sentence is not None:
                _say(sentence)
                return
            if (
                not first and number != signal.SIGINT
            ):  # who asks politely is not in more of a hurry the second time
                return
        name = signal.Signals(number).name
        self._ending = True
        if first:
            _say(f"stopped by {name}: nothing was to be saved, and what was saved before is kept")
        else:
            _say(f"stopped at once by {name}, without saving; what was saved before is kept")
        if self._ends_process:
            self._silence()
            if not self.unwinds:
                self.end()
            threading.Thread(target=self._end_in_time, daemon=True).start()

    def _end_in_time(self) -> None:
        time.sleep(GRACE)
        self.end()

    @staticmethod
    def _silence() -> None:
        """Silence what is unwound: neither a library's warnings nor a traceback follow the sentence."""
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _say(sentence: str) -> None:
    """Write past Python's buffers, whose lock the main thread may hold; below a progress line, or the ^C typed."""
    bars = getattr(getattr(sys.modules.get("tqdm"), "tqdm", None), "_instances", ())
    with suppress(OSError):
        os.write(2, f"{chr(10) if len(bars) or os.isatty(2) else ''}{sentence}\n".encode())


def active() -> SignalWatch | None:
    """Return the watch that has the signals now, if any."""
    owner = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    return owner if isinstance(owner, SignalWatch) else None


@contextmanager
def watching(*, ends_process: bool = False) -> Iterator[SignalWatch]:
    """Yield the watch there is, or a new one while entered; in another thread than the main one it hears nothing."""
    watch = active()
    if watch is not None:
        yield watch
        return
    watch = SignalWatch(ends_process=ends_process, unwinds=True)
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    watch.open()
    try:
        yield watch
    finally:
        watch.close()


def watch_command() -> None:
    """Take the signals over from the first moment of a command: ``electra-jax …`` or ``python -m electra_jax.…``.

    A program that imports the package keeps them, and so do the processes that a command starts for itself.
    """
    if _is_command(sys.argv[:1], sys.orig_argv) and active() is None:
        watch = SignalWatch(ends_process=True, unwinds=False)
        watch.open()
        # A copy of this process has no thread that listens.
        os.register_at_fork(after_in_child=lambda: watch.leave(signal.SIG_DFL))


def _is_command(argv: list[str], original: list[str]) -> bool:
    """Return whether the process was started for one of our commands.

    While Python looks for the module that ``-m`` names, and imports the package it is in, ``-m`` is its name.
    """
    if argv == ["-m"]:
        module = original[original.index("-m") + 1] if "-m" in original[:-1] else ""
        return module.partition(".")[0] == "electra_jax" and module.count(".") <= 1
    return bool(argv) and os.path.basename(argv[0]) == "electra-jax"
