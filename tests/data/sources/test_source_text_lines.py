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
    monkeypatch.setattr(json_lines, "MAX_VALUES", 50)
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
    monkeypatch.setattr(table_rows, "MAX_ROW_CHARACTERS", 20)
    data = b'a,b\n"x\ny",1\n"p"q,2\nr,3\n\xe9,4\n' + b"z" * 21 + b',5\n\ns,6\n"open,7\n8'
    found = shown(read_rows(io.BytesIO(data), tabs=False))
    assert [row for _, row in found if isinstance(row, list)] == [
        ["a", "b"],
        ["x\ny", "1"],
        ["r", "3"],
        ["s", "6"],
        ["8"],
    ]
    messages = [row for _, row in found if isinstance(row, str)]
    for line, message in zip((4, 6, 7, 10), messages, strict=True):
        assert f"line {line}" in message


HEADER = (1, ["text", "id"])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # A quote that is never closed, and one that the next quote seems to close.
        ('"e,4\nf,5\ng,6\n', [(2, "line 2 is not CSV (its quote is not closed)"), (3, ["f", "5"]), (4, ["g", "6"])]),
        (
            '"e,4\nf,5\n"h, i",7\n"a\nb",8\n',
            [(2, "line 2 is not CSV"), (3, ["f", "5"]), (4, ["h, i", "7"]), (6, ["a\nb", "8"])],
        ),
        ('"e,4\nf,5\ng,"6"\n', [(2, "line 2 is not CSV"), (3, ["f", "5"]), (4, ["g", "6"])]),
        ('"e,4\nf,5\ng,6"\n', [(2, "line 2 is not CSV"), (3, ["f", "5"]), (4, ["g", '6"'])]),
        ('"a,1\n"b,2\nc,3\n', [(2, "line 2 is not CSV"), (3, "line 3 is not CSV"), (4, ["c", "3"])]),
        # A row of several lines that is wrong in one of them is left out as a whole.
        (b'"he \xff\nsaid",2\nx,3\n', [(3, "line 2, column 5 is not utf-8"), (4, ["x", "3"])]),
        (b'"he\n\0said",2\nx,3\n', [(3, "line 3, column 1 has a NUL byte"), (4, ["x", "3"])]),
        ('"he\nsaid"x,2\nb,2\n', [(3, "lines 2 to 3 are not CSV"), (4, ["b", "2"])]),
        (b'"e,4\n\xff,3\ng,6\n', [(2, "line 2 is not CSV"), (3, "line 3, column 1 is not"), (4, ["g", "6"])]),
        # Two files that were joined.
        ('a,1\n\ufeff"text","id"\nb,2', [(2, ["a", "1"]), (3, ["text", "id"]), (4, ["b", "2"])]),
    ],
)  # fmt: skip
def test_only_the_bad_row_of_csv_is_lost(data, expected):
    data = data if isinstance(data, bytes) else data.encode()
    found = shown(read_rows(io.BytesIO(b"text,id\n" + data), tabs=False))
    assert len(found) == len(expected) + 1
    for (number, value), (line, wanted) in zip(found, [HEADER, *expected], strict=True):
        assert number == line
        assert value == wanted or (isinstance(wanted, str) and wanted in value)


def test_quotes_that_never_close_are_looked_for_in_bounded_time(monkeypatch):
    lines = [(n, 'x","z') for n in range(2000)]
    given = []
    monkeypatch.setattr(table_rows, "_MAX_REREAD", 20_000)
    monkeypatch.setattr(table_rows, "_text", lambda line: given.append(1) or line)
    found = list(table_rows.rows_of(iter([(0, "a,b"), *lines]), "a.csv", tabs=False))
    assert len(found) == 2001
    assert len(given) < 20_000


def test_marks_of_files_that_were_joined_are_left_out():
    data = '\ufeff{"a": 1}\n\ufeff{"a": 2}\n'.encode()
    assert list(read_json_lines(io.BytesIO(data))) == [(1, {"a": 1}), (2, {"a": 2})]
    assert list(read_lines(io.BytesIO("one\n\ufefftwo\n".encode()))) == [(1, "one"), (2, "two")]


def test_rows_with_tabs():
    data = b'"a\tb"\n\n1\t2'
    assert list(read_rows(io.BytesIO(data), tabs=True)) == [(1, ['"a', 'b"']), (3, ["1", "2"])]


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_json_lines_in_another_encoding(encoding):
    data = json.dumps({"t": "für"}, ensure_ascii=False).encode(encoding)
    assert list(read_json_lines(io.BytesIO(data), encoding)) == [(1, {"t": "für"})]
