"""Questions from rows to answers: against trying every span, and a tiny network that learns a handful by heart."""

import itertools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_run import small_config

from electra_jax.config.machines import MeshConfig
from electra_jax.config.tasks import QuestionAnsweringConfig
from electra_jax.errors import UserError
from electra_jax.model.task_heads import answer_mask
from electra_jax.objectives import build_network
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.tasks.answers import best_answers, end_after_combining_marks
from electra_jax.tasks.batches import BatchPlan, make_batch
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.prediction import make_predict_step, predict_rows
from electra_jax.tasks.protocol import Answer, QuestionExample
from electra_jax.tasks.question_answering import BEAM, QuestionAnsweringTask
from electra_jax.tasks.windows import ContextWindow
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = [
    *("who", "what", "where", "when", "was", "the", "in", "of"),
    *("river", "fox", "hill", "king", "moon"),
]
WORDS += ["red", "old", "sang", "ran"]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,?-()", *WORDS, *LETTERS]
TOKENS += [f"##{letter}" for letter in LETTERS]
HIDDEN = 8


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer("\n".join(TOKENS).encode(), lowercase=True, strip_accents=True)


def _task(tokenizer, style="reference", max_length=20, threshold=None, **options):
    config = QuestionAnsweringConfig(
        **{"max_question_tokens": 4, "max_answer_tokens": 5, "stride": 6, **options}
    )
    return QuestionAnsweringTask(
        "squad", config, tokenizer, max_length, style, 0.1, jnp.float32, 0.02, threshold
    )


STYLES = {
    "joint": {"joint": True, "answerable": True},
    "joint, no classifier": {"joint": True, "answerable": False},
    "independent": {"joint": False, "answerable": True},
    "independent, no classifier": {"joint": False, "answerable": False},
    "huggingface": {"style": "huggingface"},
}


# --- against trying every span --------------------------------------------------------------------------------

EXAMPLES = (
    QuestionExample("a", "Who?", "The red fox, (old) king of Moon-river; xyz RAN."),  # several windows
    QuestionExample("b", "what is the moon of", "Red fox"),
    QuestionExample("c", "where", "fox fox fox"),  # texts that occur several times
    QuestionExample("d", "where", "   "),
)


@pytest.fixture(scope="module", params=list(STYLES))
def answered(request, tokenizer):
    """A head that knows nothing, on random states: (task, its rows, states, batch, bound head, outputs)."""
    task = _task(tokenizer, **STYLES[request.param], beam=40, n_best=10_000)
    rows = task.encode(EXAMPLES, training=False)
    batch = make_batch("squad", rows, BatchPlan(32, np.array([*range(len(rows)), -1])), 0, targets=False)
    states = jax.random.normal(jax.random.key(1), (len(rows) + 1, 32, HIDDEN)) * 2.0

    def call(head):
        loss_batch = make_batch(
            "squad",
            task.encode(EXAMPLES, training=True),
            BatchPlan(32, np.arange(len(rows))),
            0,
            targets=True,
        )
        return task.loss(head, states[: len(rows)], loss_batch, None)

    params = jax.jit(nn.init(call, task.head()))(jax.random.key(0))["params"]
    # Biases start at 0, where a forgotten one is not noticed.
    params = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(jax.random.key(2), x.shape), params)
    head = task.head().bind({"params": params})
    outputs = {name: np.asarray(x) for name, x in task.outputs(head, states, batch).items()}
    return request.param, task, rows, states, batch, head, outputs


def _span_scores(name, head, states, batch):
    """(scores [rows, length, length] of every start and end, scores [rows] of [CLS], logits of the classifier)."""
    mask = answer_mask(batch.inputs)
    length = states.shape[1]
    if name == "huggingface":
        logits = head(states)
        scores = np.asarray(logits.start)[:, :, None] + np.asarray(logits.end)[:, None, :]
        return scores, scores[:, 0, 0], None
    by_start = [head(states, mask, jnp.full(len(states), start)) for start in range(length)]
    start, end = by_start[0].start, jnp.stack([logits.end for logits in by_start], axis=1)
    if "joint" in name:
        start, end = jax.nn.log_softmax(start), jax.nn.log_softmax(end)
    scores = np.asarray(start[:, :, None] + end)
    answerable = by_start[0].answerable
    return scores, scores[:, 0, 0], None if answerable is None else np.asarray(answerable)


