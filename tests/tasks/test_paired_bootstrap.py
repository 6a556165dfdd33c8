"""The paired bootstrap against all draws there are, and against the normal distribution."""

from itertools import product

import numpy as np
import pytest

from electra_jax.config.tasks import QuestionAnsweringConfig
from electra_jax.tasks.classification import ClassificationTask
from electra_jax.tasks.measures import mean_of, of_sums
from electra_jax.tasks.paired_bootstrap import HasMeasures, draws, measure_of, paired_bootstrap
from electra_jax.tasks.protocol import Answer, QuestionExample, TextExample, WordsExample
from electra_jax.tasks.question_answering import QuestionAnsweringTask
from electra_jax.tasks.tagging import TaggingTask

SHARED = {
    "tokenizer": None,
    "max_length": 16,
    "head_style": "reference",
    "head_dropout": 0.1,
    "dtype": np.float32,
}


def _all_draws(examples):
    return (np.array(chosen) for chosen in product(range(examples), repeat=examples))


def test_all_draws_of_three_examples():
    """The second is better on one of three: (2/3)³ of the draws, 8 of 27, do not have that example."""
    found = paired_bootstrap([mean_of([0, 0, 1])], [mean_of([1, 0, 1])], 3, _all_draws(3))
    assert (found.first, found.second, found.difference) == pytest.approx((100 / 3, 200 / 3, 100 / 3))
    assert found.p == (1 + 8) / (1 + 27)
    # Sorted, the differences are 8 × 0, 12 × 1/3, 6 × 2/3 and 1 × 1, and percentiles lie 0.65 from either end.
    assert found.low == 0.0
    assert found.high == pytest.approx(100 * (2 / 3 + 0.35 / 3))


def test_a_metric_of_some_examples_is_left_out_of_draws_without_them():
    config = QuestionAnsweringConfig(train="a.json", dev="b.json", max_question_tokens=4)
    task = QuestionAnsweringTask("q", config, **SHARED, initializer_range=0.02, no_answer_threshold=0.0)
    answered = (Answer("x", 0),)
    examples = [QuestionExample(str(n), "Who?", "x y", answered if n else ()) for n in range(3)]
    predictions = [
        {"id": str(n), "answer": "x", "no_answer_score": -1.0, "n_best": [{"answer": "x"}]} for n in range(3)
    ]
    measure = measure_of(task, examples, predictions, "NoAns_f1")
    assert measure(np.array([0, 1, 2])) == 0.0
    assert np.isnan(measure(np.array([1, 1, 2])))


def test_other_signs_and_equals():
    one, other = mean_of([0, 1, 1, 0]), mean_of([1, 1, 0, 1])
    forth, back = (
        paired_bootstrap([a], [b], 4, list(_all_draws(4))) for a, b in ((one, other), (other, one))
    )
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-forth.difference, -forth.high, -forth.low)
    )
    # Of +1, 0, -1, +1 the sum must be positive in a draw.
    steps = np.array([1, 0, -1, 1])
    against = sum(steps[list(chosen)].sum() <= 0 for chosen in product(range(4), repeat=4))
    assert forth.p == back.p == (1 + against) / (1 + 4**4)
    assert paired_bootstrap([one], [one], 4, _all_draws(4)).p == 1.0
    # Equal on all examples, if not on each.
    equal = paired_bootstrap([mean_of([0, 1])], [mean_of([1, 0])], 2, _all_draws(2))
    assert (equal.difference, equal.p, equal.low < 0 < equal.high) == (0.0, 1.0, True)


def test_many_examples_as_the_normal_distribution_has_it():
    rng = np.random.default_rng(3)
    first, second = rng.random((2, 500)) < [[0.6], [0.66]]
    found = paired_bootstrap([mean_of(first)], [mean_of(second)], 500, draws(500, 4000, seed=0))
    steps = 100.0 * second - 100.0 * first
    spread = steps.std() / np.sqrt(500)
    assert found.difference == pytest.approx(steps.mean())
    assert (found.low, found.high) == pytest.approx(
        (steps.mean() - 1.96 * spread, steps.mean() + 1.96 * spread), abs=0.15 * spread
    )


