"""Classification and regression from texts to labels: rows token by token, and tasks that a tiny network solves."""

import json
import random

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compared_label import ComparedLabel
from pydantic import ValidationError
from small_run import small_config
from task_sections import task_section

from electra_jax.config.machines import MeshConfig
from electra_jax.config.networks import ModelConfig
from electra_jax.errors import UserError
from electra_jax.objectives import build_network
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.tasks.batches import BatchPlan, make_batch
from electra_jax.tasks.classification import ClassificationTask
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.prediction import make_predict_step, predict_rows
from electra_jax.tasks.protocol import Rows, TextExample
from electra_jax.tasks.text_rows import check_token_types, truncate_pair
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS]


@pytest.fixture(scope="module")
def tokenizer():
    """A word is a letter."""
    return WordPieceTokenizer("\n".join(TOKENS).encode(), lowercase=True, strip_accents=True)


def _task(tokenizer, kind="classification", **options):
    values = {
        "name": "mine",
        "kind": kind,
        "labels": ("0", "1") if kind == "classification" else (),
        "metrics": ("accuracy", "f1") if kind == "classification" else ("spearman", "pearson"),
        "tokenizer": tokenizer,
        "max_length": 16,
        "head_style": "reference",
        "head_dropout": 0.1,
        "dtype": jnp.float32,
    }
    return ClassificationTask(**{**values, **options})


def _shown(tokenizer, rows):
    return [" ".join(tokenizer.token(i) for i in row) for row in rows.input_ids]


# --- encoding -------------------------------------------------------------------------------------------------


def test_a_class_is_not_looked_for_among_all_others(tokenizer):
    labels = tuple(ComparedLabel(n) for n in range(500))
    task = _task(tokenizer, labels=labels, metrics=("accuracy",))
    examples = [TextExample(str(n), "a", None, str(n)) for n in range(500)]
    ComparedLabel.count = 0
    assert task.encode(examples, training=True).targets["label"].tolist() == list(range(500))
    assert ComparedLabel.count <= 1000
    with pytest.raises(UserError, match="the example 'x' has the label '500', which is not known"):
        task.encode([TextExample("x", "a", None, "500")], training=True)


def test_texts_and_pairs_token_by_token(tokenizer):
    task = _task(tokenizer, max_length=9)
    examples = [
        TextExample("1", "a b c", label="1"),
        TextExample("2", "a b", "c", label="0"),
        TextExample("3", "a b c d e f g h i j", label="0"),  # cut to 7
        TextExample("4", "a b c d e f", "v w x y z", label="1"),  # to 6 together, the longer one first
        TextExample("5", "a", "", label="1"),  # no pair, as in the reference
        TextExample("6", "", label="0"),
    ]
    rows = task.encode(examples, training=True)
    assert _shown(tokenizer, rows) == [
        "[CLS] a b c [SEP]",
        "[CLS] a b [SEP] c [SEP]",
        "[CLS] a b c d e f g [SEP]",
        "[CLS] a b c [SEP] v w x [SEP]",
        "[CLS] a [SEP]",
        "[CLS] [SEP]",
    ]
    assert rows.token_type_ids[1].tolist() == [0, 0, 0, 0, 1, 1]
    assert rows.token_type_ids[3].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert rows.token_type_ids[2].tolist() == [0] * 9
    assert rows.targets["label"].tolist() == [1, 0, 0, 1, 1, 0]
    assert rows.example_index.tolist() == list(range(6))
    assert rows.targets["label"].dtype == rows.input_ids[0].dtype == rows.token_type_ids[0].dtype == np.int32


def _reference_cut(first, second, room):
    """The reference's loop."""
    first, second = list(first), list(second)
    while len(first) + len(second) > room:
        (first if len(first) > len(second) else second).pop()
    return first, second


def test_pairs_are_cut_as_in_the_reference():
    rng = random.Random(0)
    for _ in range(300):
        first, second = ([rng.randrange(9) for _ in range(rng.randrange(12))] for _ in range(2))
        room = rng.randrange(1, 24)
        assert truncate_pair(list(first), list(second), room) == _reference_cut(first, second, room)