def test_answers_are_the_best_of_all_spans(answered, within):
    name, task, rows, states, batch, head, outputs = answered
    scores, null_scores, answerable = _span_scores(name, head, states, batch)
    predictions = task.predictions(EXAMPLES, rows, outputs)
    assert [prediction["id"] for prediction in predictions] == list("abcd")
    assert sum(rows.example_index == 0) > 1
    for number, (example, prediction) in enumerate(zip(EXAMPLES, predictions)):
        own = np.flatnonzero(rows.example_index == number)
        best: dict[str, float] = {}
        for row in own:
            window = rows.details[row]
            for first, last in itertools.product(range(len(window)), repeat=2):
                if first <= last < first + 5 and window.max_context[first]:
                    begin, end = window.offsets[first, 0], window.offsets[last, 1]
                    text = example.context[begin:end]
                    score = scores[row, window.position + first, window.position + last]
                    best[text] = max(best.get(text, -np.inf), float(score))
        expected = sorted(best.items(), key=lambda item: -item[1])
        found = [(answer["answer"], answer["score"]) for answer in prediction["n_best"]]
        assert [text for text, _ in found] == [text for text, _ in expected]
        for (_, ours), (_, theirs) in zip(found, expected):
            within("answers against every span: score", abs(ours - theirs), 1e-4)
        null = min(null_scores[row] for row in own) - (expected[0][1] if expected else 0.0)
        if answerable is not None:
            null = min(answerable[row] for row in own)
        within("answers against every span: no-answer score", abs(prediction["no_answer_score"] - null), 1e-4)


def test_answers_are_slices_of_the_context_with_probabilities(answered):
    _, task, rows, _, _, _, outputs = answered
    for example, prediction in zip(EXAMPLES, task.predictions(EXAMPLES, rows, outputs)):
        for answer in prediction["n_best"]:
            assert example.context[answer["start"] : answer["end"]] == answer["answer"] != ""
        if not prediction["n_best"]:
            assert (prediction["answer"], prediction["start"], prediction["probability"]) == ("", None, None)
            continue
        odds = np.exp([answer["score"] for answer in prediction["n_best"]])
        given = [answer["probability"] for answer in prediction["n_best"]]
        np.testing.assert_allclose(given, odds / odds.sum(), rtol=1e-9)
        assert prediction["answer"] == prediction["n_best"][0]["answer"]
        assert prediction["probability"] == max(given)
        json.dumps(prediction, allow_nan=False)


def test_outputs_have_the_batch_first_and_do_not_depend_on_other_rows(answered):
    name, task, _, states, batch, head, outputs = answered
    assert set(outputs) == {
        *BEAM,
        "null_scores" if "classifier" in name or "hugging" in name else "answerable",
    }
    assert all(len(array) == len(states) for array in outputs.values())
    alone = task.outputs(head, states[1:2], jax.tree.map(lambda x: x[1:2], batch))
    for key, array in alone.items():
        np.testing.assert_allclose(array[0], outputs[key][1], atol=1e-4)


def test_a_shorter_beam_finds_the_same_best_answer_less_often_but_valid_ones(answered):
    name, task, rows, states, batch, head, _ = answered
    small = _task(task.tokenizer, **STYLES[name], beam=3, n_best=2)
    outputs = {key: np.asarray(x) for key, x in small.outputs(head, states, batch).items()}
    assert outputs["end_scores"].shape == (len(states), 3, 3)
    mask = np.asarray(answer_mask(batch.inputs))
    for row in np.flatnonzero(mask.sum(axis=1) >= 3):  # no place is wasted on the question or padding
        assert mask[row][outputs["start_positions"][row]].all()
        assert mask[row][outputs["end_positions"][row]].all()
    for prediction in small.predictions(EXAMPLES, rows, outputs):
        assert len(prediction["n_best"]) <= 2
        assert sum(answer["probability"] for answer in prediction["n_best"]) in (0, pytest.approx(1.0))


