"""Prepared rows hold all the text, whatever interrupts, repeats or races."""

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import electra_jax
from electra_jax.config.schema import Config
from electra_jax.config.text import TokenizerConfig
from electra_jax.data import prepare as preparing
from electra_jax.data import prepared_rows
from electra_jax.data.sources import is_held_out
from electra_jax.data.sources.text_documents import file_documents
from electra_jax.data.text_counts import TextCounts, count_text
from electra_jax.errors import UserError
from electra_jax.tokenizers import build_tokenizer

LETTERS = "abcdefgh"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS), "."]
SPECIAL = range(5)


def documents_of(number, seed=0):
    """Distinct documents of some sentences each."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 60, number)
    return [" ".join("".join(rng.choice(list(LETTERS), 6)) + "." for _ in range(size)) for size in sizes]


def write_text(path, documents):
    path.write_text("\n\n".join(documents) + "\n")
    return f"text:{path}"


@pytest.fixture
def config(tmp_path):
    """A small corpus, a WordPiece vocabulary that spells it, and a cache of its own."""
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    data = {
        "source": write_text(tmp_path / "text.txt", documents_of(200)),
        "eval_fraction": 0.2,
        "sequence_length": 32,
        "cache_dir": str(tmp_path / "cache"),
        "prepare_processes": 1,
    }
    tokenizer = {"kind": "wordpiece", "vocab_file": str(tmp_path / "vocab.txt")}
    return Config.model_validate({"data": data, "tokenizer": tokenizer})


def changed(config, **data):
    return config.model_copy(update={"data": config.data.model_copy(update=data)})


def prepare(config, **options):
    return preparing.prepare(config.data, config.tokenizer, **options)


def tokens_of(rows):
    """All tokens in the order of the rows, special ones left out."""
    ids = rows.read(np.arange(rows.num_rows))
    return ids[~np.isin(ids, SPECIAL)].tolist()


def joined(lists):
    return list(itertools.chain.from_iterable(lists))


def token_directories(config):
    parent = Path(config.data.cache_dir) / "tokens"
    return sorted(path.name for path in parent.iterdir() if path.name != ".lock") if parent.exists() else []


@pytest.mark.parametrize("packing", ["documents", "segment_pairs", "continuous"])
def test_rows_hold_every_document_in_order(config, packing):
    prepared = prepare(changed(config, packing=packing), progress=False)
    encode = prepared.tokenizer.encode
    documents = documents_of(200)
    for held_out, rows in ((False, prepared.train), (True, prepared.eval)):
        expected = [encode(text) for text in documents if is_held_out(text, 0.2) == held_out]
        assert tokens_of(rows) == joined(expected)
        counts = np.bincount(joined(expected))
        assert rows.most_frequent_token_share == pytest.approx(counts.max() / counts.sum())
    assert prepared.eval.num_rows > 10
    assert token_directories(config) == sorted(
        rows.directory.name for rows in (prepared.train, prepared.eval)
    )


@pytest.mark.parametrize("packing", ["documents", "segment_pairs"])
def test_processes_change_nothing(config, packing, monkeypatch, tmp_path):
    monkeypatch.setattr("electra_jax.data.tokenizing._CHUNK_CHARACTERS", 5000)
    one, three = (
        prepare(
            changed(config, packing=packing, prepare_processes=processes, cache_dir=str(tmp_path / name)),
            progress=False,
        )
        for processes, name in ((1, "one"), (3, "three"))
    )
    assert one.train.fingerprint == three.train.fingerprint
    assert one.eval.fingerprint == three.eval.fingerprint
    np.testing.assert_array_equal(
        one.train.read(np.arange(one.train.num_rows)), three.train.read(np.arange(three.train.num_rows))
    )


def test_cached_rows_are_not_made_again(config, monkeypatch, capfd):
    first = prepare(config, progress=False)
    monkeypatch.setattr(prepared_rows, "_write_rows", lambda *_: pytest.fail("tokenised again"))
    second = prepare(config)
    assert second.train.fingerprint == first.train.fingerprint
    assert "is in the cache" in capfd.readouterr().err
    # What does not decide the tokens does not decide where they are.
    assert prepare(changed(config, prepare_processes=2, prefetch_batches=3), progress=False) is not None


@pytest.mark.parametrize(
    "change", [{"sequence_length": 64}, {"packing": "segment_pairs"}, {"eval_fraction": 0.3}]
)
def test_settings_that_matter_make_new_rows(config, change):
    first, second = prepare(config, progress=False), prepare(changed(config, **change), progress=False)
    assert first.train.directory != second.train.directory
    assert first.train.fingerprint != second.train.fingerprint


def test_changed_text_makes_new_rows(config, tmp_path):
    first = prepare(config, progress=False)
    write_text(tmp_path / "text.txt", documents_of(200, seed=1))
    assert prepare(config, progress=False).train.fingerprint != first.train.fingerprint


def test_eval_source_takes_no_training_text(config, tmp_path, monkeypatch):
    other, another = (
        changed(config, eval_source=write_text(tmp_path / f"{seed}.txt", documents_of(20, seed)))
        for seed in (1, 2)
    )
    prepared = prepare(other, progress=False)
    encode = prepared.tokenizer.encode
    assert tokens_of(prepared.train) == joined(map(encode, documents_of(200)))
    assert tokens_of(prepared.eval) == joined(map(encode, documents_of(20, 1)))
    # Another evaluation text leaves the training rows where they are, and eval_fraction is not used.
    made = []
    original = prepared_rows._write_rows
    monkeypatch.setattr(
        prepared_rows,
        "_write_rows",
        lambda job, source, writers: made.append(source.name) or original(job, source, writers),
    )
    again = prepare(changed(another, eval_fraction=0.4), progress=False)
    assert made == [another.data.eval_source]
    assert again.train.fingerprint == prepared.train.fingerprint


def test_eval_rows_alone(config):
    prepared = prepare(config, progress=False)
    assert (
        preparing.prepare_eval_rows(config.data, prepared.tokenizer, progress=False).directory
        == prepared.eval.directory
    )
    # Nothing but the evaluation rows is made where there is nothing yet.
    fresh = changed(config, sequence_length=16)
    rows = preparing.prepare_eval_rows(fresh.data, prepared.tokenizer, progress=False)
    assert tokens_of(rows) == tokens_of(prepared.eval)
    assert len(token_directories(config)) == 3


def test_sentencepiece_is_trained_on_training_text_and_kept(config, tmp_path, monkeypatch):
    tokenizer = {"kind": "sentencepiece", "vocab_size": 300}
    trained = Config.model_validate({"data": config.data.model_dump(), "tokenizer": tokenizer})
    first = prepare(trained, progress=False)
    assert tokens_of(first.train) == joined(
        first.tokenizer.encode(text) for text in documents_of(200) if not is_held_out(text, 0.2)
    )
    monkeypatch.setattr("electra_jax.data.prepare.build_tokenizer", lambda *_: pytest.fail("trained again"))
    assert prepare(trained, progress=False).tokenizer.fingerprint == first.tokenizer.fingerprint


def test_too_little_text_is_said(config, tmp_path):
    few = changed(config, source=write_text(tmp_path / "few.txt", ["abc. def."]), eval_fraction=0.01)
    with pytest.raises(UserError, match=r"few\.txt is too small .*data\.eval_source, or a larger data\.eval"):
        prepare(few, progress=False)
    with pytest.raises(UserError, match=r"data\.eval_fraction is 0 and data\.eval_source is not set"):
        prepare(changed(config, eval_fraction=0.0), progress=False)
    assert token_directories(config) == []


def test_a_full_disk_leaves_nothing_behind(config, monkeypatch):
    prepare(config, progress=False)
    before = token_directories(config)

    class FullDisk:
        def __init__(self, path, options):
            Path(path).write_bytes(b"some")

        def write(self, record):
            raise RuntimeError("write() failed: No space left on device; writing rows; at byte 0")

        def close(self):
            raise RuntimeError("close() failed: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("electra_jax.data.row_writer.ArrayRecordWriter", FullDisk)
        with pytest.raises(UserError, match=r"cannot write to .*cache/tokens: No space left .*make room"):
            prepare(changed(config, sequence_length=16), progress=False)
    assert token_directories(config) == before
    assert prepare(changed(config, sequence_length=16), progress=False).train.sequence_length == 16


def test_array_record_says_that_the_disk_is_full():
    """The words that FullDisk uses above are those of the library."""
    writer_module = pytest.importorskip("array_record.python.array_record_module")
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    writer = writer_module.ArrayRecordWriter("/dev/full", "group_size:1")

    def fill():
        for _ in range(100):
            writer.write(os.urandom(100_000))
        writer.close()

    with pytest.raises(RuntimeError, match=os.strerror(errno.ENOSPC)):
        fill()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_an_interrupt_leaves_nothing_behind(config, monkeypatch, failure):
    def fail(self, rows):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr("electra_jax.data.row_writer.RowWriter.write", fail)
        with pytest.raises(failure):
            prepare(config, progress=False)
    assert token_directories(config) == []


def test_damaged_rows_are_named(config):
    directory = prepare(config, progress=False).train.directory
    (directory / "manifest.json").write_text("{")
    with pytest.raises(
        UserError, match=rf"{directory.name}/manifest\.json, line 1: not valid JSON .*delete the directory"
    ):
        prepare(config, progress=False)


def command(config, tmp_path, *overrides):
    file = tmp_path / "config.json"  # JSON is YAML
    file.write_text(json.dumps(config.model_dump()))
    environment = {**os.environ, "PYTHONPATH": str(Path(electra_jax.__file__).parents[1])}
    arguments = [sys.executable, "-m", "electra_jax.prepare", "--config", str(file), *overrides]
    return subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def start_and_stop(config, tmp_path, number):
    """Runs the command and sends it a signal as soon as it writes rows; returns its exit status."""
    process = command(config, tmp_path)
    tokens = Path(config.data.cache_dir) / "tokens"
    deadline = time.monotonic() + 60
    while not any(tokens.glob(".*/*.array_record")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate()  # returns only when the workers, which share stderr, have ended too
    return process.returncode


@pytest.fixture
def large(config, tmp_path):
    source = write_text(tmp_path / "large.txt", documents_of(200) * 50)
    return changed(config, source=source, prepare_processes=2)


def test_ctrl_c_midway_leaves_nothing(large, tmp_path):
    assert start_and_stop(large, tmp_path, signal.SIGINT) == 130
    assert token_directories(large) == []


def test_killed_midway_and_run_again(large, tmp_path):
    assert start_and_stop(large, tmp_path, signal.SIGKILL) == -signal.SIGKILL
    left = token_directories(large)
    assert left
    assert all(name.startswith(".") for name in left)

    rerun = command(large, tmp_path)
    output, errors = rerun.communicate()
    assert rerun.returncode == 0, errors
    prepared = prepare(large, progress=False)
    assert str(prepared.train.directory) in output
    assert len(token_directories(large)) == 2
    one_process = prepare(
        changed(large, prepare_processes=1, cache_dir=str(tmp_path / "other")), progress=False
    )
    assert one_process.train.fingerprint == prepared.train.fingerprint


def test_two_at_once_both_end_well(config, tmp_path):
    both = [command(config, tmp_path) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert len(token_directories(config)) == 2


def test_command_line_says_mistakes_in_one_line(config, tmp_path):
    process = command(config, tmp_path, "data.source=text:missing-*.txt")
    _, errors = process.communicate()
    assert process.returncode == 2
    assert errors.startswith("error: ")
    assert len(errors.splitlines()) == 1


def read_only(monkeypatch, folder):
    """As a disk mounted read-only, for root too: nothing below ``folder`` is made, changed or opened for writing."""

    def guard(owner, name, is_written=lambda *arguments: True):
        original = getattr(owner, name)

        def guarded(path, *arguments, **options):
            if str(path).startswith(str(folder)) and is_written(*arguments, *options.values()):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return original(path, *arguments, **options)

        monkeypatch.setattr(owner, name, guarded)

    guard(os, "mkdir")
    guard(os, "open", lambda flags, *_: flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    guard(Path, "mkdir")
    guard(Path, "touch")
    guard(Path, "rename")
    guard(Path, "write_bytes")
    guard(Path, "write_text")


@pytest.mark.parametrize("kind", ["wordpiece", "sentencepiece"])
def test_a_whole_cache_on_a_read_only_disk_is_enough(config, tmp_path, monkeypatch, kind):
    if kind == "sentencepiece":
        tokenizer = {"kind": "sentencepiece", "vocab_size": 300}
        config = Config.model_validate({"data": config.data.model_dump(), "tokenizer": tokenizer})
    first = prepare(config, progress=False)
    with monkeypatch.context() as patch:
        read_only(patch, config.data.cache_dir)
        assert prepare(config, progress=False).train.fingerprint == first.train.fingerprint
        os.utime(tmp_path / "text.txt", ns=(0, 0))  # a copy of the text: its hash is not remembered
        assert prepare(config, progress=False).train.fingerprint == first.train.fingerprint
        with pytest.raises(UserError, match=r"cannot write to .*tokens: Read-only file system"):
            prepare(changed(config, sequence_length=16), progress=False)


def test_what_cleaning_changes_is_said_each_time(config, capfd):
    stripping = config.tokenizer.model_copy(update={"strip_accents": True})
    accented = config.model_copy(update={"tokenizer": stripping})
    write_text(Path(config.data.source.removeprefix("text:")), [f"{text} é É" for text in documents_of(50)])
    for _ in range(2):
        prepare(accented)
        said = capfd.readouterr().err
        assert "prepare: cleaning changes " in said
        assert "prepare: note: more than case is lost in Latin (" in said


@pytest.mark.parametrize("processes", [1, 2])
def test_rows_for_language_models_count_their_text(config, processes, capsys):
    text = " One line é\n\n  and another.\n" * 40
    path = Path(config.data.source.removeprefix("text:"))
    path.write_text(text, encoding="utf-8")
    whole = {"packing": "continuous", "document_separator": "file", "prepare_processes": processes}
    characters = config.model_copy(update={"tokenizer": TokenizerConfig(kind="characters", lowercase=False)})
    prepared = prepare(changed(characters, **whole), progress=False)
    middle = int(len(text) * 0.8)
    for rows, part in ((prepared.train, text[:middle]), (prepared.eval, text[middle:])):
        words = len(part.split()) + part.count("\n")
        assert rows.text_counts == TextCounts(len(part.encode()), words, 0)
        ids = rows.read(np.arange(rows.num_rows))
        assert prepared.tokenizer.detokenize(ids.ravel()) == part
    lossy = prepare(changed(config, **whole))
    assert lossy.eval.text_counts.changed_documents == 1
    assert "since the tokens of 1 of its documents do not give" in (said := capsys.readouterr().err)
    assert "the tokenizer does not keep capitals, line ends, where blanks" in said
    plain = changed(config, eval_source=config.data.source)
    assert prepare(plain, progress=False).eval.text_counts is None


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("part", "words", "num_bytes"), [("valid", 217_646, 1_146_846), ("test", 245_569, 1_290_590)]
)
def test_wikitext2_has_the_words_and_bytes_of_the_papers(shared, part, words, num_bytes):
    (text,) = file_documents(
        str(shared / "data" / "text" / f"wikitext2.{part}.raw"),
        is_json=False, separator="file", field="", encoding="utf-8",
    )  # fmt: skip
    characters = build_tokenizer(TokenizerConfig(kind="characters", lowercase=False), lambda: iter([text]))
    assert count_text(characters, text, characters.encode(text)) == (num_bytes, words, 0)
