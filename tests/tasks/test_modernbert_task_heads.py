"""Tasks of every kind with ModernBERT's heads behind an encoder of modern blocks: trained, on any mesh."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from tiny_task import assert_same_gradient, tiny_task

from electra_jax.tasks.protocol import (
    Answer,
    ChoiceExample,
    QuestionExample,
    RankingExample,
    TextExample,
    WordsExample,
)
from electra_jax.tasks.settings import TaskSettings

# The second layer is local.
MODERN = {
    **{"block": "modern", "embedding_size": None, "num_layers": 2, "layer_norm_epsilon": 1e-5},
    **{"rope_theta": 20.0, "rope_theta_global": 100.0, "local_attention": {"window": 4, "global_every": 2}},
}
TEXTS = ("abcdefghabcd", "ba", "cab", "dddabc", "ed", "fghaa", "gcagh", "hh")
NAMES = ("no", "yes")


def _texts(labels):
    return [TextExample(str(n), text, None, labels[n % len(labels)]) for n, text in enumerate(TEXTS)]


def _questions():
    return [QuestionExample(str(n), "ab", text, (Answer(text[:2], 0),)) for n, text in enumerate(TEXTS)]


# Kind → (section, what was learned, examples).
CASES = {
    "classification": (
        {"kind": "classification"},
        TaskSettings(kind="classification", labels=NAMES, classes=NAMES),
        _texts(NAMES),
    ),
    "multi-label": (
        {"kind": "classification", "multi_label": True},
        TaskSettings(kind="classification", labels=NAMES, classes=NAMES, multi_label=True),
        _texts([("no",), ("no", "yes")]),
    ),
    "regression": (
        {"kind": "regression"},
        TaskSettings(kind="regression", low=0.0, high=2.0),
        _texts(["0", "1", "2"]),
    ),
    "tagging": (
        {"kind": "tagging"},
        TaskSettings(kind="tagging", labels=NAMES, classes=NAMES, scheme="plain"),
        [WordsExample(str(n), (*text,), tuple(NAMES[x > "c"] for x in text)) for n, text in enumerate(TEXTS)],
    ),
    "question_answering": (
        {"kind": "question_answering", "max_question_tokens": 2},
        TaskSettings(kind="question_answering"),
        _questions(),
    ),
    "multiple_choice": (
        {"kind": "multiple_choice"},
        TaskSettings(kind="multiple_choice"),
        [ChoiceExample(str(n), text, ("ab", "c"), "", n % 2) for n, text in enumerate(TEXTS)],
    ),
    "cross-encoder": (
        {"kind": "ranking", "encoder": "cross", "negatives_per_example": 1},
        TaskSettings(kind="ranking"),
        [RankingExample(str(n), text, (text[::-1], "h"), (0,)) for n, text in enumerate(TEXTS)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_of_the_head_is_trained_on_any_mesh(case):
    section, settings, examples = CASES[case]
    tiny = tiny_task(section, examples, head_style="huggingface", settings=settings, **MODERN)
    head = flatten_dict(tiny.params["heads"]["mine"], sep="/")
    assert head.keys() == {"dense/kernel", "layer_norm/scale", "prediction/kernel", "prediction/bias"}
    batch = tiny.batch(examples, rows=range(8))
    alone = tiny.gradient(batch, data=1)
    assert_same_gradient(tiny.gradient(batch, data=2, fsdp=2, tensor=2), alone)
    gradient = flatten_dict(alone[1]["heads"]["mine"], sep="/")
    # Scores that are compared with each other do not change where all are shifted.
    compared = case in ("multiple_choice", "cross-encoder", "question_answering")
    for name, array in gradient.items():
        if name != "prediction/bias" or not compared:
            assert np.abs(array).max() > 1e-4, name
    down = jax.tree.map(lambda leaf, change: leaf - 1e-3 * change, tiny.params, alone[1])
    after, _ = type(tiny)(tiny.task, tiny.objective, down).gradient(batch, data=1)
    assert after < alone[0]


@pytest.mark.parametrize(("pooling", "what"), [(None, "mean"), ("first", "first"), ("mean", "mean")])
def test_what_stands_for_a_text_is_the_mean_behind_a_window_unless_told(pooling, what):
    section, settings, examples = CASES["classification"]
    tiny = tiny_task(
        {**section, "pooling": pooling}, examples, head_style="huggingface", settings=settings, **MODERN
    )
    head = tiny.task.head()
    assert (head.style, head.pooling, head.layer_norm_epsilon) == ("modernbert", what, 1e-5)
    assert head.initializer_range == pytest.approx(0.02 / 2)  # σ / √(2 · 2 layers)
