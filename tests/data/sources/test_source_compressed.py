import gzip
import lzma
import sys

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
}


@pytest.mark.parametrize("compression", COMPRESS)
def test_reads_what_was_written_in_equal_blocks(tmp_path, compression):
    path = tmp_path / f"a.txt{compression}"
    path.write_bytes(COMPRESS[compression](DATA))
    blocks = list(read_blocks(str(path)))
    assert b"".join(blocks) == DATA
    assert {len(block) for block in blocks[:-1]} == {BLOCK_BYTES}


@pytest.mark.parametrize("compression", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "not at all"])
def test_damaged_streams_name_the_file(tmp_path, compression, damage):
    whole = COMPRESS[compression](DATA)
    middle = len(whole) * 3 // 4
    damaged = {
        "cut": whole[:middle],
        "flipped": whole[:middle]
        + bytes(byte ^ 0xFF for byte in whole[middle : middle + 64])
        + whole[middle + 64 :],
        "not at all": b"this was never compressed, whatever its name says\n" * 10,
    }[damage]
    path = tmp_path / f"a.txt{compression}"
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=rf"a\.txt\{compression} is damaged or incomplete"):
        list(read_blocks(str(path)))


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
    ],
)
def test_extensions(path, expected):
    assert split_extension(path) == expected
