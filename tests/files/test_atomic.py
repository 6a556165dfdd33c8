"""A file is the old one or the new one, never half of either."""

import errno
import os
from pathlib import Path

import pytest

from electra_jax.files.atomic import new_file, write_atomically
from electra_jax.files.json_files import read_json, write_json


@pytest.mark.parametrize("content", ["ä line\n", b"\x00bytes", ""], ids=["text", "bytes", "nothing"])
def test_a_file_is_replaced(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text("old")
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_is_interrupted_leaves_what_was_there(tmp_path, before, error):
    path = tmp_path / "a.json"
    if before is not None:
        path.write_text(before)

    def interrupted():
        with new_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert [file.read_text() for file in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_disk_that_cannot_flush_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.json", "old")]
    write_atomically(path, "new", flush=False)
    assert path.read_text() == "new"


def test_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.json"
    with new_file(path) as one, new_file(path) as other:
        one.write(b"one")
        other.write(b"other, and longer")
    assert path.read_text() == "one"  # which was the last to end
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_file_that_a_link_leads_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.json").write_text("old")
    (tmp_path / "link").symlink_to(Path("there") / "a.json")
    write_json(tmp_path / "link", {"new": 1})
    assert (tmp_path / "link").is_symlink()
    assert read_json(tmp_path / "there" / "a.json") == {"new": 1}
    assert os.listdir(tmp_path / "there") == ["a.json"]


@pytest.mark.parametrize("through_link", [False, True], ids=["pipe", "link to it"])
def test_a_pipe_is_written_into_and_stays(tmp_path, through_link):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "link" if through_link else pipe
    if through_link:
        path.symlink_to(pipe)
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):  # nobody reads from it
        write_json(path, {"a": 1})
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_json(path, {"a": 1})
    assert os.read(reader, 100) == b'{\n  "a": 1\n}\n'
    os.close(reader)
    assert pipe.is_fifo()
    assert path.is_symlink() == through_link


def test_devices_and_files_that_are_open_stay(tmp_path):
    """The device is a terminal of the test's own: a mistake here would replace one that all programs need."""
    ours, terminal = os.openpty()
    os.set_blocking(ours, False)
    (tmp_path / "link").symlink_to(os.ttyname(terminal))
    write_json(tmp_path / "link", 1)
    assert os.read(ours, 10) == b"1\r\n"
    assert (tmp_path / "link").is_char_device()
    os.close(terminal)
    os.close(ours)
    with (tmp_path / "output").open("w") as file:
        print("a table", file=file, flush=True)
        write_json(Path(f"/dev/fd/{file.fileno()}"), 1)
        assert os.fstat(file.fileno()).st_ino == (tmp_path / "output").stat().st_ino
    assert (tmp_path / "output").read_text() == "a table\n1\n"


@pytest.mark.parametrize("name", ["é" * 120 + ".json", "n" * 200 + ".json", "a." + "b" * 100])
def test_long_names(tmp_path, name):
    write_atomically(tmp_path / name, "text")
    assert os.listdir(tmp_path) == [name]


def test_json_comes_back(tmp_path):
    value = {"é": [1, None, {"half": 0.5}]}
    write_json(tmp_path / "made" / "a.json", value)
    assert read_json(tmp_path / "made" / "a.json") == value
    assert "é" in (tmp_path / "made" / "a.json").read_text(encoding="utf-8")