def test_scores_that_fill_up_a_beam_give_no_answers(answered):
    """Rows of short batches have short beams; `predict_rows` fills them up with −inf and position 0."""
    _, task, rows, _, _, _, outputs = answered
    filled = {}
    for name, array in outputs.items():
        shape = (len(array), *(size + 7 for size in array.shape[1:]))
        filled[name] = np.full(shape, -np.inf if array.dtype.kind == "f" else 0, array.dtype)
        filled[name][tuple(slice(0, size) for size in array.shape)] = array
    assert task.predictions(EXAMPLES, rows, filled) == task.predictions(EXAMPLES, rows, outputs)


def test_padding_and_the_question_are_no_answers():
    """Even where a head would have them: all spans of 12 tokens, the passage is 4 … 6, and 5 has no max context."""
    window = ContextWindow(10, 4, np.array([[0, 1], [2, 3], [4, 5]]), np.array([True, False, True]))
    k = 12
    beam = {
        "start_scores": np.zeros(k, np.float32),
        "start_positions": np.arange(k),
        "end_scores": np.zeros((k, k), np.float32),
        "end_positions": np.broadcast_to(np.arange(k), (k, k)),
    }
    found = best_answers("a b c", [window], [beam], n_best=100, max_answer_tokens=2)
    assert [(answer.text, answer.start, answer.end) for answer in found] == [
        ("a", 0, 1),
        ("a b", 0, 3),
        ("c", 4, 5),
    ]


def test_accents_that_the_tokenizer_drops_belong_to_the_answer(tokenizer):
    task = _task(tokenizer)
    context = "x cafe\u0301 y"
    window = task.encode([QuestionExample("1", "a", context)], training=False).details[0]
    assert context[slice(*window.characters(4, 7))] == "cafe"
    assert context[2 : end_after_combining_marks(context, 6)] == "cafe\u0301"
    beam = {
        "start_scores": np.zeros(1),
        "start_positions": np.array([4]),
        "end_scores": np.zeros((1, 1)),
        "end_positions": np.array([[7]]),
    }
    assert best_answers(context, [window], [beam], n_best=1, max_answer_tokens=9)[0].text == "cafe\u0301"


# --- no answer, and scores ------------------------------------------------------------------------------------


def _prediction(name, text, no_answer):
    return {
        "id": name,
        "answer": text,
        "no_answer_score": no_answer,
        "n_best": [{"answer": text}] if text else [],
    }


def test_the_threshold_decides_what_has_no_answer(answered):
    name, task, rows, _, _, _, outputs = answered
    before = task.predictions(EXAMPLES, rows, outputs)
    limit = sorted(prediction["no_answer_score"] for prediction in before)[1]
    after = _task(task.tokenizer, **STYLES[name], n_best=10_000, threshold=limit).predictions(
        EXAMPLES, rows, outputs
    )
    for old, new in zip(before, after):
        if old["no_answer_score"] > limit:
            none = {"answer": "", "start": None, "end": None, "probability": None}
            assert new == {**old, **none}
        else:
            assert new == old


def test_scores_without_impossible_questions_are_those_of_version_1(tokenizer):
    examples = [QuestionExample("1", "", "", (Answer("red fox", 0), Answer("fox", 4)))]
    scores = _task(tokenizer, metric="exact").score(examples, [_prediction("1", "a fox!", 9.0)])
    assert list(scores.items()) == [("exact", 100.0), ("f1", 100.0)]
    assert _task(tokenizer).find_threshold(examples, [_prediction("1", "a fox!", 9.0)]) is None


def test_scores_with_impossible_questions_are_at_the_best_threshold_or_the_given_one(tokenizer):
    examples = [
        QuestionExample("1", "", "", (Answer("red fox", 0),)),
        QuestionExample("2", "", ""),
        *EXAMPLES[:1],
    ]
    predictions = [
        _prediction("1", "red fox", -2.0),
        _prediction("2", "hill", 1.0),
        _prediction("a", "", -1.0),
    ]
    task = _task(tokenizer)
    scores = task.score(examples, predictions)
    assert (next(iter(scores)), scores["f1"], scores["best_f1_thresh"]) == ("f1", 100.0, -2.0)
    assert task.find_threshold(examples, predictions) == -2.0
    given = _task(tokenizer, threshold=5.0).score(examples, predictions)
    assert (given["HasAns_exact"], given["NoAns_exact"], given["best_exact"]) == (100.0, 50.0, 100.0)


