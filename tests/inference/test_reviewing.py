"""`Model.review`: which words are suspicious, what is suggested for them, and what is refused."""

import jax
import numpy as np
import pytest
from huggingface_folder import write_folder
from tiny_models import write_fine_tuned, write_pre_trained

import electra_jax
from electra_jax.inference.reviewing import readable_review
from electra_jax.partitioning import mesh


def load_on_one(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        return electra_jax.load(folder, notes=[])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_on_one(write_pre_trained(tmp_path_factory.mktemp("models") / "pretrained"))


def by_start(words):
    return sorted(words, key=lambda word: word.start)


def test_words_are_ranked_by_the_discriminators_doubt(model):
    text = "Ann left, xyz did."
    words = model.review(text, threshold=0.0, k=0)
    assert [word.replaced for word in words] == sorted((word.replaced for word in words), reverse=True)
    assert [word.text for word in by_start(words)] == ["Ann", "left", ",", "xyz", "did", "."]
    assert all(text[word.start : word.end] == word.text and word.tokens == 1 for word in words)
    expected = [token.replaced for token in model.detect(text)]
    assert [word.replaced for word in by_start(words)] == pytest.approx(expected, rel=1e-4)
    middle = words[2].replaced
    assert model.review(text, threshold=middle, k=0) == words[:3]


def test_a_word_of_several_tokens_is_as_likely_replaced_as_any_of_them(model):
    (word,) = [word for word in model.review("he 3.5 bob", threshold=0.0, k=0) if word.text == "3.5"]
    assert word.tokens == 3
    doubts = [token.replaced for token in model.detect("he 3.5 bob")][1:4]
    assert word.replaced == pytest.approx(1 - np.prod(1 - np.array(doubts)), rel=1e-4)


def test_suggestions_are_the_generators_where_the_word_is_masked(model):
    words = by_start(model.review("ann LEFT Bob 3.5", threshold=0.0, k=20))
    for word, gap in zip(
        words, ("___ left bob 3.5", "ann ___ bob 3.5", "ann left ___ 3.5", "ann left bob ___")
    ):
        (filled,) = model.fill(gap, k=15)
        expected = {f.token: f.probability for f in filled if f.token != word.text.lower()}
        assert [some.word.lower() for some in word.suggestions] == list(expected)
        assert [some.probability for some in word.suggestions] == pytest.approx(
            list(expected.values()), rel=1e-4
        )
    written = [word.suggestions[0].word for word in words]
    assert [written[0].islower() or not written[0].isalpha(), written[1] == written[1].upper()] == [
        True,
        True,
    ]
    assert written[2] == written[2].capitalize()


def test_of_a_long_text_every_word_is_read_in_the_middle_of_a_window(model):
    names = [model.tokenizer.token(id) for id in range(5, 20)] * 4
    words = by_start(model.review(" ".join(names), threshold=0.0, k=1))
    assert [word.text for word in words] == names
    # Of windows that begin at 0, 15 and 30, the second has most around word 29.
    (alone,) = [
        token
        for token in model.detect(" ".join(names[15:45]))
        if token.start == len(" ".join(names[15:29])) + 1
    ]
    assert words[29].replaced == pytest.approx(alone.replaced, rel=1e-4)
    assert all(len(word.suggestions) == 1 for word in words)


def test_many_texts_are_as_each_alone(model):
    texts = ["who wrote hamlet ?", "", "he left"]
    many = model.review(texts, threshold=0.0, k=1)
    assert [len(words) for words in many] == [4, 0, 2]
    assert [word.text for word in many[2]] == [word.text for word in model.review("he left", 0.0, 1)]
    assert model.review([]) == []


def test_a_review_can_be_read_by_people():
    words = [
        {"text": "wich", "start": 3, "tokens": 2, "replaced": 0.914, "suggestions": []},
        {"text": "a", "start": 1, "tokens": 1, "replaced": 0.5, "suggestions": []},
    ]
    words[0]["suggestions"] = [{"word": "which", "probability": 0.5}]
    assert readable_review("7", "a, wich", words).splitlines() == [
        "7: a, wich",
        "    0.91  wich  at 3  (2 tokens)  > which 0.50",
        "    0.50  a     at 1",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.5,), "the threshold is 1.5, but must be a probability from 0 to 1"),
        ((0.5, -1), "suggestions for a word is -1, but must be a whole number from 0"),
        ((0.5, True), "suggestions for a word is True"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(model, arguments, message):
    with pytest.raises(electra_jax.UserError, match=message):
        model.review("ann left", *arguments)


def test_without_a_generator_there_are_no_suggestions_and_without_its_head_no_review(tmp_path):
    alone = load_on_one(write_folder(tmp_path / "alone", "discriminator"))
    assert len(alone.review("word3 word5", threshold=0.0, k=0)) == 2
    with pytest.raises(electra_jax.UserError, match=r"suggestions need ELECTRA's generator.*ask for 0"):
        alone.review("word3 word5")
    tuned = load_on_one(write_fine_tuned(tmp_path / "tuned"))
    with pytest.raises(electra_jax.UserError, match="a review needs ELECTRA's discriminator with its head"):
        tuned.review("ann left")
