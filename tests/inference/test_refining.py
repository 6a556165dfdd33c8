"""`Model.refine`: gaps and drafts of texts, what is refused, and what a batch does not change."""

import dataclasses

import jax
import numpy as np
import pytest
from huggingface_folder import write_folder, write_pair
from tiny_models import write_fine_tuned, write_pre_trained

import electra_jax
from electra_jax.config.generation import RefineConfig
from electra_jax.inference.refining import GappedRows, refine_rows
from electra_jax.partitioning import mesh

ONE = {"steps": 3, "threshold": 0.0}


def load_on(devices, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:devices])
        return electra_jax.load(folder, notes=[])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pre_trained(tmp_path_factory.mktemp("models") / "pretrained")


@pytest.fixture(scope="module")
def model(folder):
    return load_on(1, folder)


def test_only_gaps_are_written_and_the_rest_is_as_it_was(model):
    (refined,) = model.refine(["Ann ___ BOB  [MASK] ?"], **ONE)
    assert refined.text.startswith("Ann ")
    assert " BOB  " in refined.text
    assert refined.text.endswith(" ?")
    assert [token.written for token in refined.tokens] == [False, True, False, True, False]
    assert not {token.text for token in refined.tokens} & {"[MASK]", "[UNK]", "[PAD]", "[CLS]", "[SEP]"}
    assert len(refined.trace) == 3
    replaced = np.array([token.replaced for token in refined.tokens])
    assert np.log1p(-replaced).mean() == pytest.approx(refined.trace[-1], rel=1e-4)
    assert refined.trace[-1] == pytest.approx(model.score(refined.text, "rtd"), rel=1e-4)


def test_a_draft_is_judged_as_it_is_and_rewritten_where_it_is_doubted(model):
    draft = "ann left bob"
    rewritten = model.refine(draft, draft=True, seed=3, **ONE)
    assert len(rewritten.trace) == 4
    assert rewritten.trace[0] == pytest.approx(model.score(draft, "rtd"), rel=1e-4)
    assert rewritten.trace[-1] == pytest.approx(model.score(rewritten.text, "rtd"), rel=1e-4)
    written = [token.text for token in rewritten.tokens if token.written]
    assert written
    assert all(token in rewritten.text for token in written)


def test_a_text_is_the_same_in_any_batch_and_on_any_devices(model, folder):
    texts = ["ann ___ .", "___ ___ who ___ ___ ?", "he [MASK] away ."]
    together = model.refine(texts, **ONE)
    spread = load_on(8, folder).refine(texts, **ONE)
    first = model.refine(texts[0], **ONE)
    for one, other in [(first, together[0]), *zip(together, spread, strict=True)]:
        assert one.text == other.text
        assert one.trace == pytest.approx(other.trace, rel=1e-4)
    assert model.refine([], **ONE) == []


def test_what_is_drawn_follows_from_the_seed(model):
    drawn = [model.refine("ann ___ ___ ___ .", seed=seed, **ONE).text for seed in (0, 1, 2, 3, 0)]
    assert len(set(drawn)) > 1
    assert drawn[0] == drawn[-1]


def test_a_released_pair_refines_as_it_is(tmp_path):
    write_pair(tmp_path / "pair")
    released = load_on(1, tmp_path / "pair")
    refined = released.refine("word3 ___ word5", **ONE)
    assert refined.text.split()[::2] == ["word3", "word5"]
    assert refined.text.split()[1].startswith("word")


@pytest.mark.parametrize(
    ("texts", "settings", "message"),
    [
        (["ann ___", "ann left"], {}, r"refine: item 1 has no gap: write \[MASK\] or ___ .*draft=True"),
        (
            "ann ___",
            {"step": 3},
            r"unknown key generation\.refine\.step; did you mean generation\.refine\.steps",
        ),
        ("ann ___", {"steps": 0}, r"generation\.refine\.steps is 0, but must be greater than or equal to 1"),
        ("ann ___", {"keep": "best"}, r"generation\.refine\.keep is 'best', but must be 'discriminator', "),
        ([3], {}, "refine: item 0 is int '3' and not a text"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(model, texts, settings, message):
    with pytest.raises(electra_jax.UserError, match=message):
        model.refine(texts, **settings)


def test_a_model_that_is_no_pair_is_refused(tmp_path):
    fine_tuned = load_on(1, write_fine_tuned(tmp_path / "tuned"))
    with pytest.raises(
        electra_jax.UserError, match="has no generator and no discriminator: use a pre-trained pair"
    ):
        fine_tuned.refine("ann ___")
    alone = load_on(1, write_folder(tmp_path / "alone", "discriminator"))
    with pytest.raises(electra_jax.UserError, match="has no generator: use a pre-trained pair"):
        alone.refine("ann ___")


def test_what_is_behind_the_models_length_is_left_as_it_is(model):
    long = "ann ___ " + "left " * 40 + "___"
    cut: list[bool] = []
    refined = model.refine([long, "___"], cut=cut, **ONE)
    assert cut == [True, False]
    assert refined[0].text.endswith("left ___")
    behind = model.refine("left " * 40 + "___", cut=cut, draft=True, **ONE)
    assert (behind.text, len(behind.trace)) == ("left " * 40 + "___", 1)
    with pytest.warns(UserWarning, match="1 of 1 texts have more than 30 tokens"):
        model.refine(long, **ONE)


def test_rows_can_be_refined_without_text(model):
    ids = np.array([2, 5, 4, 7, 4, 3], np.int32)
    rows = GappedRows([ids], [ids == 4], np.array([0], np.int32))
    (row,) = refine_rows(model, rows, RefineConfig(**ONE), seed=0, draft=False)
    np.testing.assert_array_equal(row.ids[[0, 1, 3, 5]], ids[[0, 1, 3, 5]])
    assert dataclasses.asdict(row)["trace"].shape == (3,)
