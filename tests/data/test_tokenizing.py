"""Any number of processes gives the tokens, and the errors, of one."""

import itertools

import numpy as np
import pytest

from electra_jax.config.text import TokenizerConfig
from electra_jax.data.tokenizing import WorkerPool, tokenize_chunk, tokenize_documents
from electra_jax.errors import UserError
from electra_jax.tokenizers import build_tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *(f"##{c}" for c in "abcdefgh"), "."]


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    config = TokenizerConfig(kind="wordpiece", vocab_file=str(tmp_path / "vocab.txt"))
    return build_tokenizer(config, lambda: iter(()))


def texts(number):
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list("abcdefgh   .\n"), rng.integers(0, 400))) for _ in range(number)]


@pytest.mark.parametrize("by_sentence", [False, True])
def test_chunk_gives_each_document_its_tokens(tokenizer, by_sentence):
    documents = ["ab c. d\nef", "", "  \n ", "g"]
    chunk = tokenize_chunk(tokenizer, documents, by_sentence)
    got = [(ids.tolist(), ends.tolist()) for ids, ends in chunk.documents()]
    sentences = [["ab c.", "d", "ef"], [], [], ["g"]] if by_sentence else [[text] for text in documents]
    expected = []
    for parts in sentences:
        ids = [tokenizer.encode(part) for part in parts]
        ends = np.cumsum([len(part) for part in ids if part], dtype=int).tolist()
        expected.append((list(itertools.chain.from_iterable(ids)), ends))
    assert got == expected


@pytest.mark.parametrize("by_sentence", [False, True])
def test_processes_change_nothing(tokenizer, monkeypatch, by_sentence):
    monkeypatch.setattr("electra_jax.data.tokenizing._CHUNK_CHARACTERS", 3000)
    documents = [*enumerate(texts(150)), (150, "a lone surrogate \ud800 b")]
    results = []
    for processes in (1, 3):
        stream = tokenize_documents(documents, tokenizer, by_sentence=by_sentence, processes=processes)
        chunks = list(stream)
        assert len(chunks) > 5
        assert [label for labels, _ in chunks for label in labels] == list(range(151))
        results.append([(ids.tolist(), ends.tolist()) for _, c in chunks for ids, ends in c.documents()])
    assert results[0] == results[1]


def test_a_killed_worker_is_a_user_error(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "saved")
    with WorkerPool(tmp_path / "saved", False, 1) as pool:
        assert pool.submit(["a b"]).result().ids.size == 2
        pool._workers[0].kill()
        with pytest.raises(UserError, match=r"ended unexpectedly .*data\.prepare_processes"):
            pool.submit(["a b"]).result()


def test_a_workers_user_error_arrives(tmp_path):
    with WorkerPool(tmp_path / "missing", False, 1) as pool, pytest.raises(UserError, match="missing"):
        pool.submit(["a b"]).result()


def test_abandoned_streams_end_their_workers(tokenizer):
    stream = tokenize_documents(enumerate(texts(5000)), tokenizer, by_sentence=False, processes=2)
    next(stream)
    pool = stream.gi_frame.f_locals["pool"]
    stream.close()
    assert pool._workers
    assert all(worker.returncode is not None for worker in pool._workers)
