"""Kept figures of transformers and PyTorch: outputs, losses and the norm of every gradient, wherever tests run."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from parity import encoder_inputs, largest, load_params
from safetensors.numpy import save_file

from electra_jax.convert.flat_parameters import flatten
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.names import huggingface_table
from electra_jax.objectives import build_network

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
NO_DROPOUT = ["model.hidden_dropout=0", "model.attention_dropout=0"]


def _under(kept, prefix):
    return {name.removeprefix(prefix): array for name, array in kept.items() if name.startswith(prefix)}


@pytest.fixture(params=["discriminator", "generator"])
def case(request, tmp_path):
    """(network's name, network, parameters, kept arrays), read from a folder as transformers writes it."""
    kept = _under(dict(np.load(GOLDEN / "huggingface_tiny.npz")), f"{request.param}/")
    save_file(_under(kept, "weights/"), tmp_path / "model.safetensors", metadata={"format": "pt"})
    described = GOLDEN / f"huggingface_tiny_{request.param}.json"
    assert json.loads(described.read_text())["model_type"] == "electra"
    shutil.copy(described, tmp_path / "config.json")
    weights = read_huggingface([tmp_path], overrides=NO_DROPOUT)
    return request.param, build_network(weights.config, weights.vocab_size), load_params(weights), kept


def _discriminator_loss(network, inputs, kept):
    """Mean over real tokens."""
    real = kept["in/attention_mask"]

    def loss(params):
        logits = network.apply({"params": params}, inputs, method="discriminate")
        entropy = optax.sigmoid_binary_cross_entropy(logits, kept["in/labels"].astype(np.float32))
        return (entropy * real).sum() / real.sum(), logits

    return loss


def _generator_loss(network, inputs, kept):
    """Mean over the labels that are not -100."""
    labels = kept["in/labels"]
    positions = np.broadcast_to(np.arange(labels.shape[1]), labels.shape)

    def loss(params):
        logits = network.apply({"params": params}, inputs, positions, method="generate")[..., :200]
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, np.maximum(labels, 0))
        return (entropy * (labels != -100)).sum() / (labels != -100).sum(), logits

    return loss


def test_logits_loss_and_the_norm_of_every_gradient(case, within):
    name, network, params, kept = case
    inputs = encoder_inputs(*(kept[f"in/{key}"] for key in ("input_ids", "attention_mask", "token_type_ids")))
    make_loss = _discriminator_loss if name == "discriminator" else _generator_loss
    compute = jax.jit(jax.value_and_grad(make_loss(network, inputs, kept), has_aux=True))
    (loss, logits), gradients = compute(params)
    real = kept["in/attention_mask"] > 0
    difference = largest(np.asarray(logits)[real], kept["out/logits"][real])
    within(f"Hugging Face, kept: logits of the {name}", difference, 2e-5)
    within("Hugging Face, kept: losses (relative)", abs(float(loss) / float(kept["out/loss"]) - 1), 1e-5)

    table = huggingface_table(name)
    norms = {table.foreign_or_same(n).foreign: np.linalg.norm(g) for n, g in flatten(gradients, 200).items()}
    recorded = _under(kept, "gradnorm/")
    assert {n for n, norm in norms.items() if n not in recorded and norm > 0} == set()
    most = max(recorded.values())
    # The gradient of a key's bias is 0, and what is recorded is rounding.
    relative = [
        abs(norms[n] - norm) / (most if n.endswith("key.bias") else norm) for n, norm in recorded.items()
    ]
    within("Hugging Face, kept: norm of every gradient (relative)", max(relative), 1e-4)
