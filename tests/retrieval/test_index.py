"""An index on disk: it appears whole or not at all, is read back lazily, and damage is one sentence."""

import errno
import json
import os

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.retrieval.candidates import Candidate
from electra_jax.retrieval.index import Description, check_new, new_vectors, open_index

CANDIDATES = [Candidate("a", "one"), Candidate(7, "zwei\nZeilen é"), Candidate(None, "three")]
DESCRIPTION = Description("hash", "reply", "bi", 3, 2)


@pytest.fixture
def built(tmp_path):
    with new_vectors(tmp_path / "index", CANDIDATES, DESCRIPTION) as vectors:
        vectors[:] = np.arange(6).reshape(3, 2)
    return tmp_path / "index"


def test_what_was_written_is_read(built):
    index = open_index(built)
    assert index.description == DESCRIPTION
    assert list(index.candidates) == CANDIDATES
    assert index.candidates[-1] == CANDIDATES[2]
    assert index.candidates[:2] == CANDIDATES[:2]
    assert isinstance(index.vectors, np.memmap)
    assert index.vectors.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert repr(index).startswith("<CandidateIndex of 3 candidates, vectors of 2 by the task reply; from /")
    with pytest.raises(UserError, match="exists already"):
        check_new(built)


def test_nothing_is_left_of_one_that_failed(tmp_path):
    with pytest.raises(RuntimeError), new_vectors(tmp_path / "index", CANDIDATES, DESCRIPTION):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda i: (i / "index.json").unlink(), "holds no index: build one with"),
        (lambda i: (i / "index.json").write_text('{"version": 9}'), "of another version of electra_jax"),
        (lambda i: (i / "index.json").write_text('{"version": 1}'), "is not what was written there"),
        (lambda i: (i / "vectors.npy").write_bytes(b"x"), "vectors.npy is missing or damaged"),
        (
            lambda i: np.save(i / "vectors.npy", np.zeros((2, 2), np.float32)),
            "has files of different indexes",
        ),
        (lambda i: (i / "candidates.jsonl").write_text("x"), "candidates.jsonl or offsets.npy beside it"),
        (lambda i: (i / "offsets.npy").unlink(), "candidates.jsonl or offsets.npy beside it"),
    ],
)
def test_a_damaged_index_is_one_sentence(damage, message, built):
    damage(built)
    with pytest.raises(UserError, match=message):
        open_index(built)


def test_a_damaged_line_is_found_when_it_is_read(built):
    lines = (built / "candidates.jsonl").read_bytes()
    (built / "candidates.jsonl").write_bytes(b"[" + lines[1:])
    index = open_index(built)
    assert index.candidates[1].text == json.loads(lines.splitlines()[1])["text"]
    with pytest.raises(UserError, match="missing or damaged: build the index again"):
        index.candidates[0]


def test_a_disk_without_room_is_found_before_anything_is_written_into_the_vectors(tmp_path, monkeypatch):
    """Where they are a file with holes, the process would end at the first page that has no room."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"), new_vectors(tmp_path / "x", CANDIDATES, DESCRIPTION):
        pytest.fail("vectors are made")
    assert list(tmp_path.iterdir()) == []
