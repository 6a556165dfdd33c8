"""A task that writes behind an encoder of modern blocks: the same rows, beams and devices as behind the original's."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from test_seq2seq import _gradient, by_steps
from tiny_writer import tiny_writer
from writing_checks import check_gradients, check_probabilities

from electra_jax.tasks.protocol import NO_TARGET

# The second layer is local, with other wavelengths than the first.
MODERN = {
    **{"block": "modern", "embedding_size": None, "num_layers": 2, "layer_norm_epsilon": 1e-5},
    **{"rope_theta": 20.0, "rope_theta_global": 100.0, "local_attention": {"window": 4, "global_every": 2}},
}
PLAIN = {"label_smoothing": 0.0}


@pytest.fixture(scope="module")
def writer():
    return tiny_writer(PLAIN, **MODERN)


@pytest.mark.parametrize("decoder", [{}, {"sharing": "all"}, {"hidden_size": 8, "num_layers": 1}], ids=str)
def test_the_loss_is_the_mean_over_tokens_of_what_is_written_one_by_one(decoder):
    writer = tiny_writer(PLAIN | {"decoder": decoder}, **MODERN)
    batch = writer.batch(rows=[*range(7), -1])
    targets = batch.targets["target_ids"]
    there = targets != NO_TARGET
    log_p = by_steps(writer, batch)
    nll = -np.take_along_axis(log_p, np.maximum(targets, 0)[..., None], axis=-1)[..., 0]
    loss, _ = jax.jit(writer.objective.loss)(
        writer.params, batch, writer.objective.loss_normalizers(batch), jax.random.key(0)
    )
    np.testing.assert_allclose(loss, nll[there].mean(), rtol=1e-5)


def test_what_is_shared_is_one_array():
    writer = tiny_writer(PLAIN | {"decoder": {"sharing": "all"}}, **MODERN)
    own = set(flatten_dict(writer.params["heads"]["mine"], sep="/"))
    assert {name.split("/")[2] for name in own if name.startswith("decoder/layers")} == {
        "cross_attention",
        "cross_attention_layer_norm",
    }
    assert "decoder/final_layer_norm/scale" not in own
    assert not any(name.endswith("bias") and name.startswith(("decoder", "lm_head/dense")) for name in own)


@pytest.fixture(scope="module")
def whole(writer):
    return _gradient(writer, 1)


@pytest.mark.parametrize(("pieces", "axes"), [(4, {"data": 2}), (2, {"data": 2, "fsdp": 2, "tensor": 2})])
def test_microbatches_and_devices_give_the_loss_and_gradient_of_the_whole_batch(writer, whole, pieces, axes):
    check_gradients(_gradient(writer, pieces, **axes), whole)


@pytest.mark.parametrize(
    ("settings", "task"),
    [({}, {}), ({"beams": 3, "n_best": 3}, {}), ({"beams": 2}, {"decoder": {"copy_mechanism": True}})],
    ids=str,
)
def test_texts_have_the_probability_that_the_loss_gives_them_wherever_they_are_written(settings, task):
    """Beams are several rows for one source, and go on from one another."""
    found = check_probabilities(tiny_writer(PLAIN | task, settings, **MODERN))
    assert len({texts[0].tokens for texts in found}) > 4
