"""Tokenizers on disk: whole or not at all, and never silently altered."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from electra_jax.errors import UserError
from electra_jax.tokenizers import load_tokenizer, storage
from electra_jax.tokenizers.normalize import RULES, BertNormalizer, PlainNormalizer

FILES = {"wordpiece": "vocab.txt", "unigram": "sentencepiece.model"}


@pytest.fixture(params=FILES)
def saved(request, make, tmp_path):
    """(tokenizer, directory, name of its file)."""
    tokenizer = make(request.param)
    tokenizer.save(tmp_path / "made" / "tokenizer")
    return tokenizer, tmp_path / "made" / "tokenizer", FILES[request.param]


def test_the_description_says_what_is_there(saved):
    tokenizer, directory, name = saved
    assert {path.name for path in directory.iterdir()} == {name, "tokenizer.json"}
    assert [path.name for path in directory.parent.iterdir()] == ["tokenizer"]
    description = json.loads((directory / "tokenizer.json").read_text())
    assert description == {
        "kind": tokenizer.kind,
        "options": {"lowercase": True, "strip_accents": False},
        "rules": RULES,
        "unicode": "14.0.0",
        "file": name,
        "sha256": hashlib.sha256((directory / name).read_bytes()).hexdigest(),
        "fingerprint": tokenizer.fingerprint,
    }


def test_an_altered_file_is_a_user_error(saved):
    _, directory, name = saved
    content = bytearray((directory / name).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} is not what was saved"):
        load_tokenizer(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": {"lowercase": False, "strip_accents": False}}, r"tokenizer\.json is not what was saved"),
        ({"kind": "other"}, r"tokenizer\.json is not what was saved"),
        ({"fingerprint": "0" * 64}, r"tokenizer\.json is not what was saved"),
        ({"rules": RULES + 1}, "by other rules"),
        ({"unicode": "16.0.0"}, r"by other rules \(1 with Unicode 16\.0\.0, here 1 with 14\.0\.0\)"),
        ({"options": 5}, "cannot be read"),
        ({"file": "missing"}, "cannot be read"),
    ],
)
def test_an_altered_description_is_a_user_error(saved, change, message):
    _, directory, _ = saved
    path = directory / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=message):
        load_tokenizer(directory)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"file": "../x", "kind": ""}'])
def test_an_unreadable_description_is_a_user_error(saved, content):
    _, directory, _ = saved
    (directory / "tokenizer.json").write_bytes(content)
    with pytest.raises(UserError, match=f"{directory}.*: restore it from a copy, or delete the directory"):
        load_tokenizer(directory)


def test_no_tokenizer_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"does not hold a tokenizer: it has no tokenizer\.json"):
        load_tokenizer(tmp_path / "nothing")


def test_saving_again_changes_nothing_and_another_is_refused(saved, make):
    tokenizer, directory, name = saved
    before = (directory / name).stat().st_mtime_ns
    tokenizer.save(directory)
    assert (directory / name).stat().st_mtime_ns == before
    with pytest.raises(UserError, match="holds another tokenizer"):
        make("bpe").save(directory)
    assert load_tokenizer(directory).fingerprint == tokenizer.fingerprint


def test_many_may_save_at_once(make, tmp_path):
    tokenizer = make("unigram")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: tokenizer.save(tmp_path / "saved"), range(32)))
    assert load_tokenizer(tmp_path / "saved").fingerprint == tokenizer.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_a_failed_save_leaves_nothing(make, tmp_path, monkeypatch):
    write = Path.write_bytes

    def fail_at_the_second(path, content):
        if path.name == storage.DESCRIPTION:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fail_at_the_second)
    with pytest.raises(UserError, match=r"cannot write the tokenizer to .*saved: No space left on device"):
        make("unigram").save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", [False, True])
def test_a_place_that_cannot_be_written_is_a_user_error(make, tmp_path, below):
    (tmp_path / "taken").write_text("something else")
    place = tmp_path / "taken" / "saved" if below else tmp_path / "taken"
    with pytest.raises(UserError, match="cannot write the tokenizer"):
        make("wordpiece").save(place)
    assert (tmp_path / "taken").read_text() == "something else"


def test_a_directory_with_other_files_is_kept(make, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="cannot write the tokenizer"):
        make("wordpiece").save(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_rules_number_the_normalisers():
    """If this fails on purpose, raise `RULES`, so that old tokens are not mixed with new ones."""
    text = "École İSTANBUL ℃ ½ ´ ΣΑΣ ﬁn e\u0301 \u200b\0 日本 가 ▁ ¿que? «x» A\u0323\u0301 \ufdfa ﾊﾟ \ud800"
    outputs = [
        normalizer(lowercase=lowercase, strip_accents=strip_accents)(text)
        for normalizer in (PlainNormalizer, BertNormalizer)
        for lowercase in (True, False)
        for strip_accents in (True, False)
    ]
    digest = hashlib.sha256("\n".join(outputs).encode()).hexdigest()[:16]
    assert (RULES, digest) == (1, "963113b5d055d82a")
