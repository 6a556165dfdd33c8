"""What a causal language model writes: alone or in a batch, on one device or eight, whole or in pieces."""

import warnings

import numpy as np
import pytest
from writers import Teacher, causal_model

from electra_jax.errors import UserError
from electra_jax.inference import writer
from electra_jax.inference.writer import Writer
from electra_jax.inference.writing import generation_settings

PROMPTS = ["", "a", "abc", "hgfe dcba", "a b c d e f g", "bad\nhead"]


@pytest.fixture(scope="module")
def model():
    return causal_model(devices=1)


@pytest.fixture(scope="module")
def on_eight():
    return causal_model()


@pytest.fixture(scope="module")
def in_words():
    return causal_model(words=True, devices=1)


@pytest.fixture(scope="module")
def short():
    return causal_model(length=16, devices=1)


def first(found):
    return [one[0] if isinstance(one, list) else one for one in found]


def texts(found):
    return [one.text for one in first(found)]


SETTINGS = {
    "greedy": {},
    "sample": {"temperature": 0.9, "seed": 3},
    "beam": {"beams": 3, "length_penalty": 0.6, "n_best": 2},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_prompt_alone_is_the_prompt_in_any_batch_and_on_any_number_of_devices(model, on_eight, settings):
    settings = {**settings, "max_new_tokens": 12}
    whole = model.generate(PROMPTS, **settings)
    assert len(set(texts(whole))) > 3
    assert texts(on_eight.generate(PROMPTS, **settings)) == texts(whole)
    of_model = Writer(model, generation_settings(model.config, settings))
    for number in (0, 3, 5):
        (alone,) = of_model.write([of_model.prompt(PROMPTS[number], "")], [number])
        assert alone[0].text == texts(whole)[number]
        assert alone[0].score == pytest.approx(first(whole)[number].score, abs=1e-4)
    backwards = model.generate(PROMPTS[::-1], **settings) if "seed" not in settings else whole[::-1]
    assert texts(backwards) == texts(whole)[::-1]


def test_the_score_is_that_of_a_pass_over_the_whole_text(model):
    teacher = Teacher(model)
    for settings in ({"temperature": 2.0, "seed": 1}, {"beams": 3, "n_best": 2, "length_penalty": 0.0}):
        found_all = first(model.generate(PROMPTS, max_new_tokens=9, **settings))
        for prompt, found in zip(PROMPTS, found_all, strict=True):
            ids = [model.tokenizer.cls_id, *model.tokenizer.encode(prompt), *found.tokens]
            expected = teacher.log_probs(ids, len(found.tokens))
            np.testing.assert_allclose(found.log_probs, expected, atol=2e-4)
            assert found.score == pytest.approx(sum(expected), abs=1e-3)


def test_one_prompt_one_text_and_several_texts_a_list(model):
    one = model.generate("abc", max_new_tokens=5, temperature=0.9, seed=3)
    assert one == model.generate(["abc"], max_new_tokens=5, temperature=0.9, seed=3)[0]
    drawn = model.generate("abc", max_new_tokens=5, temperature=0.9, n=3, seed=3)
    assert len({found.text for found in drawn}) > 1
    assert drawn[0].text == one.text  # the first is the same, however many there are
    best = model.generate(PROMPTS, max_new_tokens=5, beams=3, n_best=2)
    assert [len(found) for found in best] == [2] * len(PROMPTS)
    assert all(found[0].score >= found[1].score for found in best)


def test_more_texts_of_a_prompt_than_a_batch_has_rows(short, monkeypatch):
    """They were one batch, however many: a million texts needed the memory of a million rows."""
    settings = {"max_new_tokens": 15, "temperature": 1.5, "seed": 4}
    whole = short.generate("abc", n=4, **settings)
    sizes, looks = [], Writer._looks

    def watched(self, texts, samples, **more):
        sizes.append(len(texts))
        return looks(self, texts, samples, **more)

    monkeypatch.setattr(writer, "rows_of_a_batch", lambda mesh: 2)
    monkeypatch.setattr(Writer, "_looks", watched)
    found = short.generate("abc", n=5, **settings)
    assert [one.tokens for one in found[:4]] == [one.tokens for one in whole]
    assert max(sizes) == 2


@pytest.mark.filterwarnings("ignore:the tokenizer does not keep")
def test_nothing_is_written_that_is_no_text(model, in_words):
    for of, free in ((model, set()), (in_words, {13})):
        vocabulary = of.tokenizer
        found = of.generate([""] * 8, max_new_tokens=60, temperature=3.0, seed=1)
        written = {token for text in found for token in text.tokens}
        assert not written & (
            {vocabulary.pad_id, vocabulary.unk_id, vocabulary.cls_id, vocabulary.mask_id} | free
        )
        assert max(written) < vocabulary.vocab_size
        assert not any("[" in text.text for text in found)
        assert {text.finish for text in found} <= {"end", "length"}


def test_a_text_goes_on_where_positions_run_out(short):
    found = short.generate(["abc", "a"], max_new_tokens=60, min_new_tokens=59)
    assert [len(one.tokens) for one in found] == [60, 60]
    ids = [short.tokenizer.cls_id, *short.tokenizer.encode("abc"), *found[0].tokens]
    teacher = Teacher(short)
    np.testing.assert_allclose(found[0].log_probs[:12], teacher.log_probs(ids[:16], 12), atol=2e-4)
    again = teacher.log_probs([ids[0], *ids[8:20]], 4)  # the last eight that were read, and four more
    np.testing.assert_allclose(found[0].log_probs[12:16], again, atol=2e-4)
    assert "".join(short.stream("abc", max_new_tokens=60, min_new_tokens=59)) == found[0].text
    drawn = short.generate("a", max_new_tokens=20, min_new_tokens=19, temperature=1.5, seed=4, n=2)
    assert [len(one.tokens) for one in drawn] == [20, 20]


@pytest.mark.filterwarnings("ignore:the tokenizer does not keep")
def test_a_stream_is_the_whole_text_in_pieces(model, in_words):
    for of in (model, in_words):
        for settings in (
            {},
            {"temperature": 2.0, "seed": 2},
            {"stop_strings": ["t" if of is in_words else "b"]},
        ):
            pieces = list(of.stream("a", max_new_tokens=25, min_new_tokens=20, **settings))
            whole = of.generate("a", max_new_tokens=25, min_new_tokens=20, **settings)
            assert "".join(pieces) == whole.text
            assert all(pieces)


def test_stop_strings_cut_the_text_and_end_it(model):
    whole = model.generate(PROMPTS, max_new_tokens=24, min_new_tokens=24)
    stop = whole[0].text[7:9]
    for found, one in zip(
        model.generate(PROMPTS, max_new_tokens=24, min_new_tokens=24, stop_strings=[stop]), whole, strict=True
    ):
        assert found.text == one.text.partition(stop)[0]
        assert found.finish == ("stop" if stop in one.text else "length")
        assert len(found.log_probs) == len(found.tokens)
        assert found.tokens == one.tokens[: len(found.tokens)]
    beams, *_ = first(model.generate(PROMPTS, max_new_tokens=24, min_new_tokens=24, beams=3, n_best=2))
    stop = beams.text[5:7]
    settings = {"max_new_tokens": 24, "min_new_tokens": 24, "beams": 3, "n_best": 2}
    cut, *_ = first(model.generate(PROMPTS, **settings, stop_strings=[stop]))
    assert (cut.text, cut.finish) == (beams.text.partition(stop)[0], "stop")


def test_bans_prefixes_and_ends(model):
    found = model.generate(
        PROMPTS, max_new_tokens=20, forced_prefix="dad", ban=["a", "bc"], min_new_tokens=10
    )
    for one in found:
        assert one.text.startswith("dad")
        assert "a" not in one.text[3:]
        assert "bc" not in one.text
    ended = model.generate(PROMPTS, max_new_tokens=20, end_tokens=["."], temperature=2.0, seed=5)
    assert any(one.text.endswith(".") and one.finish == "end" for one in ended)
    assert all("." not in one.text[:-1] for one in ended)


def test_no_more_programs_than_buckets(model):
    """sglang-jax#81, HF#29410: every new length was compiled anew. Nor is anything compiled for another number."""
    rng = np.random.default_rng(0)
    prompts = ["".join(rng.choice(list("abcdefgh"), n)) for n in rng.integers(0, 31, 1000)]
    other = causal_model(devices=1)
    other.generate(prompts, max_new_tokens=2)
    programs = other._writing["one device"].programs
    buckets = Writer(other, generation_settings(other.config, {})).buckets
    most = len(buckets.rows) * len(buckets.lengths)
    assert programs.begin._function._cache_size() <= most
    assert programs.advance._function._cache_size() <= most
    compiled = []
    for penalty in (1.5, 1.2):
        other.generate(prompts[:32], max_new_tokens=3, min_new_tokens=2, repetition_penalty=penalty)
        compiled.append(programs.begin._function._cache_size())
    assert compiled[0] == compiled[1]


def test_a_vocabulary_that_does_not_keep_text_is_said(model, in_words):
    with pytest.warns(UserWarning, match="does not keep capitals, accents, line ends"):
        in_words.generate("Ann", max_new_tokens=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.generate("a", max_new_tokens=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beams": 2, "temperature": 0.5}, "beams 2 draws nothing, so temperature does not go with it"),
        ({"beams": 2, "n": 2}, "so n does not go with it"),
        ({"beams": 2, "method": "sample"}, "beams 2 needs method beam, not sample"),
        ({"method": "greedy", "top_p": 0.5}, "method greedy draws nothing, so top_p does not"),
        ({"n_best": 2}, "n_best 2 is above beams 1"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens 9 is above max_new_tokens 8"),
        ({"stop_strings": [""]}, "stop_strings has an empty text"),
        ({"stop_strings": ["Z"]}, "stop_strings has 'Z', which this vocabulary cannot write"),
        ({"ban": ["Z"]}, "ban has 'Z', which this vocabulary cannot write"),
        ({"end_tokens": ["the"]}, "end_tokens has 'the', which is no token of this vocabulary"),
        (
            {"forced_prefix": "abc", "max_new_tokens": 2},
            "forced_prefix has 3 tokens, and max_new_tokens is 2",
        ),
        ({"temprature": 1.0}, "unknown key generation.temprature; did you mean generation.temperature"),
        ({"method": "refine"}, "refine needs a generator and a discriminator"),
        ({"no_repeat_source_ngram": 3}, "no_repeat_source_ngram is for tasks of kind seq2seq"),
    ],
)
def test_settings_that_do_not_fit_are_refused(model, settings, message):
    with pytest.raises(UserError, match=message):
        model.generate("a", **settings)


def test_what_cannot_be_written_is_refused(model):
    with pytest.raises(
        UserError, match=r"item 1: the prompt has 41 tokens, .* and the model reads 32 with what it"
    ):
        model.generate(["a", "b" * 40])
    with pytest.raises(UserError, match="only one text can be streamed"):
        model.stream("a", beams=2)
    with pytest.raises(UserError, match="generate takes a text, or a list of them, and not int"):
        model.generate(3)
    assert model.generate([]) == []
