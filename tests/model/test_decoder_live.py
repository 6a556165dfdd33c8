"""A decoder that reads a source against that of `transformers`, where it is installed."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from small_decoder import small_decoder

from electra_jax.model.decoder import Source

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[huggingface]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install -e '.[huggingface]'"
)

HIDDEN, LAYERS, ROWS, LENGTH, SOURCE_LENGTH = 16, 2, 3, 7, 5
# Ours, below a layer → theirs, below encoder.layer.N.
MODULES = {
    **{f"attention/{name}": f"attention.self.{name}" for name in ("query", "key", "value")},
    "attention/output": "attention.output.dense",
    "attention_layer_norm": "attention.output.LayerNorm",
    **{f"cross_attention/{name}": f"crossattention.self.{name}" for name in ("query", "key", "value")},
    "cross_attention/output": "crossattention.output.dense",
    "cross_attention_layer_norm": "crossattention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    config = transformers.ElectraConfig(
        vocab_size=20,
        embedding_size=HIDDEN,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.3,
        is_decoder=True,
        add_cross_attention=True,
    )
    return transformers.ElectraModel(config).eval()


def parameters(theirs):
    state = {name: tensor.detach().numpy() for name, tensor in theirs.state_dict().items()}
    flat = {}
    for ours, name in MODULES.items():
        norm = name.endswith("LayerNorm")
        weights = [state[f"encoder.layer.{layer}.{name}.weight"] for layer in range(LAYERS)]
        biases = [state[f"encoder.layer.{layer}.{name}.bias"] for layer in range(LAYERS)]
        key = "scale" if norm else "kernel"
        flat[("layers", *ours.split("/"), key)] = jnp.stack([w if norm else w.T for w in weights])
        flat[("layers", *ours.split("/"), "bias")] = jnp.stack(biases)
    return unflatten_dict(flat)


def test_states_are_those_of_their_decoder_whole_and_step_by_step(theirs):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 20, (ROWS, LENGTH))
    states = rng.normal(size=(ROWS, SOURCE_LENGTH, HIDDEN)).astype(np.float32)
    mask = (np.arange(SOURCE_LENGTH) < np.array([[5], [2], [4]])).astype(np.int64)
    with torch.no_grad():
        embedded = theirs.embeddings(torch.tensor(ids)).numpy()
        expected = theirs(
            torch.tensor(ids),
            encoder_hidden_states=torch.tensor(states),
            encoder_attention_mask=torch.tensor(mask),
        ).last_hidden_state.numpy()

    network = small_decoder(HIDDEN, intermediate=32, layers=LAYERS, source=True)
    variables = {"params": parameters(theirs)}
    source = Source(jnp.asarray(states), jnp.asarray(mask, jnp.int32))
    ones = jnp.ones((ROWS, LENGTH), jnp.int32)
    whole = network.apply(variables, embedded, ones, None, source, method="decode")
    np.testing.assert_allclose(whole, expected, atol=2e-5)

    kept = network.apply(variables, source, method="read_source")
    lengths = jnp.full(ROWS, LENGTH - 1)
    _, cache = network.apply(variables, embedded[:, :-1], lengths, LENGTH, kept, method="prefill")
    last, _ = network.apply(variables, embedded[:, -1:], cache, kept, method="step")
    np.testing.assert_allclose(last[:, 0], expected[:, -1], atol=2e-5)
