"""Mixtures of judges: what is chosen, and weights that are found by what is chosen with them."""

import numpy as np
import pytest

from electra_jax.generation.rerank import best_of_each, chosen, counted_through, mixed, tune_weights

NAN = np.nan
BOTH = np.array([False, True])


def test_what_a_judge_cannot_score_comes_last_and_of_equals_the_first_is_chosen():
    scores = np.array([[[1.0, 0.0], [1.0, 0.0], [9.0, NAN]], [[NAN, NAN], [-5.0, -5.0], [NAN, NAN]]])
    weights = np.array([1.0, 2.0])
    assert mixed(scores, weights).tolist() == [[1, 1, -np.inf], [-np.inf, -15, -np.inf]]
    assert chosen(scores, weights).tolist() == [0, 1]
    assert counted_through(np.array([0, 1]), 3).tolist() == [0, 4]


def _noisy_judges(sources=60, candidates=6):
    """What each candidate is worth, and two judges who see it through noise of their own."""
    rng = np.random.default_rng(1)
    worth = rng.normal(size=(sources, candidates))
    return worth, np.stack(
        [worth + rng.normal(size=worth.shape), 30 * (worth + rng.normal(size=worth.shape))], -1
    )


def test_the_mixture_is_as_good_as_the_best_of_a_fine_grid():
    worth, scores = _noisy_judges()

    def quality(numbers):
        return worth.reshape(-1)[numbers].mean()

    def reached(first, second):
        return quality(counted_through(chosen(scores, np.array([first, second])), 6))

    weights, most = tune_weights(scores, quality, BOTH)
    assert most == pytest.approx(reached(*weights))
    assert most > max(reached(1, 0), reached(0, 1)) + 0.05
    angles = np.linspace(0, np.pi / 2, 400)
    assert most >= max(reached(np.cos(a), np.sin(a) / 30) for a in angles) - 0.03


def test_a_judge_that_does_not_help_counts_nothing():
    worth, scores = _noisy_judges()
    constant = np.concatenate([scores[..., :1], np.ones((60, 6, 1))], -1)
    weights, _ = tune_weights(constant, lambda numbers: worth.reshape(-1)[numbers].mean(), BOTH)
    assert weights[0] > 0
    assert weights[1] == 0
    first_is_best, _ = tune_weights(scores, lambda numbers: -float((numbers % 6).sum()), BOTH)
    assert first_is_best.tolist() == [0, 0]


def test_only_a_judge_of_either_sign_counts_against_a_candidate():
    worth, scores = _noisy_judges()
    for either_sign in (np.array([False, False]), np.array([True, True])):
        weights, _ = tune_weights(-scores, lambda numbers: worth.reshape(-1)[numbers].mean(), either_sign)
        assert (weights < 0).all() == either_sign.all()


def test_the_best_of_each_list_is_no_filling():
    known = np.array([[True, True, True], [True, True, False]])
    worth = np.array([1.0, 3.0, 2.0, 0.0, 1.0, 9.0])
    assert best_of_each(known, lambda numbers: worth[numbers].mean()).tolist() == [1, 1]