def test_swapped_pairs_double_the_training_rows_only(tokenizer):
    task = _task(tokenizer, swap_pairs=True)
    examples = [TextExample("1", "a", "b c", "1"), TextExample("2", "d", None, "0")]
    rows = task.encode(examples, training=True)
    assert _shown(tokenizer, rows) == ["[CLS] a [SEP] b c [SEP]", "[CLS] b c [SEP] a [SEP]", "[CLS] d [SEP]"]
    assert rows.example_index.tolist() == [0, 0, 1]
    assert rows.targets["label"].tolist() == [1, 1, 0]
    assert len(task.encode(examples, training=False)) == 2


def test_numbers_are_scaled_in_training_and_back_in_predictions(tokenizer):
    task = _task(tokenizer, "regression", low=-2.0, high=6.0)
    examples = [TextExample(str(label), "a", label=label) for label in (-2.0, 0.0, 6.0, 7.0)]
    rows = task.encode(examples, training=True)
    np.testing.assert_array_equal(rows.targets["value"], np.array([0.0, 0.25, 1.0, 1.125], np.float32))
    predictions = task.predictions(examples, rows, {"value": rows.targets["value"]})
    assert predictions == [{"id": str(label), "value": label} for label in (-2.0, 0.0, 6.0, 7.0)]
    assert task.score(examples, predictions) == {"spearman": 100.0, "pearson": pytest.approx(100.0)}
    # STS-B's scale begins at 0: (x - min) / max, as the reference has it.
    stsb = _task(tokenizer, "regression", low=0.0, high=5.0)
    assert stsb.encode([TextExample("1", "a", label=3.8)], training=True).targets["value"] == np.float32(
        3.8 / 5
    )
    constant = _task(tokenizer, "regression", low=3.0, high=3.0)
    assert constant.encode([TextExample("1", "a", label=3.0)], training=True).targets["value"].tolist() == [
        0.0
    ]


# --- predictions and scores -----------------------------------------------------------------------------------


def test_predictions_of_classes(tokenizer):
    task = _task(tokenizer, labels=("bad", "good", "ugly"), metrics=("f1", "accuracy"))
    examples = [TextExample("x", "a", label="good"), TextExample("y", "b", label="bad")]
    rows = task.encode(examples, training=False)
    shares = np.array([[0.25, 0.5, 0.25], [0.125, 0.125, 0.75]], np.float32)
    predictions = task.predictions(examples, rows, {"probabilities": shares})
    assert predictions[0] == {
        "id": "x",
        "label": "good",
        "probability": 0.5,
        "probabilities": {"bad": 0.25, "good": 0.5, "ugly": 0.25},
    }
    assert predictions[1]["label"] == "ugly"
    json.dumps(predictions, allow_nan=False)
    assert list(task.score(examples, predictions).items()) == [
        ("f1", pytest.approx(100 / 3)),  # of three classes: 0, 1 and 0
        ("accuracy", 50.0),
    ]
    assert (task.metric, task.predictions([], task.encode([], training=False), {})) == ("f1", [])


def test_f1_is_that_of_the_second_class(tokenizer):
    task = _task(tokenizer, labels=("yes", "no"))
    examples = [TextExample(str(i), "a", label=label) for i, label in enumerate(("no", "no", "yes", "yes"))]
    predictions = [{"label": label} for label in ("no", "yes", "yes", "yes")]
    assert task.score(examples, predictions) == {"accuracy": 75.0, "f1": pytest.approx(100 * 2 / 3)}
    with pytest.raises(ValueError, match="hidden"):
        task.score([TextExample("1", "a")], [{"label": "no"}])


# --- mistakes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "positive", "f1_of", "f1"),
    [
        (("no", "yes"), None, "yes", 50.0),
        (("no", "yes"), "yes", "yes", 50.0),
        (("no", "yes"), "no", "no", 1200 / 14),
        (("maybe", "no", "yes"), None, None, (50.0 + 1200 / 14) / 2),  # a mean over those that occur
        (("maybe", "no", "yes"), "yes", "yes", 50.0),
        (("maybe", "no", "yes"), "maybe", "maybe", 0.0),
    ],
)
def test_f1_is_that_of_the_positive_class(tokenizer, labels, positive, f1_of, f1):
    task = _task(tokenizer, labels=labels, positive=positive)
    gold = ["yes", "yes", "yes", "no", "no", "no", "no", "no", "no"]
    said = ["yes", "no", "no", "no", "no", "no", "no", "no", "no"]
    examples = [TextExample(str(i), "a", label=label) for i, label in enumerate(gold)]
    assert task.f1_of == f1_of
    assert task.score(examples, [{"label": label} for label in said])["f1"] == pytest.approx(f1)


