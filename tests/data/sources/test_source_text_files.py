import gzip
import json
import lzma
import os
import pickle
import tracemalloc

import pytest
import zstandard

from electra_jax.config.text import DataConfig
from electra_jax.data.sources import fingerprints, open_source
from electra_jax.errors import UserError

PROSE = "One line.\nAnother.\n\nSecond document.\n"


@pytest.fixture
def config(tmp_path):
    return DataConfig(cache_dir=str(tmp_path / "cache"))


def test_files_are_read_in_the_order_of_their_names(tmp_path, config):
    for name in ("b/2.txt", "a.txt", "b/10.txt", "b/c/d.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"I am {name}.")
    source = open_source(f"text:{tmp_path}/**/*.txt", config)
    assert list(source.documents()) == ["I am a.txt.", "I am b/10.txt.", "I am b/2.txt.", "I am b/c/d.txt."]
    assert list(source.documents()) == list(source.documents())
    assert source.num_documents is None
    assert source.name == f"text:{tmp_path}/**/*.txt"


def test_every_format_gives_the_same_documents(tmp_path, config):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in ("One line.\nAnother.", "Second document."))
    compress = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}
    for extension, content in ((".txt", PROSE), (".raw", PROSE), ("", PROSE), (".jsonl", lines)):
        for compression, function in compress.items():
            path = tmp_path / f"corpus{extension}{compression}"
            path.write_bytes(function(content.encode()))
            documents = list(open_source(f"text:{path}", config).documents())
            assert documents == ["One line.\nAnother.", "Second document."], path.name


def test_home_is_expanded(tmp_path, monkeypatch, config):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text(PROSE)
    assert len(list(open_source("text:~/a.txt", config).documents())) == 2


def test_a_path_that_exists_is_not_a_pattern(tmp_path, config):
    (tmp_path / "a[1].txt").write_text(PROSE)
    assert len(list(open_source(f"text:{tmp_path}/a[1].txt", config).documents())) == 2


