"""`Model.classify_zero_shot`: the discriminator's doubt about labels in a prompt, and what is refused."""

import jax
import numpy as np
import pytest
from tiny_models import write_causal, write_pre_trained

import electra_jax
from electra_jax.partitioning import mesh


def load_on_one(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        return electra_jax.load(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_on_one(write_pre_trained(tmp_path_factory.mktemp("models") / "pretrained"))


def doubt(model, text, words):
    """The mean of log(1 − p replaced) over some tokens, counted from the end where negative."""
    tokens = model.detect(text)
    return np.mean([np.log1p(-tokens[word].replaced) for word in words])


def test_a_label_scores_what_its_tokens_do_in_the_prompt(model):
    answer = model.classify_zero_shot("Bob wrote", [" hamlet", "a sentence"], "{text} {label}.")
    expected = {
        "hamlet": doubt(model, "bob wrote hamlet.", [2]),
        "a sentence": doubt(model, "bob wrote a sentence.", [2, 3]),
    }
    assert answer["scores"] == pytest.approx(expected, rel=1e-4)
    assert answer["label"] == max(expected, key=expected.get)
    assert list(answer) == ["label", "scores"]


def test_a_label_may_come_first_and_a_text_may_look_like_a_template(model):
    answers = model.classify_zero_shot(["ann left {label} ?", ""], ["bob", "ann"], "{label}. {text}")
    assert answers[0]["scores"]["bob"] == pytest.approx(
        doubt(model, "bob. ann left {label} ?", [0]), rel=1e-4
    )
    assert answers[1]["scores"]["ann"] == pytest.approx(doubt(model, "ann.", [0]), rel=1e-4)
    assert model.classify_zero_shot([], ["bob", "ann"], "{label} {text}") == []


def test_a_long_text_is_cut_at_its_end_and_the_prompt_is_not(model):
    long = "he went away . " * 10
    (answer,) = model.classify_zero_shot([long], ["left", "a . sentence"], "who ? {text} he {label}.")
    assert answer["truncated"] is True
    words = long.split()  # of 30 tokens the prompt has 5
    assert answer["scores"]["left"] == pytest.approx(
        doubt(model, f"who ? {' '.join(words[:25])} he left.", [-2]), rel=1e-4
    )
    assert answer["scores"]["a . sentence"] == pytest.approx(
        doubt(model, f"who ? {' '.join(words[:23])} he a . sentence.", [-4, -3, -2]), rel=1e-4
    )


@pytest.mark.parametrize(
    ("labels", "template", "message"),
    [
        (["ann"], "{text} {label}", "the labels 'ann' must be two or more, all different and none of them empty"),
        (["ann", " ann"], "{text} {label}", "must be two or more, all different"),
        (["ann", "bob", "ANN"], "{text} {label}", "the labels 'ann' and 'ANN' are the same tokens to this model"),
        (["ann", " "], "{text} {label}", "none of them empty"),
        ("ann", "{text} {label}", "the labels are 'ann', but must be a list of texts"),
        (["ann", "bob"], "{text}", "must have {text} and {label} once each"),
        (["ann", "bob"], "{text} {text} {label}", "must have {text} and {label} once each"),
        (["ann", "xyz"], "{text} {label}", "the label 'xyz' has characters that the vocabulary does not"),
        (["ann", "bob"], "a " * 29 + "{text} {label}", "'ann' has 30 tokens, which leaves no room"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_a_sentence(model, labels, template, message):
    with pytest.raises(electra_jax.UserError, match=message):
        model.classify_zero_shot("ann left", labels, template)


def test_a_model_without_a_discriminator_is_refused(tmp_path):
    causal = load_on_one(write_causal(tmp_path / "causal"))
    with pytest.raises(electra_jax.UserError, match="zero-shot classification needs ELECTRA's discriminator"):
        causal.classify_zero_shot("ann left", ["ann", "bob"], "{text} {label}")
