"""Each score against its definition, spelt out one token at a time."""

import jax
import numpy as np
import pytest
from small_run import SmallVocabulary as V
from small_run import small_config

from electra_jax.errors import UserError
from electra_jax.model.inputs import packed_inputs
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network
from electra_jax.objectives.masked_lm import SpecialIds
from electra_jax.scoring.lm import causal_log_probs
from electra_jax.scoring.methods import SCORES, choose_method, text_score, usable_methods
from electra_jax.scoring.pll import masked_log_probs

SPECIAL = SpecialIds(V.pad_id, V.cls_id, V.sep_id, V.mask_id)
# Tokens, among them [UNK]; a text of one token; and one of none.
ROWS = np.array([[2, 40, 1, 42, 43, 3, 0], [2, 50, 3, 0, 0, 0, 0], [2, 3, 0, 0, 0, 0, 0]], np.int32)
TEXT = np.array([[0, 1, 1, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0], [0] * 7])


@pytest.fixture(scope="module", params=["electra", "electric", "causal_lm"])
def trained(request):
    """(section objective, network, parameters), with heads that tell tokens apart."""
    sizes = {"hidden_size": 8, "embedding_size": 8, "num_layers": 1, "initializer_range": 0.5}
    config = small_config(model=sizes, objective={"kind": request.param})
    network = build_network(config, V.vocab_size)
    params = jax.jit(lambda: init_params(network, jax.random.key(0)))()
    return config.objective, network, params


def test_every_score_is_its_definition(trained):
    settings, network, params = trained
    for method in set(usable_methods(settings, params)) - {"pll"}:  # which has a test of its own
        token_scores = jax.jit(lambda p, rows, m=method: SCORES[m].token_scores(network, p, rows, SPECIAL))
        found, counted = map(np.asarray, token_scores(params, ROWS))
        np.testing.assert_array_equal(counted, TEXT)
        assert found.dtype == counted.dtype == np.float32
        np.testing.assert_allclose(found, BY_HAND[method](network, params) * TEXT, rtol=2e-4, atol=1e-5)
        assert np.ptp(found[TEXT == 1]) > 0.01
        # Neither padding nor neighbours matter.
        np.testing.assert_allclose(token_scores(params, ROWS[1:2, :3])[0], found[1:2, :3], rtol=1e-4)
        np.testing.assert_allclose(token_scores(params, ROWS[::-1])[0], found[::-1], rtol=1e-4)


def packed(rows):
    return packed_inputs(rows, pad_id=V.pad_id, cls_id=V.cls_id, sep_id=V.sep_id)


def discriminated(network, params):
    """Outputs of the discriminator, one row at a time."""
    run = jax.jit(lambda row: network.apply({"params": params}, packed(row), method="discriminate"))
    return np.concatenate([run(row[None]) for row in ROWS])


def log_kept(network, params):
    return np.log1p(-1 / (1 + np.exp(-discriminated(network, params).astype(np.float64))))


def masked_one_by_one(network, params):
    """log softmax in NumPy, of logits of rows with one [MASK] each."""
    run = jax.jit(lambda row, at: network.apply({"params": params}, packed(row), at, method="generate"))
    out = np.zeros(ROWS.shape)
    for number, column in np.argwhere(TEXT):
        row = ROWS[number].copy()
        row[column] = V.mask_id
        logits = np.asarray(run(row[None], np.array([[column]])))[0, 0]
        logits = logits[: V.vocab_size].astype(np.float64)
        out[number, column] = logits[ROWS[number, column]] - np.log(np.exp(logits).sum())
    return out


def chain_rule(network, params):
    """log softmax in NumPy of the logits at the token before, of rows that end with the token."""
    run = jax.jit(lambda row: network.apply({"params": params}, packed(row), method="logits"))
    out = np.zeros(ROWS.shape)
    for number, column in np.argwhere(V.pad_id != ROWS):
        if column:
            row = np.where(np.arange(ROWS.shape[1]) < column, ROWS[number], V.pad_id)
            logits = np.asarray(run(row[None]))[0, column - 1, : V.vocab_size].astype(np.float64)
            out[number, column] = logits[ROWS[number, column]] - np.log(np.exp(logits).sum())
    return out


BY_HAND = {
    "lm": chain_rule,
    "rtd": log_kept,
    "electric": lambda network, params: -discriminated(network, params),
}


def test_masked_log_probs_are_those_of_the_columns_that_are_asked(trained):
    settings, network, params = trained
    if "pll" not in usable_methods(settings, params):
        return
    columns = np.array([3, 1, 1], np.int32)
    asked = jax.jit(lambda p: masked_log_probs(network, p, ROWS, columns, SPECIAL))(params)
    expected = masked_one_by_one(network, params)
    np.testing.assert_allclose(asked[:2], expected[[0, 1], [3, 1]], rtol=2e-4)


def test_the_end_of_a_text_is_scored_if_asked(trained):
    settings, network, params = trained
    if settings.kind != "causal_lm":
        return
    expected = chain_rule(network, params)
    for end in (False, True):
        scored = TEXT | (end * (V.sep_id == ROWS))
        run = jax.jit(lambda p, end=end: causal_log_probs(network, p, ROWS, SPECIAL, end=end))
        found, counted = run(params)
        np.testing.assert_array_equal(counted, scored)
        np.testing.assert_allclose(found, expected * scored, rtol=1e-4)


def test_a_text_has_the_sum_of_its_tokens_or_for_rtd_the_mean():
    tokens = np.array([-1.0, -2.0], np.float32)
    assert [text_score(tokens, method) for method in ("pll", "electric", "rtd")] == [-3.0, -3.0, -1.5]
    assert text_score(tokens[:0], "pll") == 0.0
    assert np.isnan(text_score(tokens[:0], "rtd"))


@pytest.mark.parametrize(
    ("kind", "parts", "usable"),
    [
        ("electra", {"generator_head", "discriminator_head"}, ("rtd", "pll")),
        ("electra", {"discriminator_head"}, ("rtd",)),
        ("electra", {"encoder"}, ()),
        ("masked_lm", {"generator_head"}, ("pll",)),
        ("electric", {"discriminator_head", "cloze_head"}, ("electric",)),
        ("causal_lm", {"generator_head"}, ("lm",)),
        ("finetune", {"heads"}, ()),
    ],
)
def test_what_a_model_can_be_scored_by(kind, parts, usable):
    settings = small_config(objective={"kind": kind}).objective
    assert usable_methods(settings, parts) == usable
    if usable:
        assert choose_method(None, settings, parts) == usable[0]
    for method in {*SCORES} - {*usable}:
        with pytest.raises(UserError, match="which"):
            choose_method(method, settings, parts)
    with pytest.raises(UserError, match="the score 'likelihood' is unknown; there are lm, electric"):
        choose_method("likelihood", settings, parts)
