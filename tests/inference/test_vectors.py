"""Vectors of texts by layer, and how well they say how alike two texts are."""

import jax
import numpy as np
import pytest
from small_run import small_config
from writers import causal_model

from electra_jax.errors import UserError
from electra_jax.inference.model import Model
from electra_jax.inference.similarity import layers_named, sts_figures
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network
from electra_jax.partitioning import mesh
from electra_jax.tasks.metrics import spearman
from electra_jax.tasks.protocol import TextExample
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

SIZES = {"hidden_size": 8, "embedding_size": 8, "num_heads": 2, "max_positions": 32}
VOCABULARY = "[PAD] [UNK] [CLS] [SEP] [MASK] ann left who wrote hamlet ?".replace(" ", "\n").encode()
TEXTS = ["ann left ?", "who wrote hamlet ?", "who left", "ann wrote hamlet"]


@pytest.fixture(scope="module", params=["bert", "modern"])
def models(request):
    """A model of two layers, and one of the first of them alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        tokenizer = WordPieceTokenizer(VOCABULARY, lowercase=True, strip_accents=True)
        deep, shallow = (
            small_config(model={**SIZES, "num_layers": layers, "block": request.param}) for layers in (2, 1)
        )
        network = build_network(deep, tokenizer.vocab_size)
        params = dict(jax.jit(lambda: init_params(network, jax.random.key(0)))())
        layers = jax.tree.map(lambda leaf: leaf[:1], params["encoder"]["layers"])
        cut = {"embeddings": params["embeddings"], "encoder": {**params["encoder"], "layers": layers}}
        yield Model(deep, tokenizer, params, {}), Model(shallow, tokenizer, cut, {})


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_the_vector_behind_a_layer_is_that_of_an_encoder_that_ends_there(models, pooling):
    deep, shallow = models
    first = deep.encode(TEXTS, pooling, layer=1)
    np.testing.assert_allclose(first, shallow.encode(TEXTS, pooling), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(deep.encode(TEXTS, pooling, 2), deep.encode(TEXTS, pooling))
    embedded = deep.encode(["who left", "who wrote hamlet ?"], pooling, 0)
    assert embedded.shape == (2, 8)
    if pooling == "first":  # the embedding of [CLS], whatever follows
        np.testing.assert_allclose(embedded[0], embedded[1], rtol=1e-5)
    assert abs(first - deep.encode(TEXTS, pooling)).max() > 1e-3


def test_figures_of_similarity(models):
    deep, _ = models
    scores = (4.0, 1.0, 2.0)
    pairs = [TextExample(str(n), TEXTS[n], TEXTS[n + 1], score) for n, score in enumerate(scores)]
    found = sts_figures(deep, [("one", pairs[:2]), ("two", pairs[2:])], layers_named("all", 2), "mean")
    for layer in range(3):
        vectors = deep.encode(TEXTS, layer=layer).astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines = (vectors[:-1] * vectors[1:]).sum(axis=1)
        assert found["layers"][str(layer)] == pytest.approx(spearman(scores, cosines)), layer
    assert found["spearman"] == found["layers"]["2"]
    assert found["files"] == {"one": pytest.approx(spearman(scores[:2], cosines[:2])), "two": 0.0}
    assert (found["layer"], found["pairs"], found["truncated"]) == (2, 3, 0)


def test_a_layer_that_is_not_there(models):
    for layer in (3, -1, True, "1"):
        with pytest.raises(UserError, match="must be a number from 0, the embeddings, to 2, the last layer"):
            models[0].encode("ann", layer=layer)
    with pytest.raises(UserError, match="--layer is '-1', but must be the number of a layer, or all"):
        layers_named("-1", 2)


def test_a_causal_model_has_none():
    with pytest.raises(UserError, match="sees only what is before a token, and has no vectors of texts"):
        causal_model(words=True, devices=1).encode("Ann left")
