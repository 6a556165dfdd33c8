"""A file is the old one or the new one, never half of either."""

import os

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


@pytest.mark.parametrize("name", ["é" * 120 + ".json", "n" * 200 + ".json", "a." + "b" * 100])
def test_long_names(tmp_path, name):
    write_atomically(tmp_path / name, "text")
    assert os.listdir(tmp_path) == [name]


def test_json_comes_back(tmp_path):
    value = {"é": [1, None, {"half": 0.5}]}
    write_json(tmp_path / "made" / "a.json", value)
    assert read_json(tmp_path / "made" / "a.json") == value
    assert "é" in (tmp_path / "made" / "a.json").read_text(encoding="utf-8")
