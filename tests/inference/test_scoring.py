"""`Model.score` and `Model.fill`: each text alone, in any batch, on any number of devices; and what they refuse."""

import jax
import numpy as np
import pytest
from huggingface_folder import write_folder
from tiny_models import write_causal, write_fine_tuned, write_pre_trained

import electra_jax
from electra_jax.inference import scoring
from electra_jax.partitioning import mesh

TEXTS = ["ann left .", "bob", "who wrote hamlet ? ann did .", "ann left .", "a sentence another", "zebra"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pre_trained(tmp_path_factory.mktemp("models") / "pretrained")


def load_on(folder, devices):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:devices])
        return electra_jax.load(folder, notes=[])


@pytest.fixture(scope="module")
def model(folder):
    return load_on(folder, 1)


@pytest.fixture(scope="module")
def causal_folder(tmp_path_factory):
    return write_causal(tmp_path_factory.mktemp("models") / "causal")


@pytest.mark.parametrize("method", ["rtd", "pll", "lm"])
def test_a_score_is_that_of_the_text_alone_in_any_order_on_any_devices(
    folder, causal_folder, model, method, monkeypatch
):
    if method == "lm":
        folder, model = causal_folder, load_on(causal_folder, 1)
    scores = model.score(TEXTS, method)
    assert all(isinstance(score, float) and score < 0 for score in scores)
    assert len(set(scores)) == 5
    assert scores[0] == scores[3]
    assert model.score(TEXTS[::-1], method) == pytest.approx(scores[::-1], rel=1e-4)
    assert model.score(TEXTS[2], method) == pytest.approx(scores[2], rel=1e-4)
    tokens = model.score(TEXTS, method, per_token=True)
    total = np.mean if method == "rtd" else np.sum
    assert [total([token.score for token in some]) for some in tokens] == pytest.approx(scores, rel=1e-6)
    assert [token.text for token in tokens[2]] == ["who", "wrote", "hamlet", "?", "ann", "did", "."]
    assert [(token.start, token.end) for token in tokens[4]] == [(0, 1), (2, 10), (11, 18)]
    monkeypatch.setattr(scoring, "_MAX_MASKED_TOKENS", 12)  # in many parts
    monkeypatch.setattr(scoring, "_SHORT", 5)
    assert load_on(folder, 8).score(TEXTS, method) == pytest.approx(scores, rel=1e-4)


def test_the_end_of_a_text_is_a_token_of_its_own_if_asked(causal_folder, model):
    causal = load_on(causal_folder, 1)
    plain, ended = (causal.score("ann left", "lm", per_token=True, end=end) for end in (False, True))
    assert [(token.text, token.start, token.end) for token in ended[2:]] == [("", 8, 8)]
    assert [token.score for token in ended[:2]] == pytest.approx([token.score for token in plain], rel=1e-5)
    assert causal.score("ann left", end=True) == pytest.approx(sum(t.score for t in ended), rel=1e-5)
    assert ended[2].score < 0
    assert repr(causal).startswith("<Model pre-trained: ")
    with pytest.raises(
        electra_jax.UserError, match="the end of a text is scored by lm alone, and this is rtd"
    ):
        model.score("ann", end=True)


def test_a_text_without_tokens(model):
    assert model.score("", "pll") == 0.0
    assert np.isnan(model.score(" ", "rtd"))
    assert model.score(["", "bob"], "pll", per_token=True)[0] == []
    assert model.score([], "pll") == []


def test_the_default_is_what_the_model_is_for(model):
    assert model.score(TEXTS) == model.score(TEXTS, "rtd")


def test_what_lacks_a_head_says_so(tmp_path, model):
    with pytest.raises(electra_jax.UserError, match=r"lm needs a causal language model, .*; use rtd or pll"):
        model.score("ann", "lm")
    tuned = load_on(write_fine_tuned(tmp_path / "tuned"), 1)
    with pytest.raises(electra_jax.UserError, match="was fine-tuned"):
        tuned.score("ann")
    with pytest.raises(
        electra_jax.UserError, match="filling gaps needs a masked language model or ELECTRA's gen"
    ):
        tuned.fill("ann ___")
    half = load_on(write_folder(tmp_path / "discriminator", "discriminator"), 1)
    with pytest.raises(electra_jax.UserError, match=r"pll needs .*generator.*use rtd"):
        half.score("ann", "pll")
    with pytest.raises(electra_jax.UserError, match="filling gaps needs"):
        half.fill("ann ___")
