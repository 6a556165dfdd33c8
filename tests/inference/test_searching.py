"""Searching in Python: the scores are those of `rank`, whatever keeps the vectors; what cannot be searched."""

import warnings

import numpy as np
import pytest
from tiny_ranker import ranker
from writers import causal_model

from electra_jax.errors import UserError

CANDIDATES = ["abc", "h", "gfed", "ab", "hhgg", "cab", "da", "ee"]
CONTEXTS = ["cab", "abcdefghabcdefghab", "h"]


@pytest.mark.parametrize("encoder", ["bi", "poly"])
def test_an_index_finds_what_ranking_all_finds(encoder, tmp_path):
    model = ranker(encoder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index = model.index([*CANDIDATES, "h"], tmp_path / "index")
        in_memory = model.index(CANDIDATES)
    assert len(index) == len(in_memory) == len(CANDIDATES)  # the second h is the first
    np.testing.assert_array_equal(index.vectors, in_memory.vectors)
    assert in_memory.vectors.ctypes.data % 64 == 0  # what lies elsewhere is copied for the device
    assert not in_memory.vectors.flags.writeable
    with pytest.warns(UserWarning, match="1 of 3 texts were too long and were cut") as caught:
        found = model.search(CONTEXTS, tmp_path / "index", k=5)
    assert caught[0].filename == __file__
    for context, answers in zip(CONTEXTS, found, strict=True):
        ranked = model.rank(context, CANDIDATES)[:5]
        assert [one["score"] for one in answers] == pytest.approx([one["score"] for one in ranked], abs=1e-4)
        assert [one["candidate"] for one in answers] == [one["candidate"] for one in ranked]
        assert [one["id"] for one in answers] == [one["number"] for one in answers]
        assert [CANDIDATES[one["number"]] for one in answers] == [one["candidate"] for one in answers]
    alone = model.search(CONTEXTS[0], in_memory)
    assert len(alone) == len(CANDIDATES)
    assert [one["candidate"] for one in alone[:5]] == [one["candidate"] for one in found[0]]
    assert model.search([], index) == []


def test_what_cannot_be_searched_is_one_sentence(tmp_path):
    model = ranker("bi")
    index = model.index(CANDIDATES)
    with pytest.raises(UserError, match="was built by another model, or another task"):
        ranker("bi", seed=1).search("a", index)
    with pytest.raises(UserError, match="is a cross-encoder, which reads each candidate with its context"):
        ranker("cross").index(CANDIDATES)
    writer = causal_model(words=True, devices=1)
    with pytest.raises(
        UserError, match=r"\(causal_lm\) writes and cannot rank: use one that was fine-tuned on a"
    ):
        writer.index(CANDIDATES)
    with pytest.raises(UserError, match="writes and cannot rank"):
        writer.rank("a", CANDIDATES)
    with pytest.raises(UserError, match="there are no candidates"):
        model.index([])
    with pytest.raises(UserError, match=r"index: candidate 1 is int .3. and not a text"):
        model.index(["a", 3])
    for empty in ("", " \n"):
        with pytest.raises(UserError, match="index: candidate 1 is empty: leave it out, or give it a text"):
            model.index(["a", empty])
        with pytest.raises(UserError, match="rank_all: item 0, candidate 1 is empty: leave it out"):
            model.rank("a", ["b", empty])
    with pytest.raises(UserError, match="index takes a text, or a list of them, and not None"):
        model.index(None)
    assert len(model.index("abc")) == 1  # and not a candidate for each letter
    with pytest.raises(UserError, match="k, how many candidates to find, is 0"):
        model.search("a", index, k=0)
    with pytest.raises(UserError, match="holds no index"):
        model.search("a", tmp_path)
    with pytest.raises(UserError, match="no task 'other' that ranks: name one of reply"):
        model.search("a", index, task="other")
    with pytest.warns(UserWarning, match="1 of 2 candidates were too long and were cut"):
        model.index(["abcdefgh", "a"])
