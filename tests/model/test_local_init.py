"""Heads that start out looking at neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.model.local_init import head_offset
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network

HEADS, LENGTH = 4, 64


def _params(attention_init, embedding_size=64):
    model = {
        "hidden_size": 64,
        "num_heads": HEADS,
        "embedding_size": embedding_size,
        "max_positions": LENGTH,
        "attention_init": attention_init,
    }
    network = build_network(small_config(model=model), SmallVocabulary.vocab_size)
    return jax.jit(lambda: init_params(network, jax.random.key(1)))()


def _attention(params, words):
    """Probabilities ``[layers, heads, query, key]`` over random words, worked out from the parameters alone."""
    tables = params["embeddings"]
    x = (
        tables["word"]["embedding"][words]
        + tables["position"]["embedding"]
        + tables["token_type"]["embedding"][0]
    )
    x = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    attention = params["encoder"]["layers"]["attention"]
    query, key = (
        jnp.einsum("te,leh->lth", x, attention[name]["kernel"]).reshape(2, LENGTH, HEADS, -1)
        for name in ("query", "key")
    )
    scores = jnp.einsum("lqhd,lkhd->lhqk", query, key) / np.sqrt(query.shape[-1])
    return np.asarray(jax.nn.softmax(scores, axis=-1))


def _share_at_offset(probabilities, head):
    """Mean attention that queries pay to the position ``head_offset(head)`` away, by layer."""
    return np.diagonal(probabilities[:, head], head_offset(head), axis1=1, axis2=2).mean(axis=1)


def test_each_head_looks_at_its_neighbour():
    words = np.random.default_rng(0).integers(5, SmallVocabulary.vocab_size, LENGTH)
    local, normal = (_attention(_params(kind), words) for kind in ("local", "normal"))
    assert [head_offset(head) for head in range(HEADS)] == [-1, 1, -2, 2]
    for head in range(HEADS):
        assert (_share_at_offset(local, head) > 10 / LENGTH).all()
        assert _share_at_offset(normal, head) == pytest.approx(1 / LENGTH, rel=0.2)
    # No other place is looked at as much, near or far.
    for head in range(HEADS):
        means = [np.diagonal(local[0, head], o).mean() for o in range(-30, 31)]
        assert np.argmax(means) - 30 == head_offset(head)


def test_only_the_start_differs():
    local, normal = _params("local"), _params("normal")
    assert jax.tree.map(jnp.shape, local) == jax.tree.map(jnp.shape, normal)
    differing = {
        jax.tree_util.keystr(path)
        for (path, a), b in zip(
            jax.tree_util.tree_leaves_with_path(local), jax.tree.leaves(normal), strict=True
        )
        if not np.array_equal(a, b)
    }
    assert differing == {
        "['embeddings']['position']['embedding']",
        "['encoder']['layers']['attention']['query']['kernel']",
        "['encoder']['layers']['attention']['key']['kernel']",
    }


def test_an_encoder_behind_a_projection_starts_as_usual():
    local, normal = (_params(kind, embedding_size=32) for kind in ("local", "normal"))
    for name in ("query", "key"):
        np.testing.assert_array_equal(
            *(p["encoder"]["layers"]["attention"][name]["kernel"] for p in (local, normal))
        )
