"""What is written is what is read, and damage is said, not read."""

import json

import numpy as np
import pytest

from electra_jax.data.row_writer import RowWriter
from electra_jax.data.token_rows import TokenRows
from electra_jax.errors import UserError

LENGTH = 24


def write_rows(directory, rows, *, vocab_size=1000, shard_bytes=2**20, pieces=7):
    directory.mkdir()
    options = {
        "pad_id": 0,
        "unk_id": 1,
        "cls_id": 2,
        "special_ids": (0, 1, 2, 3, 4),
        "shard_bytes": shard_bytes,
    }
    with RowWriter(directory, rows.shape[1], vocab_size=vocab_size, **options) as writer:
        for part in np.array_split(rows, pieces):
            writer.write(part)
        writer.finish({"note": "kept"})
    return TokenRows.open(directory)


def random_rows(number, length=LENGTH, vocab_size=1000):
    return np.random.default_rng(number).integers(0, vocab_size, (number, length), np.int32)


@pytest.mark.parametrize("number", [1, 31, 32, 33, 5003])
@pytest.mark.parametrize("vocab_size", [1000, 65_536, 65_537])
def test_round_trip_over_several_shards(tmp_path, number, vocab_size):
    rows = random_rows(number, vocab_size=vocab_size)
    opened = write_rows(tmp_path / "rows", rows, vocab_size=vocab_size, shard_bytes=50_000)
    assert (len(opened.manifest.shards) > 1) == (number > 1000)
    assert opened.manifest.dtype == ("<u4" if vocab_size > 65_536 else "<u2")
    order = np.random.default_rng(0).integers(0, number, 700)
    result = opened.read(order)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, rows[order])


@pytest.mark.parametrize("length", [8, 512, 1024, 40_000])
def test_long_rows_share_blocks_with_fewer(tmp_path, length):
    rows = random_rows(70, length)
    opened = write_rows(tmp_path / "rows", rows)
    assert opened.rows_per_block == max(1, min(32, 16_384 // length))
    np.testing.assert_array_equal(opened.read(np.arange(70)), rows)


def test_manifest_counts(tmp_path):
    rows = np.array([[2, 7, 7, 8, 3, 0], [2, 7, 1, 9, 3, 0]])
    opened = write_rows(tmp_path / "rows", rows, pieces=1)
    assert (opened.num_rows, opened.sequence_length, opened.num_tokens) == (2, 6, 10)
    assert opened.most_frequent_token_share == 3 / 5  # 7 7 8 7 9
    assert opened.manifest.unknown_token_share == 1 / 10
    assert opened.num_targets == 8  # all but [CLS]
    assert opened.manifest.padding_share == pytest.approx(2 / 12)
    assert json.loads((tmp_path / "rows" / "manifest.json").read_text())["note"] == "kept"


def test_fingerprint_is_of_the_rows_and_not_of_how_they_came(tmp_path):
    rows = random_rows(3000)
    first = write_rows(tmp_path / "a", rows)
    second = write_rows(tmp_path / "b", rows, shard_bytes=30_000, pieces=13)
    assert first.fingerprint == second.fingerprint
    rows[1234, 5] ^= 1
    assert write_rows(tmp_path / "c", rows).fingerprint != first.fingerprint


def test_blocks_stay_bounded_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("electra_jax.data.token_rows._CACHED_BLOCKS", 5)
    rows = random_rows(2000)
    opened = write_rows(tmp_path / "rows", rows)
    np.testing.assert_array_equal(opened.read(np.arange(2000)[::-1]), rows[::-1])
    assert len(opened._blocks) == 5


def test_rows_out_of_range(tmp_path):
    opened = write_rows(tmp_path / "rows", random_rows(10))
    for rows in ([10], [-1], [0, 11]):
        with pytest.raises(IndexError):
            opened.read(np.array(rows))


def test_truncated_shard(tmp_path):
    write_rows(tmp_path / "rows", random_rows(4000), shard_bytes=50_000)
    shard = sorted((tmp_path / "rows").glob("*.array_record"))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"{shard.name} is damaged .*bytes.*delete the directory"):
        TokenRows.open(tmp_path / "rows")


def test_missing_shard(tmp_path):
    write_rows(tmp_path / "rows", random_rows(100))
    (tmp_path / "rows" / "rows-00000.array_record").unlink()
    with pytest.raises(UserError, match=r"rows-00000\.array_record is damaged .*No such file"):
        TokenRows.open(tmp_path / "rows")


def test_flipped_bytes_are_found_when_read(tmp_path):
    write_rows(tmp_path / "rows", random_rows(4000))
    shard = tmp_path / "rows" / "rows-00000.array_record"
    content = bytearray(shard.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = bytes(byte ^ 255 for byte in content[middle : middle + 20])
    shard.write_bytes(content)
    opened = TokenRows.open(tmp_path / "rows")
    with pytest.raises(UserError, match=r"rows-00000\.array_record is damaged .*delete the directory"):
        opened.read(np.arange(4000))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"num_rows": 3}', None, b"\xff\xfe"])
def test_damaged_manifest(tmp_path, content):
    write_rows(tmp_path / "rows", random_rows(10))
    manifest = tmp_path / "rows" / "manifest.json"
    if content is None:
        manifest.unlink()
    elif isinstance(content, bytes):
        manifest.write_bytes(content)
    else:
        manifest.write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json.*: delete the directory .* and run again"):
        TokenRows.open(tmp_path / "rows")
