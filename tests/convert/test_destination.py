"""A destination appears whole or not at all, and nothing is replaced that a conversion did not write."""

import errno
import os
from pathlib import Path

import pytest

from electra_jax.convert import destination
from electra_jax.convert.destination import check_destination, new_destination
from electra_jax.errors import UserError

CONVERTED = {
    "ours": ("checkpoints/0/params/x", "config.yaml", "tokenizer/vocab.txt", "tokenizer/tokenizer.json"),
    "ours, without a vocabulary": ("checkpoints/0/params/x", "config.yaml"),
    "Hugging Face": ("discriminator/config.json", "generator/config.json"),
    "a fine-tuned one of ours": ("checkpoints/0/params/x", "config.yaml", "tasks.json"),
    "fine-tuned, of Hugging Face": ("mrpc/config.json", "mrpc/model.safetensors"),
    "sentence-transformers": (
        *("1_Pooling/config.json", "config.json", "config_sentence_transformers.json", "model.safetensors"),
        *("modules.json", "sentence_bert_config.json", "vocab.txt"),
    ),
    "TensorFlow": ("checkpoint", "model.ckpt-3.index", "model.ckpt-3.data-00000-of-00001", "vocab.txt"),
}


def _write(folder: Path, names) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"finetuning_task": "mrpc"}' if name.startswith("mrpc/config") else "x")
    return folder


def _tree(folder: Path) -> dict[str, str | None]:
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("name", CONVERTED)
def test_what_a_conversion_wrote_is_replaced_when_asked(name, tmp_path):
    there = _write(tmp_path / "there", CONVERTED[name])
    with pytest.raises(UserError, match=r"there exists already: .* --overwrite"):
        check_destination(there, overwrite=False, sources=[])
    check_destination(there, overwrite=True, sources=[])
    with new_destination(there) as directory:
        _write(directory, ["new"])
    assert _tree(tmp_path) == {"there": None, "there/new": "x"}


@pytest.mark.parametrize("name", CONVERTED)
@pytest.mark.parametrize("more", ["metrics.jsonl", "thesis.tex", ".git/HEAD"])
def test_whatever_else_is_there_is_never_lost(name, more, tmp_path):
    there = _write(tmp_path / "there", [*CONVERTED[name], more])
    words = rf"holds more than a converted checkpoint \({Path(more).parts[0]}\), so not even --overwrite"
    with pytest.raises(UserError, match=words):
        check_destination(there, overwrite=True, sources=[])


def test_a_task_that_somebody_put_into_a_checkpoint_is_theirs(tmp_path):
    there = _write(tmp_path / "there", [*CONVERTED["ours"], *CONVERTED["fine-tuned, of Hugging Face"]])
    with pytest.raises(UserError, match=r"holds more than a converted checkpoint \(mrpc\)"):
        check_destination(there, overwrite=True, sources=[])


