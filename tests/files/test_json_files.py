"""JSON from anywhere: values, or one sentence."""

import os
from pathlib import Path

import pytest

from electra_jax.errors import UserError
from electra_jax.files.json_files import read_json, read_object
from electra_jax.files.json_text import MAX_VALUES

GOOD = {
    "empty": (b"{}", {}),
    "a byte order mark": (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
    "a pair of surrogates": (b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
    "a backslash before u": (b'{"a": "\\\\ud800"}', {"a": "\\ud800"}),
    "numbers that JSON lacks": (b'{"a": -Infinity}', {"a": float("-inf")}),
    "nested": (b"[" * 500 + b"]" * 500, None),
}
BAD = {
    "nothing": (b"", "line 1: not valid JSON (Expecting value)"),
    "cut short": (b'{"a": 1,\n"b"', "line 2: not valid JSON"),
    "Latin-1": (b'{\n"a": "\xe9"}', "line 2: not UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "line 1: not UTF-8"),
    "a name twice": (b'{"x": {"a": 1, "b": 2, "a": 1}}', "names 'a' twice"),
    "half of a character": (b'{"a": ["\\ud800"]}', "half of a character"),
    "half of a character in a name": (b'{"\\udfffa": 1}', "half of a character"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "deep objects": (b'{"a":' * 100_000, "nested too deeply"),
    "a huge number": (b'{"a": ' + b"9" * 5000 + b"}", "a number of more digits"),
    "too many values": (b"[" + b"1," * MAX_VALUES + b"1]", "more than 4,000,000 values"),
    "too many objects": (b"[" + b"{}" * (MAX_VALUES + 1), "more than 4,000,000 values"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_read(tmp_path, name):
    content, expected = GOOD[name]
    (tmp_path / "a.json").write_bytes(content)
    value = read_json(tmp_path / "a.json")
    assert expected is None or value == expected


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_json(tmp_path, name):
    content, expected = BAD[name]
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_json(tmp_path / "a.json", "fetch it again")
    assert str(error.value).startswith(str(tmp_path / "a.json"))
    assert expected in str(error.value)
    assert str(error.value).endswith(": fetch it again")


@pytest.mark.parametrize(
    ("content", "kind"), [(b"[]", "a list"), (b"null", "null"), (b'"a"', "text"), (b"1", "a number")]
)
def test_what_is_no_object(tmp_path, content, kind):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=f"does not hold a JSON object in braces but {kind}: fetch"):
        read_object(tmp_path / "a.json", "fetch it again")


def test_only_regular_files_of_bounded_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: opened as usual, it blocks
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "large").write_bytes(b" " * 11)
    (tmp_path / "there").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert read_json(tmp_path / "link") == 1
    for path, expected in (
        (tmp_path / "pipe", "cannot be read (it is a pipe, not a regular file)"),
        (Path("/dev/zero"), "cannot be read (it is a device, not a regular file)"),
        (tmp_path, "cannot be read (it is a directory, not a regular file)"),
        (tmp_path / "large", "cannot be read (it has more than the 10 bytes"),
        (tmp_path / "loop", "cannot be read (Too many levels of symbolic links)"),
        (tmp_path / ("x" * 300), "cannot be read (File name too long)"),
        (tmp_path / "a\0b", "cannot be read"),
        (tmp_path / "none", "does not exist: fetch it again"),
        (tmp_path / "there" / "below", "cannot be read (Not a directory)"),
    ):
        with pytest.raises(UserError) as error:
            read_json(path, "fetch it again", max_bytes=10)
        assert expected in str(error.value)
