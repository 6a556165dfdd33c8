"""What encoder and decoder share is one array: both uses give it gradient, and it is kept, decayed and slowed once."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from tiny_writer import tiny_writer

from electra_jax.optim.decay_mask import weight_decay_mask
from electra_jax.optim.layer_decay import layer_rates
from electra_jax.training.checkpoints import RunIdentity, read_params, saved_shapes, write_params

CROSS = ("cross_attention", "cross_attention_layer_norm")


@pytest.fixture(scope="module", params=["embeddings", "all"])
def writer(request):
    return tiny_writer({"decoder": {"sharing": request.param}, "label_smoothing": 0.1})


def test_the_gradient_is_the_sum_of_both_uses():
    """Against a loss whose encoder and decoder have a copy each."""
    writer = tiny_writer({"decoder": {"sharing": "all"}, "label_smoothing": 0.1})
    batch, objective, task = writer.batch(), writer.objective, writer.task
    normalizer = objective.loss_normalizers(batch)

    def tied(params):
        return objective.loss(params, batch, normalizer, jax.random.key(0))[0]

    def untied(encoder, decoder):
        hidden = objective._encode(encoder, batch, None)
        variables = {"params": objective._head_parameters(decoder, task)}
        losses = nn.apply(lambda head: task.loss(head, hidden, batch, jax.random.key(0)), task.head())(
            variables
        )
        return losses.total / normalizer

    loss, gradient = jax.jit(jax.value_and_grad(tied))(writer.params)
    same, (of_encoder, of_decoder) = jax.jit(jax.value_and_grad(untied, (0, 1)))(writer.params, writer.params)
    np.testing.assert_allclose(loss, same, rtol=1e-6)
    both = jax.tree.map(lambda a, b: a + b, of_encoder, of_decoder)
    for (path, ours), expected in zip(
        jax.tree_util.tree_leaves_with_path(gradient), jax.tree.leaves(both), strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5, err_msg=str(path))
    uses = {
        name: (
            np.abs(flatten_dict(of_encoder)[name]).max() > 0,
            np.abs(flatten_dict(of_decoder)[name]).max() > 0,
        )
        for name in flatten_dict(gradient)
    }
    twice = {name[0] for name, used in uses.items() if all(used)}
    assert twice == {"embeddings", "encoder"}


def test_an_array_is_there_once_in_checkpoints_and_to_the_optimizer(writer, tmp_path):
    shares_layers = writer.task.config.decoder.sharing == "all"
    names = set(flatten_dict(writer.params, sep="/"))
    of_decoder = {name.split("/")[4] for name in names if name.startswith("heads/mine/decoder/layers/")}
    assert not any("embeddings/word" in name for name in names if name.startswith("heads/"))
    assert of_decoder >= set(CROSS)
    assert (of_decoder == set(CROSS)) == shares_layers
    assert ("heads/mine/decoder/embeddings_project/kernel" in names) != shares_layers
    write_params(tmp_path / "checkpoints", 1, writer.params, RunIdentity(None, None, {}))
    assert set(saved_shapes(tmp_path / "checkpoints", 1)) == names
    jax.tree.map(np.testing.assert_array_equal, read_params(tmp_path / "checkpoints", 1), writer.params)
    rates = flatten_dict(layer_rates(writer.params, 0.5, reference_quirk=False), sep="/")
    assert rates["encoder/layers/output/kernel"].ravel().tolist() == [0.5]
    assert rates["embeddings/word/embedding"] == 0.25
    assert {float(rate) for name, rate in rates.items() if name.startswith("heads/")} == {1.0}
    mask = flatten_dict(weight_decay_mask(writer.params), sep="/")
    assert mask["heads/mine/decoder/layers/cross_attention/query/kernel"]
    assert not mask["heads/mine/decoder/layers/cross_attention_layer_norm/scale"]
    assert not mask["heads/mine/lm_head/output_bias"]