def test_hidden_answers_are_not_scored(tokenizer):
    with pytest.raises(ValueError, match="hidden"):
        _task(tokenizer).score([QuestionExample("1", "", "", hidden=True)], [_prediction("1", "x", 0.0)])


def test_what_cannot_be_is_refused_at_once(tokenizer):
    with pytest.raises(UserError, match=r"finetune\.tasks\.squad\.metric is 'accuracy'.*: f1, exact$"):
        _task(tokenizer, metric="accuracy")
    with pytest.raises(UserError, match="have no room for a context"):
        _task(tokenizer, max_length=7)


# --- learning -------------------------------------------------------------------------------------------------


def _example(name, question, context, answer=None):
    return QuestionExample(
        name, question, context, () if answer is None else (Answer(answer, context.index(answer)),)
    )


TO_LEARN = (
    _example("1", "who sang", "The old king (Rex) sang; the fox ran.", "old king (Rex)"),
    _example("2", "who ran", "The old king (Rex) sang; the fox ran.", "fox"),
    _example("3", "where", "The old king (Rex) sang; the fox ran."),
    _example("4", "what", "X y z. In the Red-Moon hill, k l m n o p q r s t u v w.", "Red-Moon"),
    _example("5", "when", "X y z. In the Red-Moon hill, k l m n o p q r s t u v w."),
    _example("6", "what was", "a b c d e f g h i j k l, m n; the café", "café"),
)


@pytest.mark.parametrize("name", ["joint", "huggingface"])
def test_a_tiny_network_learns_questions_by_heart(tokenizer, name):
    config = small_config(
        model={"max_positions": 24, "num_layers": 1, "hidden_dropout": 0.0, "attention_dropout": 0.0},
        objective={"kind": "finetune"},
    )
    network = build_network(config, tokenizer.vocab_size)
    options = {"max_length": 24, "max_answer_tokens": 8, "beam": 5, **STYLES[name]}
    task = _task(tokenizer, **options)
    rows = task.encode(TO_LEARN, training=True)
    assert len(rows) > len(TO_LEARN)
    count = -(-len(rows) // 8) * 8
    plan = BatchPlan(24, np.array([*range(len(rows)), *[-1] * (count - len(rows))]))
    batch = make_batch("squad", rows, plan, tokenizer.pad_id, targets=True)
    objective = FineTuning(network, {"squad": task}, {"squad": batch})
    optimizer = optax.adam(5e-3)

    def step(carry, _):
        params, state = carry
        (loss, _), gradient = jax.value_and_grad(objective.loss, has_aux=True)(
            params, batch, objective.loss_normalizers(batch), None
        )
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), loss

    @jax.jit
    def learn(rng):
        params = objective.init(rng)
        (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), length=150)
        return params, losses

    params, losses = learn(jax.random.key(0))
    assert losses[-1] < 0.02 < losses[0]

    mesh = make_mesh(MeshConfig())
    found = predict_rows(
        make_predict_step(objective, mesh),
        mesh,
        params,
        "squad",
        task.encode(TO_LEARN, training=False),
        batch_size=8,
        buckets=(16, 24),
        pad_id=tokenizer.pad_id,
    )
    predictions = task.predictions(TO_LEARN, rows, found)
    scores = task.score(TO_LEARN, predictions)
    assert scores["exact"] == scores["best_f1"] == 100.0
    tuned = task.tune(TO_LEARN, predictions)
    assert tuned.learned_settings == {"no_answer_threshold": task.find_threshold(TO_LEARN, predictions)}
    final = tuned.task
    for example, prediction in zip(TO_LEARN, final.predictions(TO_LEARN, rows, found)):
        answer = example.answers[0] if example.answers else None
        assert prediction["answer"] == (answer.text if answer else "")
        assert prediction["start"] == (answer.start if answer else None)
