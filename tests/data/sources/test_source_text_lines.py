"""Lines, JSON lines and rows of tables: what can be read is, and what cannot says where."""

import io
import json

import pytest

from electra_jax.data.sources import json_lines, table_rows, text
from electra_jax.data.sources.json_lines import read_json_lines
from electra_jax.data.sources.table_rows import read_rows
from electra_jax.data.sources.text import read_lines
from electra_jax.errors import UserError


def shown(numbered):
    """Values, or the messages of what could not be read."""
    return [(n, str(value) if isinstance(value, UserError) else value) for n, value in numbered]


def test_a_bad_line_leaves_the_others_as_they_are():
    data = b"\xef\xbb\xbfone\r\ntw\xe9o\rthr\0ee\n\nfive\n\xed\xa0\x80\nlast"
    assert shown(read_lines(io.BytesIO(data))) == [
        (1, "one"),
        (2, "standard input, line 2, column 3 is not utf-8 (byte 0xe9); convert the file to UTF-8, or mend it."),
        (3, "standard input, line 3, column 4 has a NUL byte, which no text has; "
            "convert the file to UTF-8, or mend it."),
        (4, ""),
        (5, "five"),
        (6, "standard input, line 6, column 1 is not utf-8 (byte 0xed); convert the file to UTF-8, or mend it."),
        (7, "last"),
    ]  # fmt: skip


def test_a_line_that_is_too_long_is_passed_over_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(text, "MAX_LINE_CHARACTERS", 10)
    data = b"short\n" + b"x" * 11 + b"\n" + b"y" * 10 + b"\n" + b"z" * 900_000
    (_, first), (_, second), (_, third), (_, fourth) = read_lines(io.BytesIO(data))
    assert (first, third) == ("short", "y" * 10)
    assert "line 2 is longer than 10 characters" in str(second)
    assert "line 4 is longer than 10 characters" in str(fourth)


def test_json_lines_one_by_one(monkeypatch):
    monkeypatch.setattr(json_lines, "MOST_VALUES", 50)
    data = "\n".join([
        '{"a": "\\ud83d", "b\\ud83d": [{"c": "\\ud83d\\ude00"}]}',
        "",
        "null",
        '{"a": }',
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        '{"a": [' + "1," * 60 + "1]}",
        '{"a": "' + "," * 49 + '"}',
    ])  # fmt: skip
    monkeypatch.setattr(json_lines.parse_json, "__defaults__", (1, 50))
    found = shown(read_json_lines(io.BytesIO(data.encode())))
    assert found[0] == (1, {"a": "\ufffd", "b\ufffd": [{"c": "😀"}]})
    messages = dict(found[1:-1])
    for number, words in {
        3: "line 3 is not a JSON object {…} but null",
        4: "line 4, column 7 is not JSON: expecting value",
        5: "line 5 is not JSON that can be read: it holds more than 50 values",
        6: "line 6 is not JSON that can be read: it holds a number of more digits",
        7: "line 7 is not JSON that can be read: it holds more than 50 values",
    }.items():
        assert words in messages.pop(number)
    assert not messages
    assert found[-1] == (8, {"a": "," * 49})


def test_nesting_that_is_too_deep_is_a_bad_line():
    for depth in (400, 5_000, 100_000):
        line = '{"\\ud800": ' * depth + "1" + "}" * depth
        ((_, found),) = read_json_lines(io.BytesIO(line.encode()))
        assert isinstance(found, UserError | dict)
    assert "nested too deeply" in str(found)


def test_rows_behind_a_bad_one_are_still_to_be_had(monkeypatch):
    monkeypatch.setattr(table_rows, "MAX_CELL_CHARACTERS", 20)
    data = b'a,b\n"x\ny",1\n"p"q,2\nr,3\n\xe9,4\n' + b"z" * 21 + b',5\n\ns,6\n"open,7\n8'
    found = shown(read_rows(io.BytesIO(data), tabs=False))
    assert [row for _, row in found if isinstance(row, list)] == [
        ["a", "b"],
        ["x\ny", "1"],
        ["r", "3"],
        ["s", "6"],
    ]
    messages = [row for _, row in found if isinstance(row, str)]
    for line, message in zip((4, 6, 7, 10), messages, strict=True):
        assert f"line {line}" in message


def test_rows_with_tabs():
    data = b'"a\tb"\n\n1\t2'
    assert list(read_rows(io.BytesIO(data), tabs=True)) == [(1, ['"a', 'b"']), (3, ["1", "2"])]


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_json_lines_in_another_encoding(encoding):
    data = json.dumps({"t": "für"}, ensure_ascii=False).encode(encoding)
    assert list(read_json_lines(io.BytesIO(data), encoding)) == [(1, {"t": "für"})]
