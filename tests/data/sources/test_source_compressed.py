import bz2
import gzip
import io
import lzma
import os
import struct
import sys
import tracemalloc

import pytest
import zstandard

from electra_jax.data.sources.compressed import BLOCK_BYTES, read_blocks, split_extension
from electra_jax.errors import UserError

DATA = b"".join(b"line %d of the text\n" % number for number in range(60_000))


def zstd_frames(data: bytes) -> bytes:
    """Two frames, the second without its size in the header, as `cat` and streaming writers make them."""
    middle = len(data) // 2
    stream = zstandard.ZstdCompressor().compressobj()
    return zstandard.compress(data[:middle]) + stream.compress(data[middle:]) + stream.flush()


COMPRESS = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
    ".xz": lambda data: lzma.compress(data[:1000]) + lzma.compress(data[1000:]),
    ".zst": zstd_frames,
    ".bz2": lambda data: bz2.compress(data[:1000]) + bz2.compress(data[1000:]),
}


@pytest.mark.parametrize("compression", COMPRESS)
def test_reads_what_was_written_in_equal_blocks(tmp_path, compression):
    path = tmp_path / f"a.txt{compression}"
    path.write_bytes(COMPRESS[compression](DATA))
    blocks = list(read_blocks(str(path)))
    assert b"".join(blocks) == DATA
    assert {len(block) for block in blocks[:-1]} == {BLOCK_BYTES}


@pytest.mark.parametrize("compression", [".gz", ".xz", ".zst", ".bz2"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "followed"])
def test_damaged_streams_name_the_file(tmp_path, compression, damage):
    # What follows a change is noticed by checksums, of which Zstandard has none here, or in the next block.
    whole = COMPRESS[compression](DATA if compression == ".zst" else DATA[:200_000])
    middle = len(whole) * 3 // 4
    damaged = {
        "cut": whole[:middle],
        "flipped": whole[:middle]
        + bytes(byte ^ 0xFF for byte in whole[middle : middle + 64])
        + whole[middle + 64 :],
        "followed": whole + b"by something else",
    }[damage]
    path = tmp_path / f"a.txt{compression}"
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=rf"a\.txt\{compression} is damaged or incomplete"):
        list(read_blocks(str(path)))


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("named", COMPRESS)
def test_compression_is_recognised_by_content_whatever_the_name(tmp_path, compression, named):
    path = tmp_path / f"a.txt{named}"
    path.write_bytes(COMPRESS[compression](DATA[:3000]) + (b"\0" * 99 if compression else b""))
    assert b"".join(read_blocks(str(path))) == DATA[:3000]
    stream = io.BytesIO(path.read_bytes())
    assert b"".join(read_blocks(stream)) == DATA[:3000]
    assert not stream.closed


@pytest.mark.parametrize("compression", [".gz", ".xz", ".zst", ".bz2"])
def test_a_name_decides_about_a_file_cut_off_in_its_first_bytes(tmp_path, compression):
    for kept in range(1, 10):
        path = tmp_path / f"a.txt{compression}"
        path.write_bytes(COMPRESS[compression](DATA[:99])[:kept])
        with pytest.raises(UserError, match="damaged or incomplete"):
            list(read_blocks(str(path)))
    path.write_bytes(b"")
    assert list(read_blocks(str(path))) == []


def test_text_that_begins_like_bzip2_is_text():
    assert b"".join(read_blocks(io.BytesIO(b"BZh9 is a name"))) == b"BZh9 is a name"


def test_frames_to_skip_are_skipped():
    skipped = struct.pack("<II", 0x184D2A5F, 4) + b"abcd"
    assert b"".join(read_blocks(io.BytesIO(skipped + zstd_frames(DATA[:99]) + skipped))) == DATA[:99]


@pytest.mark.parametrize("compression", [".gz", ".xz", ".zst", ".bz2"])
def test_what_expands_a_thousandfold_is_read_in_little_memory(compression):
    """A hundred megabytes of one byte; Zstandard gets 16 MB at once out of half a kilobyte."""
    stream = io.BytesIO(COMPRESS[compression](bytes(100_000_000)))
    assert len(stream.getvalue()) < 120_000
    tracemalloc.start()
    try:
        assert sum(map(len, read_blocks(stream))) == 100_000_000
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("loop", tmp_path / "loop")
    for path, message in (
        (tmp_path, "it is a directory"),
        (tmp_path / "pipe", "it is a pipe"),
        ("/dev/zero", "it is a device"),
        (tmp_path / "loop", "Too many levels"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "a\0b", "NUL byte"),
    ):
        with pytest.raises(UserError, match=rf"cannot be read: {message}|{message}"):
            next(read_blocks(str(path)))


def test_what_a_shell_hands_over_is_read():
    reading, writing = os.pipe()
    os.write(writing, b"handed over")
    os.close(writing)
    assert b"".join(read_blocks(f"/dev/fd/{reading}")) == b"handed over"
    os.close(reading)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        list(read_blocks(str(tmp_path / "none.txt")))


def test_missing_zstandard_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "a.zst"
    path.write_bytes(zstd_frames(DATA))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UserError, match="pip install zstandard"):
        list(read_blocks(str(path)))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.txt", (".txt", "")),
        ("a/B.JSONL.ZST", (".jsonl", ".zst")),
        ("a.b/c.raw.gz", (".raw", ".gz")),
        ("a.b/c", ("", "")),
        ("c.xz", ("", ".xz")),
        ("c.tsv.bz2", (".tsv", ".bz2")),
        ("c.jsonl.gzip", (".jsonl", ".gz")),
        ("c.jsonl.zstd", (".jsonl", ".zst")),
    ],
)
def test_extensions(path, expected):
    assert split_extension(path) == expected
