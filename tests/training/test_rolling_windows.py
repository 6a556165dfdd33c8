"""Evaluation in overlapping windows: every token once, with its context."""

import jax
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config
from toy import ToyRows

from electra_jax.data.packing import make_packer, pack
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.evaluation import evaluate
from electra_jax.training.program import build_program
from electra_jax.training.rolling_windows import documents, evaluate_windows, windows

CLS, SEP, PAD = SmallVocabulary.cls_id, SmallVocabulary.sep_id, SmallVocabulary.pad_id
LENGTH = 16


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return [rng.integers(5, 100, size).astype(np.int32) for size in (3, 40, 14, 1, 75, 9)]


def packed(texts):
    """Prepared rows of documents."""
    packer = make_packer("continuous", LENGTH, cls_id=CLS, sep_id=SEP, pad_id=PAD)
    made = ToyRows(np.concatenate(list(pack(packer, [(ids, np.array([len(ids)])) for ids in texts]))))
    made.sequence_length, made.text_counts = LENGTH, None
    made.num_targets = sum(len(ids) + 1 for ids in texts)
    return made


@pytest.fixture(scope="module")
def rows(texts):
    return packed(texts)


@pytest.fixture(scope="module")
def program():
    config = small_config(objective={"kind": "causal_lm"}, model={"num_layers": 1, "initializer_range": 0.3})
    return build_program(config, SmallVocabulary(), make_mesh(config.mesh))


@pytest.fixture(scope="module")
def params(program):
    with program.on_mesh():
        return program.init().params


def test_documents_are_put_together_again(rows, texts):
    found = list(documents(rows, SmallVocabulary()))
    assert [ids.tolist() for ids in found] == [[*ids.tolist(), SEP] for ids in texts]


@pytest.mark.parametrize("stride", [0, 1, 7, LENGTH - 2])
@pytest.mark.parametrize("size", [1, LENGTH - 2, LENGTH - 1, LENGTH, 100])
def test_every_token_is_new_once_and_has_its_context(size, stride):
    ids = np.arange(1000, 1000 + size)
    new = []
    for number, (row, first) in enumerate(windows(ids, LENGTH, stride, CLS)):
        assert row[0] == CLS
        assert len(row) <= LENGTH
        assert first == (0 if number == 0 else stride)
        new += row[first + 1 :].tolist()
    assert new == ids.tolist()


def test_without_overlap_the_windows_of_one_document_are_its_rows(program, params):
    one = packed([np.arange(5, 94, dtype=np.int32)])  # full rows: a [SEP] alone would be packed otherwise
    plain = evaluate(program, params, one, batch_size=8, pad_id=PAD, limit=None)
    rolled = evaluate_windows(program, params, one, SmallVocabulary(), stride=0)
    assert rolled["loss"] == pytest.approx(plain["loss"], rel=1e-6)
    assert rolled["token_accuracy"] == pytest.approx(plain["token_accuracy"], rel=1e-6)
    assert rolled["bits_per_byte"] is None  # nothing is known of the text
    assert "padding_fraction" not in rolled


def test_the_loss_is_that_of_each_token_behind_its_own_context(program, params, rows, texts):
    stride, objective = 5, program.objective
    log_p = []
    for ids in texts:
        for row, first in windows(np.append(ids, SEP), LENGTH, stride, CLS):
            filled = np.full((1, LENGTH), PAD, np.int32)
            filled[0, : len(row)] = row
            inputs = objective.draw_inputs(jax.numpy.asarray(filled), jax.random.key(0))
            logits = objective.network.apply({"params": params}, inputs.original, method="logits")[0]
            for column in range(first, len(row) - 1):
                log_p.append(jax.nn.log_softmax(logits[column])[row[column + 1]])
    rolled = evaluate_windows(program, params, rows, SmallVocabulary(), stride=stride)
    assert rolled["loss"] == pytest.approx(-np.mean(log_p), rel=1e-4)
    assert len(log_p) == rows.num_targets
