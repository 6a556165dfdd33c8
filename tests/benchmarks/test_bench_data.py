"""Text to batches, measured: the beginning of a source, and the table."""

import itertools

from benchmarks import data
from electra_jax.config import load_config
from electra_jax.data.sources import open_source
from tests.small_run import write_corpus

SMALL = (
    *("model.hidden_size=16", "model.embedding_size=16", "model.num_layers=1", "data.sequence_length=16"),
    *("train.batch_size=8", "tokenizer.vocab_size=300", "data.prepare_processes=1"),
)


def test_a_sample_is_the_first_documents_until_there_is_enough_text(tmp_path, monkeypatch):
    write_corpus(tmp_path / "text.txt", 50)
    config = load_config("tiny", [f"data.source=text:{tmp_path}/text.txt"])
    source = open_source(config.data.source, config.data)
    documents = list(source.documents())
    monkeypatch.setattr(data, "_SAMPLE_CHARACTERS", sum(map(len, documents[:7])) + 1)
    sample = data.Sample(source)
    assert list(sample.documents()) == documents[:8]
    assert list(sample.divided(0.5)) == list(itertools.islice(source.divided(0.5), 8))


def test_the_table_has_preparing_loading_and_the_step(tmp_path, monkeypatch, capsys):
    write_corpus(tmp_path / "text.txt", 50)
    monkeypatch.setattr(data, "_LOADER_TOKENS", 1_000)
    monkeypatch.setattr(data, "_STEP_SECONDS", 0.01)
    where = (f"data.source=text:{tmp_path}/text.txt", f"data.cache_dir={tmp_path}/cache")
    assert data.main(["--runs", "2", *where, *SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-6:-1]] == ["prepare", "prepare", "loader", "loader", "step"]
    assert all(float(line.split()[1].replace(",", "")) > 0 for line in lines[-6:-1])
    assert lines[-1].startswith("the loader is ")
