"""`Model.fill`: the generator's likeliest tokens at every gap, and what is refused."""

import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import write_pre_trained

import electra_jax
from electra_jax.model.inputs import packed_inputs
from electra_jax.partitioning import mesh


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        return electra_jax.load(write_pre_trained(tmp_path_factory.mktemp("models") / "pretrained"))


def probabilities(model, ids):
    """softmax in NumPy at every column of [CLS] ids [SEP]."""
    tokenizer = model.tokenizer
    row = np.array([[tokenizer.cls_id, *ids, tokenizer.sep_id]], np.int32)
    inputs = packed_inputs(row, pad_id=tokenizer.pad_id, cls_id=tokenizer.cls_id, sep_id=tokenizer.sep_id)
    columns = jnp.arange(row.shape[1])[None]
    run = jax.jit(lambda p: model._network.apply({"params": p}, inputs, columns, method="generate"))
    logits = np.asarray(run(model._params))[0, 1:-1, : tokenizer.vocab_size].astype(np.float64)
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def test_each_gap_has_the_likeliest_tokens_that_are_not_special(model):
    text = "Ann ___ [MASK] ."
    special = {model.tokenizer.token(i) for i in range(5)}
    expected = probabilities(model, [5, 4, 4, 18])
    gaps = model.fill(text, k=15)
    assert [len(gap) for gap in gaps] == [15, 15]
    for gap, column in zip(gaps, (1, 2), strict=True):
        by_token = {model.tokenizer.token(i): p for i, p in enumerate(expected[column])}
        assert {filling.token for filling in gap} == {*by_token} - special
        assert [f.probability for f in gap] == pytest.approx([by_token[f.token] for f in gap], rel=1e-4)
        assert [f.probability for f in gap] == sorted((f.probability for f in gap), reverse=True)
    assert {f.text for f in gaps[0]} == {f"Ann {f.token} [MASK] ." for f in gaps[0]}
    assert {f.text for f in gaps[1]} == {f"Ann ___ {f.token} ." for f in gaps[1]}


def test_many_texts_are_as_each_alone(model):
    texts = ["___", "ann left ___ .", "who ____ hamlet ? [MASK] did .", "___"]
    many = model.fill(texts, k=2)
    assert [len(gaps) for gaps in many] == [1, 1, 2, 1]
    for text, gaps in zip(texts, many, strict=True):
        for gap, alone in zip(gaps, model.fill(text, 2), strict=True):
            assert [replace(f, probability=0) for f in gap] == [replace(f, probability=0) for f in alone]
            assert [f.probability for f in gap] == pytest.approx([f.probability for f in alone], rel=1e-4)
    assert model.fill([]) == []


def test_of_a_long_text_what_is_around_each_gap_is_read(model):
    words = [model.tokenizer.token(id) for id in range(5, 20)] * 4
    words[3] = words[40] = words[59] = "___"
    text = " ".join(words)
    with pytest.warns(UserWarning, match="1 of 2 texts have more than 30 tokens") as caught:
        _, gaps = model.fill(["ann ___", text])
    assert caught[0].filename == __file__
    ids = [model.tokenizer.mask_id if word == "___" else model.tokenizer.encode(word)[0] for word in words]
    for gap, begin, place in zip(gaps, (0, 25, 30), (3, 40, 59), strict=True):
        expected = probabilities(model, ids[begin : begin + 30])[place - begin]
        assert gap[0].probability == pytest.approx(expected[5:].max(), rel=1e-4)
    marks = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fill(["ann ___", text], cut=marks)
    assert marks == [False, True]


@pytest.mark.parametrize("k", [0, 16, True, 2.0, None])
def test_k_is_a_number_of_tokens_that_there_are(model, k):
    with pytest.raises(
        electra_jax.UserError, match=r"tokens for a gap is .*, but must be a whole number from 1 to 15"
    ):
        model.fill("ann ___", k)
