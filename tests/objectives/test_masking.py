import json

import jax
import numpy as np
import pytest

from electra_jax.objectives.masking import choose_positions, draw_masks, max_masked, num_masked, scatter

SPECIAL = {"pad_id": 0, "ineligible_ids": (2, 3, 4), "mask_id": 4}


def _row(length, real):
    ids = np.full((1, length), 0, np.int32)
    ids[0, :real] = np.arange(10, 10 + real)
    ids[0, 0], ids[0, real - 1] = 2, 3
    return ids


@pytest.mark.parametrize(("rate", "length", "slots"), [(0.15, 128, 19), (0.15, 512, 79), (0.25, 512, 130)])
def test_slots_of_the_reference(rate, length, slots):
    assert max_masked(rate, length) == slots


@pytest.mark.shared_data
def test_how_many_are_chosen_as_in_the_original(shared):
    stats = json.loads((shared / "golden/tf/mask_stats.json").read_text())
    checked = 0
    for name, case in stats.items():
        if not name.startswith("L"):
            continue
        length, rate = int(name[1:].split("_")[0]), float(name.split("_p")[1])
        assert max_masked(rate, length) == case["max_predictions_per_seq"]
        chosen = num_masked(np.array(case["length"]), rate, max_masked(rate, length))
        np.testing.assert_array_equal(chosen, case["num_to_predict"])
        checked += 1
    assert checked >= 3


def test_chosen_tokens_are_distinct_eligible_and_uniform():
    ids = np.repeat(_row(32, 30), 4000, axis=0)
    masked = draw_masks(
        jax.random.key(1), ids, **SPECIAL, mask_rate=0.15, mask_token_probability=0.85, with_replacement=False
    )
    positions, weights = np.asarray(masked.positions), np.asarray(masked.weights)
    assert (weights.sum(axis=1) == 4).all()  # round_half_even(.15 x 30 = 4.5)
    used = [set(p[w > 0]) for p, w in zip(positions, weights)]
    assert all(len(p) == 4 for p in used)
    counts = np.bincount(positions[weights > 0], minlength=32)
    assert counts[[0, 29, 30, 31]].sum() == 0
    expected = 4000 * 4 / 28
    chi_squared = ((counts[1:29] - expected) ** 2 / expected).sum()
    assert chi_squared < 56.9  # the 99.9 % quantile at 27 degrees of freedom
    is_mask = np.take_along_axis(np.asarray(masked.input_ids), positions, 1)[weights > 0] == 4
    assert is_mask.mean() == pytest.approx(0.85, abs=4 * np.sqrt(0.85 * 0.15 / is_mask.size))
    kept = np.asarray(masked.input_ids) != ids
    assert (kept.sum(axis=1) <= 4).all()


@pytest.mark.shared_data
def test_with_replacement_gives_the_originals_rate_of_distinct_positions(shared):
    case = json.loads((shared / "golden/tf/mask_stats.json").read_text())["L128_p0.15"]
    eligible = np.zeros((4000, 128), bool)
    eligible[:, 1:127] = True
    positions, weights = choose_positions(
        jax.random.key(0),
        eligible,
        num_masked(np.full(4000, 128), 0.15, max_masked(0.15, 128)),
        slots=19,
        with_replacement=True,
    )
    distinct = np.mean([len(set(p[w > 0])) for p, w in zip(np.asarray(positions), np.asarray(weights))])
    closed_form = 126 * (1 - (1 - 1 / 126) ** 19)
    assert distinct == pytest.approx(closed_form, abs=0.1)
    assert distinct == pytest.approx(case["mean_distinct_positions"][-1], abs=0.2)


@pytest.mark.parametrize("with_replacement", [False, True])
def test_a_row_with_nothing_eligible_has_no_weight(with_replacement):
    ids = np.zeros((3, 16), np.int32)
    ids[1, :2] = 2, 3
    ids[2, :4] = 2, 9, 8, 3
    masked = draw_masks(
        jax.random.key(0),
        ids,
        **SPECIAL,
        mask_rate=0.15,
        mask_token_probability=0.85,
        with_replacement=with_replacement,
    )
    np.testing.assert_array_equal(np.asarray(masked.weights).sum(axis=1), [0, 0, 1])
    np.testing.assert_array_equal(np.asarray(masked.input_ids)[:2], ids[:2])


def test_put_averages_duplicates_and_ignores_unused_slots():
    rows = np.array([[10, 11, 12, 13]], np.int32)
    positions, values = np.array([[1, 1, 3, 0]]), np.array([[20, 25, 30, 99]])
    out = scatter(rows, positions, values, np.array([[1.0, 1.0, 1.0, 0.0]]))
    np.testing.assert_array_equal(out, [[10, 22, 12, 30]])


def _drawn(low, high, rows=4000, real=22, length=24):
    ids = np.repeat(_row(length, real), rows, axis=0)
    return ids, draw_masks(
        jax.random.key(2),
        ids,
        **SPECIAL,
        mask_rate=low,
        mask_rate_high=high,
        mask_token_probability=1.0,
        with_replacement=False,
    )


def test_a_rate_is_drawn_for_each_row_and_its_tokens_are_weighted_by_it():
    ids, masked = _drawn(0.2, 0.7)
    weights = np.asarray(masked.weights)
    assert weights.shape[1] == max_masked(0.7, 24) == 16
    counts = (weights > 0).sum(axis=1)
    # ceil(20 · rate) with the rate uniform in [.2, .7): 5 to 14, each as likely
    found = np.bincount(counts, minlength=15)
    assert found[:5].sum() == 0
    assert ((found[5:] - 400) ** 2 / 400).sum() < 27.9  # the 99.9 % quantile at 9 degrees of freedom
    np.testing.assert_allclose(weights, (weights > 0) * 20 / counts[:, None], rtol=1e-6)
    np.testing.assert_array_equal((np.asarray(masked.input_ids) != ids).sum(axis=1), counts)


def test_the_bound_of_masked_diffusion_is_what_it_should_be():
    # Two bits that are equal, and a generator that knows it: with one of them masked it is sure, with both it says ½.
    # The bound is exact here: log 2 for two tokens.
    _, masked = _drawn(1e-6, 1.0, rows=20000, real=4, length=8)
    weights = np.asarray(masked.weights)
    nll = np.where((weights > 0).sum(axis=1, keepdims=True) == 1, 0.0, np.log(2))
    assert (weights * nll).sum(axis=1).mean() == pytest.approx(np.log(2), rel=0.02)
    assert weights.sum(axis=1).mean() == pytest.approx(2.0)


def test_a_rate_for_each_row_changes_nothing_else_that_is_drawn():
    ids = np.repeat(_row(32, 30), 8, axis=0)

    def draw(**more):
        return draw_masks(
            jax.random.key(1), ids, **SPECIAL, mask_token_probability=0.85, with_replacement=False, **more
        )

    one, ranged = draw(mask_rate=0.15), draw(mask_rate=0.1, mask_rate_high=0.15)
    assert one.positions.shape == ranged.positions.shape
    for a, b, used in zip(one.positions, ranged.positions, ranged.weights):
        np.testing.assert_array_equal(a[np.asarray(used) > 0], b[np.asarray(used) > 0])
