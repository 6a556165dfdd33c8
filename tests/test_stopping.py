"""Ctrl-C and SIGTERM: one sentence at once, what was begun is undone, and no traceback, wherever the process is."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from electra_jax import stopping

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = "stopped by {}: nothing was to be saved, and what was saved before is kept\n"


class Process:
    """A command whose ``main`` is given, in a process of its own; it prints ``ready`` where the signal may come."""

    def __init__(self, main: str, *, before: str = "", grace: float = 30):
        script = (
            "import hashlib, os, signal, sys, time\nfrom electra_jax import cli, stopping\n"
            f"stopping.GRACE = {grace}\n{textwrap.dedent(before)}\n"
            "def ready():\n    os.write(1, b'ready\\n')\n"
            f"def main(_):\n{textwrap.indent(textwrap.dedent(main), '    ')}\ncli.run(main)\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def says(self) -> str:
        return self._process.stderr.readline()

    def ended(self) -> tuple[int, str, str]:
        out, err = self._process.communicate(timeout=60)
        return self._process.returncode, out, err


# Releases Python's lock, and answers to nothing for a minute and more, as a compiler does.
LONG = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"


@pytest.mark.parametrize("number", stopping.SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize(
    "where",
    [
        f"ready(); {LONG}",
        "ready()\nwhile True: time.sleep(60)",
        "ready()\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass",
        "try: ready(); time.sleep(60)\nexcept BaseException as error: raise RuntimeError('made of it') from error",
        "try: ready(); time.sleep(60)\nfinally: print('Traceback', file=sys.stderr)",
    ],
    ids=["compiling", "waiting", "swallowing", "another error", "complaining"],
)
def test_first_signal_ends_with_a_sentence(where, number):
    process = Process(where, grace=0.3 if LONG in where or "while" in where else 30)
    process.send(number)
    status, _, err = process.ended()
    assert (status, err) == (128 + number, AT_ONCE.format(number.name))


def test_sentence_stands_on_a_line_of_its_own_below_a_progress_bar():
    process = Process("from tqdm import tqdm\nbar = tqdm(total=2)\nready()\ntime.sleep(60)")
    process.send(signal.SIGINT)
    assert f"\n{AT_ONCE.format('SIGINT')}" in process.ended()[2]


def test_what_was_begun_is_undone_and_what_was_printed_arrives():
    process = Process("print('half')\ntry: ready(); time.sleep(60)\nfinally: print('undone')")
    process.send(signal.SIGINT)
    assert process.ended() == (130, "half\nundone\n", AT_ONCE.format("SIGINT"))


def test_last_acts_take_the_place_of_what_python_does_at_exit():
    process = Process(
        f"stopping.active().on_end(lambda: os.write(1, b'last act'))\nready(); {LONG}",
        before="import atexit\natexit.register(print, 'at exit')",
        grace=0.3,
    )
    process.send(signal.SIGTERM)
    assert process.ended()[:2] == (143, "last act")


def test_command_may_prefer_another_status():
    process = Process(
        "ready(); time.sleep(60)", before="run = cli.run\ncli.run = lambda m: run(m, stopped_status=75)"
    )
    process.send(signal.SIGTERM)
    assert process.ended()[0] == 75


DEFERRED = """
with stopping.watching() as watch, watch.defer(lambda number: "stopping after this step"):
    ready()
    while not watch.requested: time.sleep(0.01)
    {then}
return 0
"""


def test_deferred_signal_is_acknowledged_while_the_main_thread_is_busy():
    process = Process(
        f"with stopping.active().defer(lambda n: 'stopping soon'):\n    ready(); {LONG}", grace=0.3
    )
    process.send(signal.SIGINT)
    assert process.says() == "stopping soon\n"
    process.send(signal.SIGINT)
    status, _, err = process.ended()
    assert (status, err) == (
        130,
        "stopped at once by SIGINT, without saving; what was saved before is kept\n",
    )


def test_deferred_signal_leaves_the_end_to_who_deferred_it():
    process = Process(DEFERRED.format(then="print('saved')"))
    process.send(signal.SIGTERM)
    assert process.ended() == (0, "saved\n", "stopping after this step\n")


def test_second_sigterm_is_in_no_more_hurry_than_the_first():
    process = Process(DEFERRED.format(then="time.sleep(1)"))
    for _ in range(2):
        process.send(signal.SIGTERM)
    assert process.ended() == (0, "", "stopping after this step\n")


def test_signals_are_given_back(capfd):
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    with stopping.watching() as watch:
        assert stopping.active() is watch
        with stopping.watching() as inner:
            assert inner is watch
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before
    assert stopping.active() is None
    assert capfd.readouterr().err == AT_ONCE.format("SIGINT")


def test_another_thread_leaves_the_signals_alone():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def other():
        with stopping.watching() as watch:
            seen.append((watch.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [(0, before)]


@pytest.mark.parametrize(
    ("argv", "original", "expected"),
    [
        (["-m"], ["python", "-m", "electra_jax.train", "--config", "x"], True),
        (["-m"], ["python", "-X", "dev", "-m", "electra_jax", "train"], True),
        (["/usr/bin/electra-jax", "train"], ["python", "/usr/bin/electra-jax", "train"], True),
        (["-m"], ["python", "-P", "-m", "electra_jax.data.tokenizing"], False),
        (["-m"], ["python", "-m", "theirs"], False),
        (["-c"], ["python", "-c", "import electra_jax"], False),
        (["train.py", "-m", "electra_jax.train"], ["python", "train.py", "-m", "electra_jax.train"], False),
        ([], [], False),
    ],
)
def test_only_commands_take_the_signals_from_the_first_moment(argv, original, expected):
    assert stopping._is_command(argv[:1], original) is expected
