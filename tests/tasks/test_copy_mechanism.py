"""A task that writes and may take tokens from its source: the same rows, beams and devices as without."""

import jax
import numpy as np
import pytest
from test_seq2seq import _gradient, by_steps
from tiny_writer import EXAMPLES, tiny_writer
from writing_checks import check_gradients, check_probabilities, texts_of

from electra_jax.tasks.copyable import copyable
from electra_jax.tasks.protocol import NO_TARGET, Seq2SeqExample

COPIES = {"decoder": {"copy_mechanism": True}, "label_smoothing": 0.0}


@pytest.fixture(scope="module")
def writer():
    return tiny_writer(COPIES)


def test_the_loss_is_the_mean_over_tokens_of_what_is_written_one_by_one(writer):
    batch = writer.batch(rows=[*range(7), -1])
    targets = batch.targets["target_ids"]
    there = targets != NO_TARGET
    log_p = by_steps(writer, batch)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=-1), 1, rtol=1e-5)
    nll = -np.take_along_axis(log_p, np.maximum(targets, 0)[..., None], axis=-1)[..., 0]
    loss, sums = jax.jit(writer.objective.loss)(
        writer.params, batch, writer.objective.loss_normalizers(batch), jax.random.key(0)
    )
    np.testing.assert_allclose(loss, nll[there].mean(), rtol=1e-5)
    np.testing.assert_allclose(sums["mine_loss"], [nll[there].sum(), there.sum()], rtol=1e-5)


def test_only_text_of_the_source_may_be_taken(writer):
    """Not what begins, ends and fills up rows, nor what the vocabulary lacks."""
    tokenizer = writer.task.tokenizer
    examples = [EXAMPLES[0], Seq2SeqExample("é", "aéb", ("a",))]
    batch = writer.batch(examples, length=10)
    ids, found = np.asarray(batch.inputs.input_ids), np.asarray(copyable(batch, tokenizer))
    assert ids[1].tolist().count(tokenizer.unk_id) == 1
    letter = [tokenizer.encode(text)[0] for text in "abcdefgh"]
    assert found.tolist() == [[-1, *letter, -1], [-1, letter[0], -1, letter[1], *[-1] * 6]]
    assert (found == np.where(found < 0, -1, ids)).all()


@pytest.fixture(scope="module")
def whole(writer):
    return _gradient(writer, 1)


@pytest.mark.parametrize(("pieces", "axes"), [(4, {"data": 2}), (2, {"data": 2, "fsdp": 2, "tensor": 2})])
def test_microbatches_and_devices_give_the_loss_and_gradient_of_the_whole_batch(writer, whole, pieces, axes):
    found = _gradient(writer, pieces, **axes)
    check_gradients(found, whole)
    assert np.abs(found[1]["heads"]["mine"]["copy_head"]["query"]["kernel"]).max() > 1e-3


@pytest.mark.parametrize("settings", [{}, {"beams": 3, "n_best": 3}], ids=str)
def test_texts_have_the_probability_that_the_loss_gives_them_wherever_they_are_written(settings):
    """Beams are several rows for one source."""
    found = check_probabilities(tiny_writer(COPIES, settings))
    assert texts_of(tiny_writer(None, settings).write(EXAMPLES)[0]) != texts_of(found)
