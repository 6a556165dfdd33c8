"""The embedded corpus, built from small packages written here."""

import multiprocessing
import pickle
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from electra_jax.config.text import DataConfig
from electra_jax.data.sources import open_source, python_docs
from electra_jax.data.sources.documentation_strings import Package, installed_packages
from electra_jax.errors import UserError

SENTENCES = [
    f"The {word} of the house is where it was left by the one who lives in it." for word in "abcdefghij"
]


def module_source(sentences) -> str:
    return "'''" + "\n\n".join(sentences) + "'''\n"


def make_packages(folder: Path) -> list[Package]:
    """Package one has two documents and a tiny one, package two repeats a paragraph of package one."""
    contents = {
        "one/b.py": SENTENCES[4:8],
        "one/a.py": SENTENCES[:4],
        "one/tiny.py": SENTENCES[9:],
        "two/c.py": [SENTENCES[0], *(f"In truth, {sentence}" for sentence in SENTENCES[:4])],
    }
    for name, sentences in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(module_source(sentences))
    return [Package(name, "1.0", (folder / name,)) for name in ("one", "two")]


EXPECTED = [
    "\n".join(SENTENCES[:4]),
    "\n".join(SENTENCES[4:8]),
    "\n".join(f"In truth, {sentence}" for sentence in SENTENCES[:4]),
]


@pytest.fixture
def packages(tmp_path, monkeypatch):
    found = make_packages(tmp_path / "packages")
    monkeypatch.setattr(python_docs, "installed_packages", lambda: found)
    return found


@pytest.fixture
def config(tmp_path):
    return DataConfig(cache_dir=str(tmp_path / "cache"))


def test_documents_are_modules_with_each_paragraph_once(packages):
    assert list(python_docs.corpus_documents(packages)) == EXPECTED


def test_the_corpus_ends_where_it_is_full(packages, monkeypatch):
    monkeypatch.setattr(python_docs, "MAX_CHARACTERS", len(EXPECTED[0]) + len(EXPECTED[1]))
    assert list(python_docs.corpus_documents(packages)) == EXPECTED[:2]


def test_built_once_quietly_and_without_network(packages, config, monkeypatch, capsys):
    def refuse(*_):
        raise AssertionError("network used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    source = open_source("embedded:python-docs", config)
    assert list(source.documents()) == EXPECTED
    assert source.num_documents == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1

    monkeypatch.setattr(python_docs, "_build", refuse)
    again = open_source("embedded:python-docs", config)
    assert again == source
    assert capsys.readouterr() == ("", "")
    assert list(pickle.loads(pickle.dumps(source)).documents()) == EXPECTED


def test_the_field_of_the_users_files_is_not_that_of_the_corpus(packages, config):
    config = config.model_copy(update={"text_field": "body"})
    assert open_source("embedded:python-docs", config).num_documents == 3


def test_fingerprint_follows_the_content_and_the_folder_the_versions(packages, config, monkeypatch):
    first = open_source("embedded:python-docs", config)
    newer = [packages[0], replace(packages[1], version="1.1")]
    monkeypatch.setattr(python_docs, "installed_packages", lambda: newer)
    same_text = open_source("embedded:python-docs", config)
    assert same_text.directory != first.directory
    assert same_text.fingerprint == first.fingerprint

    (packages[1].folders[0] / "c.py").write_text(module_source(f"Once more, {text}" for text in SENTENCES))
    newest = [packages[0], replace(packages[1], version="1.2")]
    monkeypatch.setattr(python_docs, "installed_packages", lambda: newest)
    assert open_source("embedded:python-docs", config).fingerprint != first.fingerprint


def _open(folder: str, barrier, results) -> None:
    found = make_packages(Path(folder) / "packages")
    python_docs.installed_packages = lambda: found
    barrier.wait()
    source = open_source("embedded:python-docs", DataConfig(cache_dir=f"{folder}/cache"))
    results.put((source.fingerprint, list(source.documents())))


def _made(folder):
    """What is in a folder of the cache, but for the lock by which processes take turns."""
    return [path.name for path in folder.iterdir() if path.name != ".lock"]


def test_two_processes_that_start_together_share_one_corpus(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    make_packages(tmp_path / "packages")
    processes = [context.Process(target=_open, args=(str(tmp_path), barrier, results)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert found[0] == found[1]
    assert found[0][1] == EXPECTED
    assert len(_made(tmp_path / "cache" / "tfds")) == 1


def test_losing_the_race_keeps_what_is_there(packages, config, monkeypatch):
    build = python_docs._build

    def build_while_another_finishes(data_dir):
        build(data_dir)
        monkeypatch.setattr(python_docs, "_build", build)
        python_docs.prepare_python_docs(Path(config.cache_dir))

    monkeypatch.setattr(python_docs, "_build", build_while_another_finishes)
    assert list(open_source("embedded:python-docs", config).documents()) == EXPECTED
    assert len(_made(Path(config.cache_dir, "tfds"))) == 1


def test_interrupted_building_leaves_nothing(packages, config, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(python_docs, "_build", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_source("embedded:python-docs", config)
    assert _made(Path(config.cache_dir, "tfds")) == []
    assert open_source("embedded:python-docs", config).num_documents == 3


def test_what_a_cleaner_left_is_built_again(packages, config):
    source = open_source("embedded:python-docs", config)
    Path(source.directory, "dataset_info.json").unlink()
    assert open_source("embedded:python-docs", config) == source


def test_damaged_corpus_says_what_to_delete(packages, config):
    source = open_source("embedded:python-docs", config)
    (shard,) = Path(source.directory).glob("*.array_record*")
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cannot be read .* delete that folder"):
        open_source("embedded:python-docs", config)


def test_cache_that_cannot_be_written(packages, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write to .* or set data\.cache_dir"):
        open_source("embedded:python-docs", DataConfig(cache_dir=str(tmp_path / "file")))


def test_neither_tensorflow_nor_tfds_is_imported_by_other_sources(tmp_path):
    program = (
        "import sys, electra_jax.data.sources as s\n"
        "from electra_jax.config.text import DataConfig\n"
        f"open_source = s.open_source('text:{__file__}', DataConfig(cache_dir={str(tmp_path)!r}))\n"
        "assert not {'tensorflow', 'tensorflow_datasets', 'jax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_real_documentation_reads_as_english():
    packages = [package for package in installed_packages() if package.name in ("optax", "click")]
    documents = list(python_docs.corpus_documents(packages))
    assert documents == list(python_docs.corpus_documents(packages))
    words = " ".join(documents).lower().split()
    assert len(words) > 20_000
    # In English at large "the" is some 5 % of words, and half of them are among the few hundred commonest.
    assert 0.04 < words.count("the") / len(words) < 0.1
    assert not any(mark in document for document in documents for mark in (">>>", "```", "https://", "\0"))


@pytest.mark.slow
def test_the_whole_corpus_has_its_size():
    documents = list(python_docs.corpus_documents(installed_packages()))
    assert 5_000_000 < sum(map(len, documents)) <= python_docs.MAX_CHARACTERS
    assert len(documents) == len(set(documents)) > 1000