def test_a_positive_class_that_does_not_fit_is_one_sentence(tokenizer):
    with pytest.raises(UserError) as caught:
        _task(tokenizer, labels=("no", "yes"), positive="Yes")
    assert str(caught.value) == "finetune.tasks.mine.positive is 'Yes', which is none of the classes: no, yes"
    with pytest.raises(
        UserError, match=r"positive is set, but F1 is no metric of this task: set .*metric=f1"
    ):
        _task(tokenizer, metrics=("accuracy",), positive="1")
    assert _task(tokenizer, metrics=("accuracy",)).f1_of is None
    assert task_section(positive=1, labels=[0, 1]).positive == "1"  # as YAML reads it where it is not quoted
    with pytest.raises(ValidationError, match=r"positive is for classification .*, not multi_label"):
        task_section(positive="1", multi_label=True)


def test_a_label_that_is_not_known_is_one_sentence_even_among_hidden_ones(tokenizer):
    task = _task(tokenizer)
    with pytest.raises(UserError) as caught:
        task.encode([TextExample("d0", "a"), TextExample("d1", "a", label="2")], training=False)
    assert str(caught.value) == (
        "finetune.tasks.mine: the example 'd1' has the label '2', which is not known; the labels are: 0, 1"
    )
    assert not task.encode(
        [TextExample("d0", "a"), TextExample("d1", "a", label="1")], training=False
    ).targets


def test_other_mistakes_are_one_sentence(tokenizer):
    with pytest.raises(UserError, match="'t1' has no label to train on"):
        _task(tokenizer).encode([TextExample("t1", "a")], training=True)
    with pytest.raises(UserError, match="'t1' has the label 'high'; regression needs numbers"):
        _task(tokenizer, "regression").encode([TextExample("t1", "a", label="high")], training=True)
    with pytest.raises(UserError, match="the only label is x;"):
        _task(tokenizer, labels=("x",))
    with pytest.raises(
        UserError, match="metric is 'pearson', but for classification it must be one of: accuracy, f1"
    ):
        _task(tokenizer, metrics=("pearson",))
    with pytest.raises(
        UserError, match="metric is 'f1', but for regression it must be one of: spearman, pearson"
    ):
        _task(tokenizer, "regression", metrics=("f1",))


# --- the head -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_loss_and_outputs_row_by_row(tokenizer, kind, within):
    task = _task(tokenizer, kind, low=0.0, high=5.0)
    labels = ("1", "0", "1") if kind == "classification" else (0.0, 2.5, 5.0)
    rows = task.encode([TextExample(str(i), "a b", label=y) for i, y in enumerate(labels)], training=True)
    batch = make_batch("mine", rows, BatchPlan(8, np.array([0, 1, 2, -1])), 0, targets=True)
    states = jax.random.normal(jax.random.key(1), (4, 8, 6))
    params = nn.init(lambda head: task.loss(head, states, batch, None), task.head())(jax.random.key(0))[
        "params"
    ]
    params["prediction"]["bias"] += 0.5
    head = task.head().bind({"params": params})
    kernel, bias = (np.asarray(params["prediction"][name]) for name in ("kernel", "bias"))
    logits = np.asarray(states)[:3, 0] @ kernel + bias
    losses, outputs = task.loss(head, states, batch, None), task.outputs(head, states, batch)
    assert losses.shape == (4,)
    if kind == "regression":
        expected = (logits[:, 0] - np.array([0.0, 0.5, 1.0])) ** 2
        within("regression: value", np.abs(outputs["value"][:3] - logits[:, 0]).max(), 1e-6)
    else:
        shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        expected = -np.log(shares[np.arange(3), [1, 0, 1]])
        within("classification: probabilities", np.abs(outputs["probabilities"][:3] - shares).max(), 1e-6)
    within(f"{kind}: loss of a row", np.abs(losses[:3] - expected).max(), 1e-5)
    assert not np.allclose(task.loss(head, states, batch, jax.random.key(2))[:3], losses[:3])  # dropout