def test_links_that_lead_in_a_circle(tmp_path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for path, source in ((tmp_path / "circle", tmp_path), (tmp_path / "new", tmp_path / "circle" / "x")):
        with pytest.raises(UserError, match=r"circle.* leads in a circle: give another path"):
            check_destination(path, overwrite=True, sources=[source])


@pytest.mark.parametrize("names", [("notes.txt",), ("config.yaml",), ("tokenizer/vocab.txt",)])
def test_what_is_no_checkpoint_is_not_replaced(names, tmp_path):
    there = _write(tmp_path / "there", names)
    with pytest.raises(UserError, match="holds no checkpoint, so not even --overwrite"):
        check_destination(there, overwrite=True, sources=[])


def test_a_file_is_not_replaced_even_if_it_is_part_of_a_checkpoint(tmp_path):
    _write(tmp_path, CONVERTED["TensorFlow"])
    with pytest.raises(UserError, match="holds no checkpoint"):
        check_destination(tmp_path / "model.ckpt-3.index", overwrite=True, sources=[])


def test_neither_the_source_nor_what_is_around_or_in_it(tmp_path):
    source = _write(tmp_path / "models" / "mine", CONVERTED["ours"])
    (tmp_path / "link").symlink_to(source)
    for path in (source, tmp_path / "models", tmp_path, tmp_path / "link", source / ".." / "mine"):
        with pytest.raises(UserError, match="is, or holds, what is to be converted"):
            check_destination(path, overwrite=True, sources=[tmp_path / "elsewhere", source])
    for path in (source / "exported", source / "checkpoints" / "7", tmp_path / "link" / "a" / "b"):
        with pytest.raises(UserError, match="lies in what is to be converted"):
            check_destination(path, overwrite=True, sources=[source])
    check_destination(tmp_path / "models" / "mine2", overwrite=False, sources=[source])


def test_a_place_that_cannot_be(tmp_path, monkeypatch):
    _write(tmp_path, ["file"])
    with pytest.raises(UserError, match="file is a file, not a directory"):
        check_destination(tmp_path / "file" / "x", overwrite=False, sources=[])
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write everywhere
    with pytest.raises(UserError, match=f"no permission to write in {tmp_path}"):
        check_destination(tmp_path / "a" / "b", overwrite=False, sources=[])


def test_an_empty_directory_is_as_good_as_none(tmp_path):
    (tmp_path / "empty").mkdir()
    check_destination(tmp_path / "empty", overwrite=False, sources=[])
    with new_destination(tmp_path / "empty") as directory:
        _write(directory, ["new"])
    assert _tree(tmp_path) == {"empty": None, "empty/new": "x"}


@pytest.mark.parametrize(
    "error", [UserError("no"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")], ids=repr
)
@pytest.mark.parametrize("before", [(), ("deep/there/checkpoints/0/params/x",)], ids=["absent", "there"])
def test_a_failure_leaves_everything_as_it_was(error, before, tmp_path):
    _write(tmp_path, before)
    old = _tree(tmp_path)
    with pytest.raises(type(error)):
        _write_half(tmp_path / "deep" / "there", error)
    assert _tree(tmp_path) == old
    if isinstance(error, OSError):
        assert error.filename == str(tmp_path / "deep" / "there")


def test_threads_that_still_write_are_waited_for(tmp_path, monkeypatch):
    """A full disk stops one of the threads that write a checkpoint first, and removal meets the files of the others."""
    remove = destination.shutil.rmtree
    writes = iter([True, False, True, True, False, False, True])

    def remove_while_they_write(directory, **options):
        remove(directory, **options)
        if next(writes, False):
            _write(directory, ["late/file"])

    monkeypatch.setattr(destination.shutil, "rmtree", remove_while_they_write)
    with pytest.raises(UserError):
        _write_half(tmp_path / "deep" / "there", UserError("no"))
    assert _tree(tmp_path) == {}


def _write_half(path: Path, error: BaseException) -> None:
    with new_destination(path) as directory:
        _write(directory, ["half"])
        raise error


def test_a_move_that_fails_brings_back_what_was_there(tmp_path, monkeypatch):
    there = _write(tmp_path / "there", CONVERTED["ours"])
    old = _tree(tmp_path)
    rename = Path.rename

    def only_aside(self, target):
        if self.name.endswith(".unfinished"):
            raise OSError(errno.EIO, "broken")
        return rename(self, target)

    monkeypatch.setattr(destination.Path, "rename", only_aside)
    with pytest.raises(OSError, match="broken"), new_destination(there) as directory:
        _write(directory, ["new"])
    assert _tree(tmp_path) == old


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    _write(tmp_path / "disk", CONVERTED["ours"])
    with new_destination(tmp_path / "link") as directory:
        _write(directory, ["new"])
    assert (tmp_path / "link").is_symlink()
    assert _tree(tmp_path / "disk") == {"new": "x"}
