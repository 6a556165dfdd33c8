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
        chosen = num_masked(np.array(case["length"]), rate, length)
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
        jax.random.key(0), eligible, np.full(4000, 128), mask_rate=0.15, with_replacement=True
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
