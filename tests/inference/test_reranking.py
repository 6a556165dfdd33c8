"""Candidates put in order by judges: what each says, what their mixture chooses, and weights tuned on references."""

import math
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small_run import small_config
from tiny_writer import EXAMPLES, MODEL, letters, tiny_writer

from electra_jax.errors import UserError
from electra_jax.inference import reranker_file, source_scorer
from electra_jax.inference.model import Model
from electra_jax.inference.rerank_tuning import JudgedTexts, tune_reranker
from electra_jax.inference.reranking import Reranker
from electra_jax.inference.source_scorer import score_for_sources
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network
from electra_jax.partitioning import mesh

SOURCES = [example.source for example in EXAMPLES]
SEVERAL = {"beams": 3, "n_best": 3}


def _on_one_device(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        return Model(*arguments)


@pytest.fixture(scope="module")
def model():
    writer = tiny_writer()
    return _on_one_device(writer.config, writer.task.tokenizer, writer.params, {"mine": writer.task})


def _pair(length):
    config = small_config(
        model={**MODEL, "max_positions": 16},
        data={"sequence_length": length},
        tokenizer={"kind": "characters"},
    )
    network = build_network(config, letters().vocab_size)
    params = dict(jax.jit(lambda: init_params(network, jax.random.key(3)))())
    params["discriminator_head"]["prediction"]["kernel"] *= 100.0  # so that it takes sides
    return _on_one_device(config, letters(), params, {})


@pytest.fixture(scope="module")
def pair():
    """An ELECTRA of random weights with the same letters."""
    return _pair(16)


@pytest.fixture(scope="module")
def written(model):
    return model.generate(SOURCES, **SEVERAL)


def test_a_decoder_finds_a_text_as_likely_as_when_it_wrote_it(model, written):
    pairs, wanted = [], []
    for source, texts in zip(SOURCES, written, strict=True):
        for text in texts:
            if [*model.tokenizer.encode(text.text), model.tokenizer.sep_id] == [*text.tokens]:
                pairs.append((source, text.text))
                wanted.append(text.log_probs)
    assert len(pairs) > 3
    for found, expected in zip(score_for_sources(model, pairs), wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_texts_of_any_length_are_scored_alone_as_together(model, monkeypatch):
    monkeypatch.setattr(source_scorer, "_WIDTHS", np.array([4, 16]))
    pairs = [("ab", "a"), ("abcdefgh", "hgfedcbaabcdefghabcd"), ("ab", "")]
    together = score_for_sources(model, pairs)
    assert [len(found) for found in together] == [
        2,
        16,
        1,
    ]  # the end included; no more than there are positions
    for pair, found in zip(pairs, together, strict=True):
        np.testing.assert_allclose(score_for_sources(model, [pair])[0], found, atol=1e-5)


def test_each_judge_says_what_it_is_named_for(model, pair):
    asked = []

    def rank_all(lists):
        asked.extend(lists)
        return [{"scores": [float(len(text)) for text in candidates]} for _, candidates in lists]

    judges = {
        "decoder": model,
        "channel": model,
        "ranker": SimpleNamespace(rank_all=rank_all),
        "rtd": pair,
        "pll": pair,
        "rtd_in_context": pair,
        "length": None,
    }
    lists = [("ab", ["ba", " ", "ba"]), ("cab", ["a", "abc"])]
    scores = Reranker(judges).scores(lists)
    assert asked == [("ab", ["ba"]), ("cab", ["a", "abc"])]  # what is blank or there twice is not asked again
    assert np.isnan(scores[0, 1]).all()
    np.testing.assert_array_equal(scores[0, 0], scores[0, 2])
    assert np.isnan(scores[1, 2]).all()  # the list is filled up
    forward, back = score_for_sources(model, [("cab", "abc"), ("abc", "cab")])
    pll = pair.score("abc", "pll") / 3
    behind = np.mean([token.score for token in pair.score("cababc", "rtd", per_token=True)[3:]])
    expected = [forward.mean(), back.mean(), 3, pair.score("abc", "rtd"), pll, behind, math.log(3)]
    np.testing.assert_allclose(scores[1, 1], expected, atol=1e-5)


def test_of_a_long_source_the_end_is_the_context(pair):
    judge, letters = Reranker({"rtd_in_context": pair}), "abcdefghabcdefgh"
    found = judge.scores([(letters, ["abc"]), (letters[-11:], ["abc"]), (letters, [letters])])
    assert found[0] == found[1]  # 14 tokens are read
    assert found[2, 0, 0] == pytest.approx(pair.score(letters[:14], "rtd"))  # no room for a context


def test_no_more_is_judged_than_a_row_of_training_holds(pair):
    """The positions behind it were never trained."""
    short, letters = _pair(12), "abcdefghabcdefgh"
    judge = Reranker({"rtd": short, "rtd_in_context": short, "pll": short})
    found = judge.scores([(letters, ["abc", letters]), (letters[-7:], ["abc"]), ("", [letters[:10]])])
    np.testing.assert_array_equal(found[0, 0], found[1, 0])  # 10 tokens are read
    np.testing.assert_array_equal(found[0, 1], found[2, 0])
    whole = Reranker({"rtd": pair, "rtd_in_context": pair}).scores([(letters[-7:], ["abc"])])
    np.testing.assert_allclose(found[0, 0, :2], whole[0, 0], atol=1e-5)


def test_the_best_comes_first_with_what_was_said_of_it():
    ranked = Reranker({"length": None}, {"length": -2.0}).rank("ab", ["abcd", " ", "ab", "ba"])
    assert [one["number"] for one in ranked] == [2, 3, 0, 1]
    assert [one["candidate"] for one in ranked][:2] == ["ab", "ba"]
    assert ranked[0]["score"] == pytest.approx(-2 * math.log(2))
    assert ranked[0]["scores"] == {"length": pytest.approx(math.log(2))}
    assert ranked[-1] == {"candidate": " ", "number": 1, "score": None, "scores": {"length": None}}


def test_a_model_puts_what_it_wrote_in_the_order_of_the_judges(model, written):
    longest = model.generate(SOURCES, **SEVERAL, rerank=Reranker({"length": None}))
    for before, after in zip(written, longest, strict=True):
        assert sorted(text.tokens for text in before) == sorted(text.tokens for text in after)
        assert [len(text.text) for text in after] == sorted((len(text.text) for text in before), reverse=True)
    assert longest[0][0].scores == {"length": longest[0][0].score}
    with pytest.raises(UserError, match=r"one is written for each source: set generation\.beams"):
        model.generate(SOURCES, rerank=Reranker({"length": None}))
    with pytest.raises(UserError, match="must be a Reranker"):
        model.generate(SOURCES, **SEVERAL, rerank="rtd")


def test_weights_are_tuned_on_references(model, written):
    """Where the longest text is right, length counts all."""
    references = [max((text.text for text in texts), key=len) for texts in written]
    judges = {"length": None, "decoder": model}
    found, figures = tune_reranker(model, judges, SOURCES, references, "exact_match", **SEVERAL)
    assert figures["oracle"] == figures["mixture"] == figures["judges"]["length"] == 100
    assert figures["random"] < 100
    assert max(figures["judges"]["decoder"], figures["as_written"]) < 100
    longer = [
        all(len(text.text) < len(right) for text in texts if text.text != right)
        for texts, right in zip(written, references, strict=True)
    ]
    assert figures["reference_first"]["judges"]["length"] == pytest.approx(100 * np.mean(longer))
    assert found.weights["length"] > 0
    assert found.weights["decoder"] == 0
    with pytest.raises(UserError, match="less is better"):
        tune_reranker(model, judges, SOURCES, references, "repetition", **SEVERAL)


def test_a_reference_is_first_if_it_beats_all_texts_but_itself():
    scores = np.array([[[1.0], [5.0]], [[2.0], [9.0]], [[3.0], [np.nan]], [[4.0], [1.0]]])
    references = np.array([[6.0], [9.0], [3.0], [np.nan]])
    written = np.array([[False, False], [False, True], [False, False], [False, False]])
    judged = JudgedTexts(scores, np.isfinite(scores[..., 0]), np.sum, ("length",), references, written)
    assert (
        judged.reference_first(np.array([1.0])) == 50
    )  # of the third and an other text a judge says the same
    assert judged.reference_first(np.array([-1.0])) == 0


@pytest.mark.parametrize(
    ("judges", "weights", "message"),
    [
        ({}, None, "there is no judge to rerank by"),
        ({"critic": None}, None, "there is no judge 'critic'; there are: decoder, channel, ranker"),
        ({"rtd": None}, None, "the judge rtd needs ELECTRA's discriminator with its head"),
        ({"length": "a model"}, None, "the judge length asks no model"),
        ({"length": None}, {"length": math.nan}, "the weight of the judge length is nan"),
        ({"length": None}, {"rtd": 1.0}, "the judge length has no weight"),
    ],
)
def test_judges_that_do_not_fit(judges, weights, message):
    with pytest.raises(UserError, match=message):
        Reranker(judges, weights)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "does not hold a JSON object"),
        ('{"weights": {}}', "has 'weights', and there are judges and tuned"),
        ('{"judges": {"length": 3}}', "the judge length must have weight and model"),
        ('{"judges": {"length": {"model": 3}}}', "the model of the judge length must be a directory"),
        ('{"judges": {"length": {"weight": "much"}}}', "the weight of the judge length is 'much'"),
        ('{"judges": {}}', "there is no judge to rerank by"),
    ],
)
def test_a_file_that_is_no_mixture(tmp_path, content, message):
    (tmp_path / "judges.json").write_text(content)
    with pytest.raises(UserError, match=message):
        reranker_file.read_judges(str(tmp_path / "judges.json"))
