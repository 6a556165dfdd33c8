"""Directories appear whole or not at all."""

import errno
import signal
import subprocess
import sys
import threading

import pytest

from electra_jax.data.cache import cache_errors, key_of, new_directory
from electra_jax.errors import UserError


def entries(directory):
    return sorted(path.name for path in directory.iterdir() if path.name != ".lock")


def test_appears_when_the_block_ends(tmp_path):
    final = tmp_path / "deep" / "made"
    with new_directory(final) as unfinished:
        (unfinished / "file").write_text("content")
        assert not final.exists()
    assert (final / "file").read_text() == "content"
    assert entries(final.parent) == ["made"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_vanishes_when_the_block_fails(tmp_path, error):
    def make():
        with new_directory(tmp_path / "made") as unfinished:
            (unfinished / "file").write_text("content")
            raise error

    with pytest.raises(error):
        make()
    assert entries(tmp_path) == []


def test_first_of_two_wins_and_both_end_well(tmp_path):
    with new_directory(tmp_path / "made") as slow:
        (slow / "file").write_text("slow")
        with new_directory(tmp_path / "made") as fast:
            (fast / "file").write_text("fast")
        assert slow.exists()  # alive, so the other one left it alone
    assert (tmp_path / "made" / "file").read_text() == "fast"
    assert entries(tmp_path) == ["made"]


def test_many_threads_at_once(tmp_path):
    def make(number):
        with new_directory(tmp_path / f"made{number % 2}") as unfinished:
            (unfinished / "file").write_text("content")

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert entries(tmp_path) == ["made0", "made1"]
    assert (tmp_path / "made1" / "file").read_text() == "content"


def test_what_a_killed_process_left_is_removed(tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path; from electra_jax.data.cache import new_directory\n"
        "with new_directory(Path(sys.argv[1]) / 'killed') as unfinished:\n"
        "    (unfinished / 'file').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(entries(tmp_path)) == 2  # the unfinished directory and its lock file
    with new_directory(tmp_path / "made"):
        pass
    assert entries(tmp_path) == ["made"]


def test_errors_name_the_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file/below.* set data\.cache_dir to another"):
        new_directory(tmp_path / "file" / "below" / "made").__enter__()
    with (
        pytest.raises(UserError, match=r"cannot write to .*No space left on device; make room"),
        cache_errors(tmp_path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_key_depends_on_values_and_not_on_order():
    assert key_of({"a": 1, "b": None}) == key_of({"b": None, "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2}) != key_of({"b": 2})
