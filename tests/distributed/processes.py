"""Several fresh processes on this machine as the hosts of one run."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fake_devices import xla_flags

TESTS = Path(__file__).resolve().parents[1]
# Several processes on two busy cores: nothing here is a measurement, this only keeps a hang from lasting for ever.
PATIENCE = 240


@dataclass(frozen=True)
class Ended:
    """How a host ended."""

    status: int
    out: str
    err: str


class Hosts:
    """Started hosts; ``processes`` in the order of their numbers."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[object],
        hosts: int,
        devices: int,
        *settings: str,
        each: Mapping[int, Sequence[str]] | None = None,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        port = _free_port()
        self.processes = [
            self._start(
                number,
                [
                    *command,
                    f"hosts.coordinator=127.0.0.1:{port}",
                    f"hosts.num_processes={hosts}",
                    f"hosts.process_id={number}",
                    *settings,
                    *(each or {}).get(number, ()),
                ]
                if hosts > 1
                else [*command, *settings],
                devices,
            )
            for number in range(hosts)
        ]

    def _start(self, number: int, argv: Sequence[object], devices: int) -> subprocess.Popen:
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": xla_flags(devices),
            "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS, TESTS / "distributed"))),
        }
        out, err = (self._folder / f"{stream}.{number}" for stream in ("out", "err"))
        with out.open("w") as to_out, err.open("w") as to_err:
            return subprocess.Popen(
                [sys.executable, *map(str, argv)], stdout=to_out, stderr=to_err, env=environment
            )

    def err(self, number: int) -> str:
        """What a host has said on standard error."""
        return (self._folder / f"err.{number}").read_text()

    def until(self, happened: Callable[[], bool]) -> None:
        """Waits until something has happened that the hosts do."""
        end = time.monotonic() + PATIENCE
        while not happened():
            assert all(process.poll() is None for process in self.processes), self._said()
            assert time.monotonic() < end, self._said()
            time.sleep(0.05)

    def last_words(self, number: int, words: str) -> str:
        """What an ended host has said, once ``words`` are in it: they may be said for it just after it was aborted."""
        end = time.monotonic() + 30
        while words not in self.err(number) and time.monotonic() < end:
            time.sleep(0.05)
        return self.err(number)

    def ended(self) -> list[Ended]:
        """Waits until all have ended."""
        try:
            for process in self.processes:
                process.wait(PATIENCE)
        finally:
            for process in self.processes:
                process.kill()
        return [
            Ended(process.returncode, (self._folder / f"out.{number}").read_text(), self.err(number))
            for number, process in enumerate(self.processes)
        ]

    def _said(self) -> str:
        return "\n".join(f"host {number}: {self.err(number)}" for number in range(len(self.processes)))


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