def test_folders_of_just_that_name_are_meant_where_the_pattern_matches_nothing(tmp_path, config):
    for folder in ("run[1]", "run2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(f"text of {folder}")
    source = open_source(f"text:{tmp_path}/run[1]/*.txt", config)
    assert list(source.documents()) == ["text of run[1]"]
    source = open_source(f"text:{tmp_path}/run[2]/*.txt", config)  # a pattern that matches stays one
    assert list(source.documents()) == ["text of run2"]
    with pytest.raises(UserError, match=r"\[\[\], \[\*\] and \[\?\] stand for a bracket"):
        open_source(f"text:{tmp_path}/run[3]/*.txt", config)


def test_empty_files_among_others_are_passed_over(tmp_path, config):
    (tmp_path / "0.txt").write_text("")
    (tmp_path / "1.txt").write_text(" \n\n\n")
    (tmp_path / "2.txt").write_text("text")
    assert list(open_source(f"text:{tmp_path}/*.txt", config).documents()) == ["text"]


@pytest.mark.parametrize(
    ("pattern", "settings", "message"),
    [
        ("", {}, "text: names no file"),
        ("*.none", {}, "matches no file"),
        (".", {}, "is a folder"),
        ("empty*.txt", {}, "the 2 files are empty"),
        ("empty1.txt", {}, "the file is empty"),
        ("binary.txt", {}, "is not utf-8 text but most likely a picture"),
        ("latin.txt", {}, r"latin\.txt, line 1, column 2 is not utf-8"),
        ("good.txt", {"encoding": "utf-9"}, "data.encoding 'utf-9'"),
        ("good.txt", {"encoding": "rot13"}, "data.encoding 'rot13'"),
        ("good.txt", {"encoding": "a\0b"}, "data.encoding"),
        ("good.jsonl", {"text_field": "body"}, r"line 1 has no field 'body' \(it has 'text'\)"),
        ("cut.txt.gz", {}, "damaged or incomplete"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(tmp_path, pattern, settings, message):
    data = tmp_path / "data"
    data.mkdir()
    (data / "empty1.txt").write_text("")
    (data / "empty2.txt").write_text("\n \n")
    (data / "binary.txt").write_bytes(b"\x89PNG\0\0")
    (data / "latin.txt").write_bytes("für".encode("latin-1"))
    (data / "good.txt").write_text(PROSE)
    (data / "good.jsonl").write_text('{"text": "yes"}')
    (data / "cut.txt.gz").write_bytes(gzip.compress(PROSE.encode())[:-12])
    config = DataConfig(cache_dir=str(tmp_path / "cache"), **settings)
    with pytest.raises(UserError, match=message):
        open_source(f"text:{data}/{pattern}" if pattern else "text:", config)
    assert not (tmp_path / "cache").exists()


def test_fingerprint_is_of_the_text_and_how_it_is_read(tmp_path):
    def fingerprint(path, **settings):
        return open_source(
            f"text:{path}", DataConfig(cache_dir=str(tmp_path / "cache"), **settings)
        ).fingerprint

    first, copy, other, lines = (tmp_path / name for name in ("a.txt", "copy.txt", "other.txt", "b.jsonl"))
    first.write_text(PROSE)
    copy.write_text(PROSE)
    other.write_text(PROSE.replace("One", "Two"))
    lines.write_text('{"text": "x", "body": "y"}')
    assert fingerprint(first) == fingerprint(copy)
    different = [
        fingerprint(first),
        fingerprint(other),
        fingerprint(first, document_separator="line"),
        fingerprint(first, encoding="latin-1"),
        fingerprint(f"{tmp_path}/*.txt"),
        fingerprint(lines),
        fingerprint(lines, text_field="body"),
    ]
    assert len(set(different)) == len(different)


def test_fingerprint_is_remembered_until_the_file_changes(tmp_path, monkeypatch, config):
    path = tmp_path / "a.txt"
    path.write_text(PROSE)
    before = open_source(f"text:{path}", config).fingerprint

    def refuse(*_):
        raise AssertionError("hashed again")

    with monkeypatch.context() as patch:
        patch.setattr(fingerprints, "_hash_and_cache", refuse)
        assert open_source(f"text:{path}", config).fingerprint == before
    stat = path.stat()
    path.write_text(PROSE.replace("One", "Two"))  # Of the same size.
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert open_source(f"text:{path}", config).fingerprint != before


@pytest.mark.parametrize("entry", ["", "{", "[]", "{}", '{"size": 1}'])
def test_damaged_memory_of_fingerprints_is_replaced(tmp_path, config, entry):
    path = tmp_path / "a.txt"
    path.write_text(PROSE)
    before = open_source(f"text:{path}", config).fingerprint
    (remembered,) = (tmp_path / "cache" / "fingerprints").iterdir()
    good = remembered.read_text()
    remembered.write_text(entry)
    assert open_source(f"text:{path}", config).fingerprint == before
    assert remembered.read_text() == good


def test_hashes_need_no_cache_that_can_be_written(tmp_path, config):
    (tmp_path / "a.txt").write_text(PROSE)
    (tmp_path / "file").write_text("in the way")
    source = open_source(f"text:{tmp_path}/a.txt", DataConfig(cache_dir=str(tmp_path / "file")))
    assert source.fingerprint == open_source(f"text:{tmp_path}/a.txt", config).fingerprint


def test_source_travels_to_another_process(tmp_path, config):
    (tmp_path / "a.txt").write_text(PROSE)
    source = open_source(f"text:{tmp_path}/a.txt", config)
    again = pickle.loads(pickle.dumps(source))
    assert again == source
    assert list(again.documents()) == list(source.documents())


@pytest.mark.parametrize("extension", [".txt", ".txt.xz"])
def test_memory_does_not_grow_with_the_file(tmp_path, config, extension):
    content = ("A line of text that is repeated.\n" * 50 + "\n") * 12_000  # 20 MB
    path = tmp_path / f"a{extension}"
    path.write_bytes(
        lzma.compress(content.encode(), preset=0) if extension.endswith("xz") else content.encode()
    )
    del content
    source = open_source(f"text:{path}", config)
    tracemalloc.start()
    try:
        assert sum(1 for _ in source.documents()) == 12_000
        assert tracemalloc.get_traced_memory()[1] < 6 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.shared_data
def test_wikipedia_has_the_documents_its_makers_counted(shared, config):
    source = open_source(f"text:{shared}/data/text/simplewiki.valid.txt", config)
    assert sum(1 for _ in source.documents()) == 1383


def test_all_files_that_cannot_be_read_are_in_one_message(tmp_path, config):
    """Up to ten of them, and how many more; wherever in a small file the mistake is."""
    for number in range(3):
        (tmp_path / f"good{number}.jsonl").write_text('{"text": "fine"}\n' * 3)
    for number in range(13):
        (tmp_path / f"bad{number:02}.jsonl").write_text('{"text": "fine"}\n' * number + "{'text'}\n")
    with pytest.raises(UserError) as caught:
        open_source(f"text:{tmp_path}/*.jsonl", config)
    message = str(caught.value)
    assert message.startswith("13 files cannot be read: ")
    assert message.endswith("; and 3 more")
    for number in range(10):
        assert f"bad{number:02}.jsonl, line {number + 1}, column 2 is not JSON" in message
    assert message.count("bad") == 10
    assert not (tmp_path / "cache").exists()


def test_what_matches_and_is_no_file_says_what_it_is(tmp_path, config):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(UserError, match=r"pipe\.txt is a pipe, which can be read only once"):
        open_source(f"text:{tmp_path}/pipe.txt", config)


def test_what_a_shell_hands_over_is_no_source(config):
    """`text:<(zcat a.gz)`: the second time it is read there is nothing in it."""
    reading, writing = os.pipe()
    os.write(writing, b"some text\n")
    os.close(writing)
    try:
        with pytest.raises(
            UserError,
            match=rf"^/dev/fd/{reading} is a pipe, which can be read only once: write it to a file "
            r"\(compressed ones are read as they are\)\.$",
        ):
            open_source(f"text:/dev/fd/{reading}", config)
    finally:
        os.close(reading)


def test_matches_that_cannot_be_read_are_not_left_out(tmp_path, config):
    (tmp_path / "a.txt").write_text("some text")
    (tmp_path / "b.txt").symlink_to(tmp_path / "moved away")
    (tmp_path / "c.txt").mkdir()
    with pytest.raises(UserError, match=r"b\.txt cannot be read: No such file"):
        open_source(f"text:{tmp_path}/*.txt", config)
    (tmp_path / "b.txt").unlink()
    assert list(open_source(f"text:{tmp_path}/*.txt", config).documents()) == ["some text"]
