"""The modern block against transformers' ModernBERT: logits, and gradients of all parameters.

Each document goes through transformers alone, without padding and from position 0; ours are packed into one row.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.model.inputs import packed_inputs
from electra_jax.objectives import build_network

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

V = SmallVocabulary
LENGTHS = (13, 7)
ROW = 24
HIDDEN, LAYERS, HEADS, WIDE = 16, 3, 2, 24
MODEL = {
    "block": "modern",
    "hidden_size": HIDDEN,
    "num_layers": LAYERS,
    "num_heads": HEADS,
    "intermediate_size": WIDE,
    "embedding_size": None,
    "max_positions": ROW,
    "vocab_multiple": 4,
}


def _documents():
    rng = np.random.default_rng(0)
    made = [rng.integers(5, V.vocab_size, length) for length in LENGTHS]
    for ids in made:
        ids[0], ids[-1] = V.cls_id, V.sep_id
    return made


def _theirs(model_class, model, **settings):
    """Hugging Face's network of the same sizes, with parameters large enough that everything is seen."""
    torch.manual_seed(0)
    config = transformers.ModernBertConfig(
        vocab_size=V.vocab_size,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=WIDE,
        max_position_embeddings=ROW,
        local_attention=model.local_attention.window or ROW,
        global_attn_every_n_layers=model.local_attention.global_every if model.local_attention.window else 1,
        rope_parameters={
            "full_attention": {
                "rope_type": "default",
                "rope_theta": model.rope_theta_global or model.rope_theta,
            },
            "sliding_attention": {"rope_type": "default", "rope_theta": model.rope_theta},
        },
        pad_token_id=V.pad_id,
        attn_implementation="eager",
        **settings,
    )
    network = model_class(config).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            # Around 1 for LayerNorms, and around 0 for all else.
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.3)
    return network


def _ours(tensors, encoder):
    """Hugging Face's tensors by our names: the table that export and import are."""

    def stacked(name):
        return np.stack([tensors[f"model.layers.{n}.{name}"] for n in range(LAYERS)])

    query, key, value = np.split(stacked("attn.Wqkv.weight"), 3, axis=1)
    intermediate, gate = np.split(stacked("mlp.Wi.weight"), 2, axis=1)
    first = np.ones_like(tensors["model.final_norm.weight"])  # of a LayerNorm that is never read
    attention_norms = [first, *(tensors[f"model.layers.{n}.attn_norm.weight"] for n in range(1, LAYERS))]

    def dense(kernel):
        return {"kernel": np.swapaxes(kernel, -1, -2)}

    params = {
        "embeddings": {
            "word": {"embedding": tensors["model.embeddings.tok_embeddings.weight"]},
            "layer_norm": {"scale": tensors["model.embeddings.norm.weight"]},
        },
        encoder: {
            "layers": {
                "attention_layer_norm": {"scale": np.stack(attention_norms)},
                "attention": {
                    "query": dense(query),
                    "key": dense(key),
                    "value": dense(value),
                    "output": dense(stacked("attn.Wo.weight")),
                },
                "mlp_layer_norm": {"scale": stacked("mlp_norm.weight")},
                "intermediate": dense(intermediate),
                "gate": dense(gate),
                "output": dense(stacked("mlp.Wo.weight")),
            },
            "final_layer_norm": {"scale": tensors["model.final_norm.weight"]},
        },
    }
    head = {
        "dense": dense(tensors["head.dense.weight"]),
        "layer_norm": {"scale": tensors["head.norm.weight"]},
    }
    if "decoder.bias" in tensors:
        return {**params, "generator_head": {**head, "output_bias": tensors["decoder.bias"]}}
    prediction = {**dense(tensors["classifier.weight"]), "bias": tensors["classifier.bias"]}
    return {**params, "discriminator_head": {**head, "prediction": prediction}}


def _tensors(network, *, gradients=False):
    return {
        name: np.array((p.grad if gradients else p).detach())
        for name, p in network.named_parameters()  # tied ones once
    }


def _packed():
    row = np.zeros((1, ROW), np.int32)
    row[0, : sum(LENGTHS)] = np.concatenate(_documents())
    return packed_inputs(row, pad_id=V.pad_id, cls_id=V.cls_id, sep_id=V.sep_id)


def _compare(theirs, ours, encoder, logits_of, outputs):
    """Compare logits of both documents, and the gradients of a sum of them with random weights."""
    weights = np.random.default_rng(1).normal(size=(sum(LENGTHS), outputs)).astype(np.float32)
    expected, start = [], 0
    for ids in _documents():
        logits = theirs(input_ids=torch.tensor(ids)[None]).logits[0]
        (logits * torch.tensor(weights[start : start + len(ids)])).sum().backward()
        expected.append(logits.detach().numpy())
        start += len(ids)

    @jax.jit
    def compute(params):
        def loss(params):
            logits = logits_of(params)[0, : sum(LENGTHS)].reshape(sum(LENGTHS), outputs)
            return (logits * weights).sum(), logits

        return jax.grad(loss, has_aux=True)(params)

    gradients, logits = compute(_ours(_tensors(theirs), encoder))
    np.testing.assert_allclose(logits, np.concatenate(expected), atol=1e-5, rtol=1e-5)
    wanted = _ours(_tensors(theirs, gradients=True), encoder)
    wanted[encoder]["layers"]["attention_layer_norm"]["scale"][0] = 0.0
    assert jax.tree.structure(gradients) == jax.tree.structure(wanted)
    for (path, got), want in zip(
        jax.tree_util.tree_leaves_with_path(gradients), jax.tree.leaves(wanted), strict=True
    ):
        size = max(1.0, float(np.abs(want).max()))  # gradients are sums over all tokens and outputs
        np.testing.assert_allclose(got / size, want / size, atol=1e-5, err_msg=jax.tree_util.keystr(path))


LOCAL = {"local_attention": {"window": 4, "global_every": 2}, "rope_theta": 100.0, "rope_theta_global": 50.0}
VARIANTS = [{}, {"model": LOCAL, "compute": {"scan_layers": True, "remat": "full"}}]


def _config(variant, **sections):
    variant = {**variant, "model": {**MODEL, **variant.get("model", {})}}
    return small_config(data={"sequence_length": ROW}, **{**sections, **variant})


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_generator_is_modernbert_for_masked_lm(variant):
    config = _config(variant, objective={"kind": "masked_lm"})
    network = build_network(config, V.vocab_size)
    positions = jnp.arange(ROW)[None]
    _compare(
        _theirs(transformers.ModernBertForMaskedLM, config.model),
        network,
        "encoder",
        lambda params: network.apply({"params": params}, _packed(), positions, None, method="generate"),
        V.vocab_size,
    )


def test_discriminator_is_modernbert_for_token_classification():
    config = _config(VARIANTS[1])
    network = build_network(config, V.vocab_size)
    _compare(
        _theirs(transformers.ModernBertForTokenClassification, config.model, num_labels=1),
        network,
        "encoder",
        lambda params: network.apply({"params": params}, _packed(), None, method="discriminate"),
        1,
    )
