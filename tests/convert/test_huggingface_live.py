"""Against `transformers` itself, where it is installed (`make test-huggingface`): random weights at real sizes."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from parity import encoder_inputs, gradients_difference, largest, load_params

from electra_jax.convert.flat_parameters import flatten
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.names import huggingface_table
from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.attention.plain import plain_attention
from electra_jax.objectives import build_network

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[huggingface]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install -e '.[huggingface]'"
)

BASE = {"embedding_size": 768, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
# (discriminator, generator) of the releases: small++ has a generator of the full width, the paper's small a quarter.
SIZES = {
    "small++": ({}, {}),
    "small": ({}, {"hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 256}),
    "base": (BASE, {**BASE, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}),
}
NO_DROPOUT = ["model.hidden_dropout=0", "model.attention_dropout=0"]


@pytest.fixture(scope="module", params=SIZES)
def pair(request, tmp_path_factory):
    """(folder, discriminator, generator) of random weights, biases and LayerNorms included."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    sizes = [transformers.ElectraConfig(**size) for size in SIZES[request.param]]
    models = transformers.ElectraForPreTraining(sizes[0]), transformers.ElectraForMaskedLM(sizes[1])
    with torch.no_grad():
        for model in models:
            for name, weight in model.named_parameters():
                if name.endswith("bias") or "LayerNorm" in name:
                    weight.add_(0.1 * torch.randn_like(weight))
        models[1].electra.embeddings.load_state_dict(models[0].electra.embeddings.state_dict())
    for network, model in zip(("discriminator", "generator"), models, strict=True):
        model.eval().save_pretrained(folder / network)
    return folder, *models


@pytest.fixture(scope="module")
def converted(pair):
    """(network, parameters) of the pair."""
    folder, *_ = pair
    weights = read_huggingface([folder / "discriminator", folder / "generator"], overrides=NO_DROPOUT)
    assert weights.config.generator.sharing == "embeddings"
    return build_network(weights.config, weights.vocab_size), load_params(weights)


@pytest.fixture(scope="module")
def batch():
    """Rows with padding and two segments: int64 ``[3, 48]`` ids, mask, types."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, 30000, (3, 48))
    mask = (np.arange(48) < np.array([[48], [31], [5]])).astype(np.int64)
    types = (np.arange(48) >= np.array([[20], [12], [3]])) * mask
    return ids * mask, mask, types


def _size(folder):
    return folder.name.rstrip("0123456789")


def _torch_inputs(batch):
    return dict(zip(("input_ids", "attention_mask", "token_type_ids"), map(torch.tensor, batch), strict=True))


def test_logits_of_both_networks(pair, converted, batch, within):
    folder, discriminator, generator = pair
    network, params = converted
    inputs, real = encoder_inputs(*batch), batch[1] > 0
    with torch.no_grad():
        theirs = discriminator(**_torch_inputs(batch)).logits.numpy()
        their_words = generator(**_torch_inputs(batch)).logits.numpy()
    ours = network.apply({"params": params}, inputs, method="discriminate")
    positions = jnp.broadcast_to(jnp.arange(48), (3, 48))
    words = network.apply({"params": params}, inputs, positions, method="generate")[..., :30522]
    size = _size(folder)
    within(f"{size}: logits of the discriminator", largest(np.asarray(ours)[real], theirs[real]), 2e-5)
    within(f"{size}: logits of the generator", largest(np.asarray(words)[real], their_words[real]), 2e-5)


def test_every_layer_and_every_attention(pair, converted, batch, within):
    """The encoder cut after each layer; attention is read off by giving each key a value of its own."""
    discriminator = copy.deepcopy(pair[1])
    discriminator.set_attn_implementation("eager")  # the only one that returns its probabilities
    network, params = converted
    inputs, real = encoder_inputs(*batch), batch[1] > 0
    with torch.no_grad():
        out = discriminator.electra(**_torch_inputs(batch), output_hidden_states=True, output_attentions=True)
    mask, layers = AttentionMask.within(inputs.segment_ids).allowed(), params["encoder"]["layers"]
    hidden = jnp.asarray(out.hidden_states[0].numpy())
    heads, depth = network.config.encoder.block.num_heads, len(out.attentions)
    for number in range(depth):
        one = jax.tree.map(lambda a, n=number: a[n], layers["attention"])

        def split(name, x=hidden, one=one):
            y = x @ one[name]["kernel"] + one[name]["bias"]
            return y.reshape(*y.shape[:2], heads, -1).transpose(0, 2, 1, 3)

        query, key = split("query"), split("key")
        own = jnp.broadcast_to(jnp.eye(48), (3, heads, 48, 48))
        probabilities = plain_attention(query, key, own, mask, rate=0.0, rng=None)
        rows = np.broadcast_to(real[:, None], (3, heads, 48))
        difference = largest(np.asarray(probabilities)[rows], out.attentions[number].numpy()[rows])
        within(f"{_size(pair[0])}: attention probabilities of every layer", difference, 2e-5)
        encoder = dataclasses.replace(network.config.encoder, num_layers=number + 1)
        some = {**params["encoder"], "layers": jax.tree.map(lambda a, n=number: a[: n + 1], layers)}
        cut = network.clone(config=dataclasses.replace(network.config, encoder=encoder))
        hidden = cut.apply({"params": {**params, "encoder": some}}, inputs, method="encode")
        expected = out.hidden_states[number + 1].numpy()
        difference = largest(np.asarray(hidden)[real], expected[real])
        within(f"{_size(pair[0])}: hidden states of every layer", difference, 2e-5)


def test_every_gradient_of_the_discriminator(pair, converted, batch, within):
    folder, discriminator, _ = pair
    network, params = converted
    labels = np.random.default_rng(1).integers(0, 2, (3, 48))
    discriminator.zero_grad()
    loss = discriminator(**_torch_inputs(batch), labels=torch.tensor(labels)).loss
    loss.backward()
    recorded = {name: weight.grad.numpy() for name, weight in discriminator.named_parameters()}

    def mean_loss(params):
        logits = network.apply({"params": params}, encoder_inputs(*batch), method="discriminate")
        entropy = optax.sigmoid_binary_cross_entropy(logits, labels.astype(np.float32))
        return (entropy * batch[1]).sum() / batch[1].sum()

    ours, gradients = jax.jit(jax.value_and_grad(mean_loss))(params)
    within(f"{_size(folder)}: loss (relative)", abs(float(ours) / loss.item() - 1), 1e-5)
    table, named = huggingface_table("discriminator"), {}
    for name, gradient in flatten(gradients, 30522).items():
        if row := table.to_foreign(name):
            named[row.foreign] = gradient.T if row.transposed else gradient
    what = f"{_size(folder)}: every gradient of the discriminator (norm of the difference, relative)"
    within(what, gradients_difference(named, recorded), 1e-4)


def test_what_is_written_loads_whole_and_computes_the_same_bits(pair, batch, tmp_path):
    folder, *models = pair
    write_huggingface(read_huggingface([folder / "discriminator", folder / "generator"]), tmp_path)
    for network, model in zip(("discriminator", "generator"), models, strict=True):
        again, info = type(model).from_pretrained(tmp_path / network, output_loading_info=True)
        assert not any(info.values()), info
        with torch.no_grad():
            before, after = (m(**_torch_inputs(batch)).logits for m in (model, again.eval()))
        assert torch.equal(before, after)
        assert model.config.to_dict() | {"_name_or_path": ""} == again.config.to_dict() | {
            "_name_or_path": ""
        }
