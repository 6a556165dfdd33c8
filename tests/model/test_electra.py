from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.model.inputs import packed_inputs
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network

V = SmallVocabulary


def _network(**sections):
    network = build_network(small_config(**sections), V.vocab_size)
    return network, jax.jit(lambda: init_params(network, jax.random.key(0)))()


def _rows(*rows):
    return packed_inputs(np.array(rows, np.int32), pad_id=V.pad_id, cls_id=V.cls_id, sep_id=V.sep_id)


def _encode(network, params, inputs, rng=None):
    encode = jax.jit(
        lambda params, inputs, rng: network.apply({"params": params}, inputs, rng, method="encode")
    )
    return np.asarray(encode(params, inputs, rng))


def test_documents_packed_in_a_row_do_not_see_each_other():
    network, params = _network()
    first, second = [2, 40, 41, 42, 3], [2, 50, 51, 3]
    packed = _encode(network, params, _rows([*first, *second, 0, 0, 0]))
    alone = [_encode(network, params, _rows(document)) for document in (first, second)]
    np.testing.assert_allclose(packed[0, :5], alone[0][0], atol=1e-5)
    np.testing.assert_allclose(packed[0, 5:9], alone[1][0], atol=1e-5)


def test_padding_changes_nothing():
    network, params = _network()
    document = [2, 40, 41, 42, 3]
    long = _encode(network, params, _rows([*document, 0, 0, 0, 0]))
    np.testing.assert_allclose(long[0, :5], _encode(network, params, _rows(document))[0], atol=1e-5)


def test_scanned_layers_equal_unrolled_ones_on_the_same_parameters():
    inputs = _rows([2, 40, 41, 42, 3])
    unrolled, params = _network()
    scanned, scanned_params = _network(compute={"scan_layers": True})
    assert jax.tree.structure(params) == jax.tree.structure(scanned_params)
    rng = jax.random.key(3)  # dropout on: the same masks as well
    np.testing.assert_allclose(
        _encode(unrolled, params, inputs, rng), _encode(scanned, params, inputs, rng), atol=1e-6
    )

    def lowered(network):
        function = jax.jit(lambda p: network.apply({"params": p}, inputs, None, method="encode"))
        return function.lower(params).as_text()

    assert "stablehlo.while" in lowered(scanned)
    assert "stablehlo.while" not in lowered(unrolled)


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_rematerialisation_recomputes_and_leaves_the_gradient_alone(remat):
    inputs = _rows([2, 40, 41, 42, 3])
    plain, params = _network()
    saving, _ = _network(compute={"remat": remat})

    def gradient(network):
        return jax.jit(jax.grad(lambda p: network.apply({"params": p}, inputs, None, method="encode").sum()))

    for a, b in zip(
        jax.tree.leaves(gradient(plain)(params)), jax.tree.leaves(gradient(saving)(params)), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert "remat" not in str(jax.make_jaxpr(gradient(plain))(params))
    assert "remat" in str(jax.make_jaxpr(gradient(saving))(params))


def test_compute_type_leaves_parameters_and_logits_in_float32():
    network, params = _network(compute={"dtype": "bfloat16"})
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    inputs = _rows([2, 40, 41, 42, 3])

    @partial(jax.jit, static_argnums=0)
    def discriminate(network, params):
        return network.apply({"params": params}, inputs, None, method="discriminate")

    hidden, logits = jax.eval_shape(
        lambda params: (
            network.apply({"params": params}, inputs, None, method="encode"),
            network.apply({"params": params}, inputs, jnp.array([[1, 2]]), None, method="generate"),
        ),
        params,
    )
    assert hidden.dtype == jnp.bfloat16
    assert logits.dtype == jnp.float32
    exact_network, _ = _network()
    exact, rounded = discriminate(exact_network, params), discriminate(network, params)
    np.testing.assert_allclose(rounded, exact, atol=0.05)


def test_rows_that_round_the_table_up_are_never_predicted():
    network, params = _network(model={"vocab_multiple": 64})
    assert params["embeddings"]["word"]["embedding"].shape[0] == 128
    rows, masked = _rows([2, 40, 41, 3]), jnp.array([[1, 2]])
    logits = jax.jit(lambda p: network.apply({"params": p}, rows, masked, None, method="generate"))(params)
    assert float(jax.nn.softmax(logits)[..., V.vocab_size :].sum()) == 0.0


@pytest.mark.parametrize(
    ("sharing", "present", "absent"),
    [
        ("embeddings", {"embeddings", "encoder", "generator_encoder"}, {"generator_embeddings"}),
        ("none", {"embeddings", "encoder", "generator_encoder", "generator_embeddings"}, set()),
        ("all", {"embeddings", "encoder"}, {"generator_embeddings", "generator_encoder"}),
    ],
)
def test_what_the_networks_share(sharing, present, absent):
    fraction = 1.0 if sharing == "all" else 0.5
    _, params = _network(generator={"sharing": sharing, "size_fraction": fraction})
    assert present | {"generator_head", "discriminator_head"} == set(params)
    assert not absent & set(params)


def test_dropout_keeps_the_mean_and_its_rate():
    from electra_jax.model.dropout import dropout

    x = jnp.ones((400, 333))
    out = np.asarray(dropout(x, 0.1, jax.random.key(0)))
    dropped = (out == 0).mean()
    assert dropped == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / out.size))
    assert set(np.unique(out)) == {0.0, np.float32(1 / 0.9)}
    halves = (out[:, :166] == 0) & (out[:, 167:] == 0)  # two elements that share a random word
    assert halves.mean() == pytest.approx(0.01, abs=4 * np.sqrt(0.01 / halves.size))