def _learned(task, tokenizer, examples, seen, steps):
    """Trains a tiny network on the first ``seen`` examples at once; predictions of all."""
    config = small_config(
        model={"num_layers": 1, "hidden_dropout": 0.0, "attention_dropout": 0.0},
        objective={"kind": "finetune"},
    )
    rows = task.encode(examples[:seen], training=True)
    batch = make_batch("mine", rows, BatchPlan(16, np.arange(len(rows))), tokenizer.pad_id, targets=True)
    objective = FineTuning(build_network(config, tokenizer.vocab_size), {"mine": task}, {"mine": batch})
    optimizer = optax.adam(1e-2)

    def step(carry, _):
        params, state = carry
        gradient = jax.grad(lambda p: objective.loss(p, batch, objective.loss_normalizers(batch), None)[0])(
            params
        )
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def learn(rng):
        params = objective.init(rng)
        return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[0][0]

    mesh = make_mesh(MeshConfig())
    encoded = task.encode(examples, training=False)
    found = predict_rows(
        make_predict_step(objective, mesh),
        mesh,
        learn(jax.random.key(0)),
        "mine",
        encoded,
        batch_size=8,
        buckets=(8, 16),
        pad_id=tokenizer.pad_id,
    )
    return task.predictions(examples, encoded, found)


@pytest.mark.parametrize("style", ["reference", "huggingface"])
def test_texts_that_their_words_tell_apart_are_all_right(tokenizer, style):
    rng = random.Random(0)

    def example(number):
        label = rng.choice(("bad", "good"))
        words = [rng.choice("abcd" if label == "bad" else "wxyz") for _ in range(rng.randrange(2, 5))]
        words += [rng.choice("klmnop") for _ in range(rng.randrange(5))]
        rng.shuffle(words)
        return TextExample(str(number), " ".join(words), label=label)

    examples = [example(number) for number in range(144)]
    task = _task(tokenizer, labels=("bad", "good"), metrics=("accuracy", "f1", "matthews"), head_style=style)
    predictions = _learned(task, tokenizer, examples, seen=64, steps=60)
    scores = task.score(examples[:64], predictions[:64])
    assert scores == {"accuracy": 100.0, "f1": 100.0, "matthews": pytest.approx(100.0)}
    assert task.score(examples[64:], predictions[64:])["accuracy"] > 90.0  # not by heart


def test_a_number_is_learned_on_its_own_scale(tokenizer):
    """How many a's: the value comes back on the scale of the labels, from either order of the pair."""
    rng = random.Random(1)
    examples = []
    for number in range(80):
        count = rng.randrange(5)
        words = [*"a" * count, *(rng.choice("xyz") for _ in range(8 - count))]
        rng.shuffle(words)
        cut = rng.randrange(9)
        examples.append(
            TextExample(str(number), " ".join(words[:cut]), " ".join(words[cut:]), label=100.0 + 10.0 * count)
        )
    task = _task(tokenizer, "regression", low=100.0, high=140.0, swap_pairs=True)
    predictions = _learned(task, tokenizer, examples, seen=64, steps=150)
    errors = [abs(p["value"] - e.label) for p, e in zip(predictions, examples)]
    assert max(errors[:64]) < 2.0
    assert max(errors[64:]) < 8.0
    assert task.score(examples[64:], predictions[64:])["pearson"] > 97.0


def test_pairs_for_a_model_of_one_token_type_are_refused():
    """The second text's embedding would be no number, and so would all that sees it."""
    types = [np.array([0, 0, 0], np.int32), np.array([0, 0, 1], np.int32)]
    rows = Rows([np.zeros(3, np.int32)] * 2, types, {}, np.arange(2, dtype=np.int32))
    check_token_types("mine", rows, ModelConfig())
    check_token_types("mine", rows, ModelConfig(block="modern"))
    single = Rows(rows.input_ids[:1], types[:1], {}, rows.example_index[:1])
    check_token_types("mine", single, ModelConfig(type_vocab_size=1))
    with pytest.raises(UserError, match=r"mine has pairs of texts, .* model\.type_vocab_size=2 or more"):
        check_token_types("mine", rows, ModelConfig(type_vocab_size=1))
