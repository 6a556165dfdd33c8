"""Converted Hugging Face models compute what PyTorch computed: outputs, losses and every gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from parity import encoder_inputs, gradients_difference, largest, load_params

from electra_jax.convert.flat_parameters import flatten
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.names import huggingface_table
from electra_jax.objectives import build_network

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def discriminator(shared):
    return _case(shared / "golden" / "hf", "tiny_disc", "tiny_pretraining")


@pytest.fixture(scope="module")
def generator(shared):
    return _case(shared / "golden" / "hf", "tiny_gen", "tiny_maskedlm")


def _case(folder, model, figures):
    """(network without dropout, parameters, recorded arrays, inputs)."""
    weights = read_huggingface(
        [folder / model], overrides=["model.hidden_dropout=0", "model.attention_dropout=0"]
    )
    golden = dict(np.load(folder / f"{figures}.npz"))
    inputs = encoder_inputs(golden["in/input_ids"], golden["in/attention_mask"], golden["in/token_type_ids"])
    return build_network(weights.config, weights.vocab_size), load_params(weights), golden, inputs


def _replaced_token_loss(network, golden, inputs):
    """ElectraForPreTraining: mean over real tokens."""

    def loss(params):
        logits = network.apply({"params": params}, inputs, method="discriminate")
        entropy = optax.sigmoid_binary_cross_entropy(logits, golden["in/labels"].astype(np.float32))
        return (entropy * golden["in/attention_mask"]).sum() / golden["in/attention_mask"].sum(), logits

    return loss


def _masked_lm_loss(network, golden, inputs):
    """ElectraForMaskedLM: mean over the labels that are not -100."""
    labels = golden["in/labels"]
    positions = jnp.broadcast_to(jnp.arange(labels.shape[1]), labels.shape)

    def loss(params):
        logits = network.apply({"params": params}, inputs, positions, method="generate")[..., :200]
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, np.maximum(labels, 0))
        return (entropy * (labels != -100)).sum() / (labels != -100).sum(), logits

    return loss


@pytest.mark.parametrize("network_name", ["discriminator", "generator"])
def test_logits_loss_and_every_gradient(network_name, request, within):
    network, params, golden, inputs = request.getfixturevalue(network_name)
    make_loss = _replaced_token_loss if network_name == "discriminator" else _masked_lm_loss
    compute = jax.jit(jax.value_and_grad(make_loss(network, golden, inputs), has_aux=True))
    (loss, logits), gradients = compute(params)
    real = golden["in/attention_mask"] > 0
    difference = largest(np.asarray(logits)[real], golden["out/logits"][real])
    within(f"Hugging Face: logits of the {network_name}", difference, 2e-5)
    within("Hugging Face: losses (relative)", abs(float(loss) / float(golden["out/loss"]) - 1), 1e-5)
    table = huggingface_table(network_name)
    named = {}
    for name, gradient in flatten(gradients, 200).items():
        row = table.to_foreign(name)
        if row is not None:
            named[row.foreign] = gradient.T if row.transposed else gradient
    recorded = {n.removeprefix("grad/"): a for n, a in golden.items() if n.startswith("grad/")}
    what = "Hugging Face: every gradient (norm of the difference, relative)"
    within(what, gradients_difference(named, recorded), 1e-4)


@pytest.mark.parametrize("network_name", ["discriminator", "generator"])
def test_embeddings_and_last_hidden_states(network_name, request, within):
    """The folder of the generator alone is a masked language model of its own: one encoder, ``encoder``."""
    network, params, golden, inputs = request.getfixturevalue(network_name)
    real = golden["in/attention_mask"] > 0

    def states(module):
        embedded = module.embeddings(inputs, None)
        return embedded, module.encoder(embedded, inputs, None)

    embedded, hidden = network.apply({"params": params}, method=states)
    if "embeddings_project" in params["encoder"]:
        project = params["encoder"]["embeddings_project"]
        embedded = embedded @ project["kernel"] + project["bias"]
    within("Hugging Face: embeddings", largest(embedded, golden["out/embedding_output"]), 2e-5)
    difference = largest(np.asarray(hidden)[real], golden["out/last_hidden_state"][real])
    within("Hugging Face: last hidden states", difference, 2e-5)