def test_draws_without_the_metric_are_left_out():
    """This one needs the first of two examples, which one of the four draws, (1, 1), does not have."""

    def needs_the_first(values):
        mean = mean_of(values)
        return lambda chosen: mean(chosen) if 0 in chosen else float("nan")

    found = paired_bootstrap([needs_the_first([0, 0])], [needs_the_first([1, 0])], 2, _all_draws(2))
    assert (found.first, found.second, found.difference) == (0.0, 50.0, 50.0)
    # Of the three that are left the differences are 100, 50 and 50.
    assert (found.low, found.high) == pytest.approx((50.0, 50 + 50 * 0.95))
    assert found.p == (1 + 0) / (1 + 3)
    never = paired_bootstrap([needs_the_first([0, 0])], [needs_the_first([1, 0])], 2, [np.array([1, 1])])
    assert np.isnan([never.low, never.high]).all()
    assert never.p == 1.0


def test_draws_are_those_of_their_seed():
    some = list(draws(7, 5, seed=1))
    assert [len(chosen) for chosen in some] == [7] * 5
    assert all((chosen >= 0).all() and (chosen < 7).all() for chosen in some)
    assert np.array_equal(some, list(draws(7, 5, seed=1)))
    assert not np.array_equal(some, list(draws(7, 5, seed=2)))


def test_seeds_count_by_their_mean():
    first, second = [mean_of([0, 1]), mean_of([1, 1]), mean_of([0, 1])], [mean_of([1, 1])]
    found = paired_bootstrap(first, second, 2, _all_draws(2))
    assert (found.first, found.second) == pytest.approx((200 / 3, 100.0))
    assert found.p == (1 + 1) / (1 + 4)  # only the draw of the last example alone has no difference
    assert of_sums([[1, 2], [3, 4]], lambda sums: float(sums[0] * 10 + sums[1]))(np.array([1, 1])) == 68.0


def _classified():
    rng = np.random.default_rng(0)
    task = ClassificationTask(
        kind="classification",
        name="mine",
        labels=("a", "b"),
        metrics=("f1", "accuracy", "matthews"),
        initializer_range=0.02,
        **SHARED,
    )
    examples = [TextExample(str(i), "x", label=str(rng.choice(["a", "b"]))) for i in range(12)]
    return task, examples, [{"label": str(rng.choice(["a", "b"]))} for _ in examples]


def _tagged():
    rng = np.random.default_rng(0)
    tags = ("O", "B-X", "I-X")
    task = TaggingTask(name="ner", file_labels=tags, scheme="BIO", chosen_metric=None, **SHARED)
    examples = [
        WordsExample(str(i), ("w",) * 4, ("B-X", *map(str, rng.choice(["O", "B-X"], 3)))) for i in range(12)
    ]
    return task, examples, [{"tags": [*map(str, rng.choice(["O", "B-X"], 4))]} for _ in examples]


def _asked(threshold, answerable=False):
    rng = np.random.default_rng(0)
    task = QuestionAnsweringTask(
        "squad",
        QuestionAnsweringConfig(max_question_tokens=4),
        None,
        16,
        "reference",
        0.1,
        np.float32,
        0.02,
        threshold,
    )
    answers = ["red fox", "old king", "moon"]
    examples, predictions = [], []
    for number in range(12):
        gold = (Answer(answers[number % 3], 0),) if answerable or number % 4 else ()
        examples.append(QuestionExample(str(number), "q", "c", gold))
        given = str(rng.choice([*answers, "the red king"]))
        predictions.append(
            {"answer": given, "n_best": [{"answer": given}], "no_answer_score": float(rng.normal())}
        )
    return task, examples, predictions


@pytest.mark.parametrize(
    ("made", "once"),
    [
        (_classified, ("f1", "accuracy")),
        (_tagged, ("f1", "precision", "recall", "accuracy")),
        (lambda: _asked(None, answerable=True), ("exact", "f1")),
        (lambda: _asked(0.1), ("exact", "f1")),
        (lambda: _asked(None), ()),
    ],
    ids=["classification", "tagging", "squad 1", "squad 2", "squad 2 without a threshold"],
)
def test_a_measure_is_the_score_of_the_draw(made, once):
    task, examples, predictions = made()
    names = list(task.score(examples, predictions))
    own = task.measures(examples, predictions, [*names, "none"]) if isinstance(task, HasMeasures) else {}
    assert tuple(own) == tuple(name for name in names if name in once)
    assert set(once) <= set(names)
    for chosen in draws(len(examples), 5, seed=0):
        # Version 1's scores are those of questions that all have answers; a draw of such is scored by them, too.
        expected = task.score([examples[i] for i in chosen], [predictions[i] for i in chosen])
        for name in names:
            measure = measure_of(task, examples, predictions, name)
            assert measure(chosen) == pytest.approx(expected[name]), name
