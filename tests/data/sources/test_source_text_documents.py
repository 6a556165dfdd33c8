"""Text files read as streams, against the same text split in memory at once."""

import gzip
import json
import random
import re

import pytest

from electra_jax.data.sources import compressed, text_documents
from electra_jax.data.sources.text import read_text
from electra_jax.data.sources.text_documents import file_documents, split_documents
from electra_jax.errors import UserError

TEXT = "\ufeffTitle\r\nFirst line.\rSecond – line.\n\n  \t\n\nÜber “zwei”\n \nlast 漢字 without end"


def documents(path, **changes):
    settings = {"is_json": False, "separator": "blank_line", "field": "text", "encoding": "utf-8", **changes}
    return list(file_documents(str(path), **settings))


def split_at_once(text, separator):
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    parts = re.split(r"\n\s*\n" if separator == "blank_line" else r"\n", text)
    return [part.strip() for part in parts if part.strip()]


@pytest.mark.parametrize("separator", ["blank_line", "line"])
@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 1 << 18])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32-le", "gb18030"])
def test_the_size_of_blocks_does_not_show(tmp_path, monkeypatch, separator, block_bytes, encoding):
    monkeypatch.setattr(compressed, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT.encode(encoding))
    assert documents(path, separator=separator, encoding=encoding) == split_at_once(TEXT, separator)


def test_a_whole_file_keeps_all_its_characters_but_the_kind_of_line_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeff \n\n a\r\n\tb  \r\n\u2028\n".encode())
    assert documents(path, separator="file") == [" \n\n a\n\tb  \n\u2028\n"]
    path.write_text(" \n\n")
    assert documents(path, separator="file") == []


def test_only_line_ends_end_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\x0btwo\x0cthree\u2028four\x85five", encoding="utf-8")
    assert documents(path, separator="line") == ["one\x0btwo\x0cthree\u2028four\x85five"]


def test_long_documents_are_cut_at_white_space_wherever_the_pieces_end(monkeypatch):
    monkeypatch.setattr(text_documents, "MAX_DOCUMENT_CHARACTERS", 50)
    rng = random.Random(0)
    text = " ".join("x" * rng.randint(1, 60) for _ in range(200)) + "\n\nshort one"
    whole = list(split_documents([text], "blank_line"))
    assert max(map(len, whole)) == 50
    assert "".join("".join(whole).split()) == "".join(text.split())
    assert whole[-1] == "short one"
    for size in (1, 13, 100):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert list(split_documents(pieces, "blank_line")) == whole


def test_one_endless_line_is_not_held_in_memory():
    document, consumed = None, 0

    def pieces():
        nonlocal consumed
        for _ in range(1000):
            consumed += 1
            yield "word " * 20_000

    document = next(split_documents(pieces(), "line"))
    assert len(document) <= text_documents.MAX_DOCUMENT_CHARACTERS
    assert consumed < 15


@pytest.mark.parametrize(
    ("encoding", "data", "line", "column", "byte"),
    [
        ("utf-8", b"fine " * 1000 + b"\xff bad", 1, 5001, "0xff"),
        ("utf-8", b"ab\xe2\x82", 1, 3, "0xe2"),
        ("utf-8", b"ab\xe2\x82 ", 1, 3, "0xe2"),
        ("utf-8", b"\xef\xbb\xbfab\xff", 1, 3, "0xff"),
        ("utf-8", b"a\r\nb\r\xff", 3, 1, "0xff"),
        ("utf-8", "a\n\n日本".encode() + b"\xe9", 3, 3, "0xe9"),
        ("ascii", "abcä".encode(), 1, 4, "0xc3"),
        ("utf-16-le", "a\nb".encode("utf-16-le") + b"\x00\xdc", 2, 2, "0x00"),
        ("unicode_escape", b"a\nb\\xz", 2, 2, "0x5c"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 4, 1 << 18])
def test_undecodable_bytes_are_located(
    tmp_path, monkeypatch, encoding, data, line, column, byte, block_bytes
):
    monkeypatch.setattr(compressed, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "bad.txt"
    path.write_bytes(data)
    message = rf"bad\.txt, line {line}, column {column} is not {encoding} \(byte {byte}\)"
    with pytest.raises(UserError, match=message):
        list(read_text(str(path), encoding))


@pytest.mark.parametrize(
    ("encoding", "data", "message"),
    [
        (
            "utf-8",
            b"PK\x03\x04\x14\x00\x08",
            "not utf-8 text but most likely a ZIP archive .line 1, column 6: a NUL",
        ),
        ("latin-1", b"\x7fELF\x02\x00", "not latin-1 text but most likely a program"),
        ("utf-16-le", b"a\0\0\0", "line 1, column 2 has a NUL byte"),
        ("utf-8", b"a\nb\0c", "line 2, column 2 has a NUL byte"),
        (
            "utf-8",
            gzip.compress(gzip.compress(b"twice", mtime=0), mtime=0),
            "most likely compressed with gzip",
        ),
        ("utf-8", "\ufeffWörter".encode("utf-16-le"), "most likely UTF-16"),
        ("utf-8", "No mark at all".encode("utf-16-be"), "most likely UTF-16"),
        ("utf-8", "漢字".encode("utf-16"), "most likely UTF-16"),
        ("utf-8", "Wörter".encode("utf-32"), "most likely UTF-32"),
    ],
)
def test_binary_files_are_not_text(tmp_path, encoding, data, message):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message):
        list(read_text(str(path), encoding))


def test_json_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        {"body": " one\r\n\r\ntwo ", "n": 1},
        {"body": ""},
        {"body": "drei ü"},
        {"body": "\ud83d\ude00 \ud800"},
    ]
    path.write_text("\ufeff\n" + "\r\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert documents(path, is_json=True, field="body") == ["one\r\n\r\ntwo", "drei ü", "😀 \ufffd"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "open', r"a\.jsonl, line 3.* is not JSON"),
        ("[" * 100_000, r"a\.jsonl, line 3.* is not JSON"),
        ('"text"', r"line 3 is not a JSON object"),
        ('{"title": "x", "body": "y"}', r"line 3 has no field 'text' \(it has 'title', 'body'\)"),
        ("{}", r"it has none"),
        ('{"text": 3}', r"line 3: the field 'text' is not text"),
    ],
)
def test_bad_json_lines_are_located(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n\n' + line + '\n{"text": "never read"}\n')
    reader = file_documents(str(path), is_json=True, separator="line", field="text", encoding="utf-8")
    assert next(reader) == "fine"
    with pytest.raises(UserError, match=message):
        next(reader)
