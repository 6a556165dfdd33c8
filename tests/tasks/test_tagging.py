"""Tagging from words to tags and back: every word once, whatever the length of its sentence."""

import json
import random
from dataclasses import replace
from itertools import pairwise

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_run import small_config

from electra_jax.config.machines import MeshConfig
from electra_jax.errors import UserError
from electra_jax.objectives import build_network
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.tasks.batches import BatchPlan, make_batch
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.prediction import make_predict_step, predict_rows
from electra_jax.tasks.protocol import NO_TARGET, SourceLocation, WordsExample
from electra_jax.tasks.sources.word_columns import read_word_columns
from electra_jax.tasks.tag_detection import DetectedTags
from electra_jax.tasks.tag_schemes import convert_tags, scheme_labels
from electra_jax.tasks.tagging import TaggingTask, tag_format
from electra_jax.tasks.word_windows import window_bounds, word_windows
from electra_jax.tokenizers.characters_tokenizer import CharactersTokenizer, characters_file
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,-", *LETTERS, *(f"##{c}" for c in LETTERS)]
BIO = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")


@pytest.fixture(scope="module")
def tokenizer():
    """A token is a letter."""
    return WordPieceTokenizer("\n".join(TOKENS).encode(), lowercase=True, strip_accents=True)


@pytest.fixture(scope="module")
def bert(shared):
    vocabulary = (shared / "data" / "vocab" / "bert-base-uncased.txt").read_bytes()
    return WordPieceTokenizer(vocabulary, lowercase=True, strip_accents=True)


def _task(tokenizer, labels=BIO, scheme="BIO", max_length=16, style="reference", metric=None, **more):
    return TaggingTask(
        name="ner",
        file_labels=labels,
        scheme=scheme,
        tokenizer=tokenizer,
        max_length=max_length,
        head_style=style,
        head_dropout=0.1,
        dtype=jnp.float32,
        chosen_metric=metric,
        **more,
    )


def _perfect_outputs(task, examples, rows):
    """Outputs that have the right class wherever a row answers for a word, and a wrong one everywhere else."""
    longest = max(len(row) for row in rows.input_ids)
    tags = np.full((len(rows), longest + 3), -1, np.int32)
    for row, (number, window) in enumerate(zip(rows.example_index, rows.details)):
        learned = (
            examples[number].tags if task.scheme == "plain" else convert_tags(examples[number].tags, "BIOES")
        )
        for word, position in zip(window.words, window.positions):
            tags[row, position] = task.labels.index(learned[word])
    return {"tags": tags, "probability": np.linspace(0, 1, tags.size, dtype=np.float32).reshape(tags.shape)}


# --- windows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(300))
def test_every_word_is_answered_for_once_where_it_has_most_context(seed):
    rng = np.random.default_rng(seed)
    room = int(rng.integers(1, 40))
    sizes = rng.integers(1, min(room, 9) + 1, size=int(rng.integers(1, 120)))
    windows = word_windows(sizes, room)
    answered = np.concatenate([window.words for window in windows])
    assert sorted(answered.tolist()) == list(range(len(sizes)))
    contexts = []
    for window in windows:
        shown = sizes[window.first : window.end]
        assert 0 < shown.sum() <= room
        begins = np.cumsum(shown) - shown
        assert (window.positions == 1 + begins[window.words - window.first]).all()
        context = np.minimum(begins, shown.sum() - shown - begins)
        contexts.append(dict(zip(range(window.first, window.end), context)))
    for number, window in enumerate(windows):
        for word in window.words:
            assert contexts[number][word] == max(context.get(word, -1) for context in contexts)
    # Windows advance, none can be made longer at its end, and the last shows as much as it can.
    assert all(b.first > a.first and b.first <= a.end for a, b in pairwise(windows))
    for window in windows[:-1]:
        assert sizes[window.first : window.end + 1].sum() > room
    last = windows[-1]
    assert last.end == len(sizes)
    assert last.first == 0 or sizes[last.first - 1 :].sum() > room


def test_windows_of_a_plain_case():
    """Ten words of one token, six to a window: half a window on, then as far back as the rest allows."""
    ones = np.ones(10, int)
    assert window_bounds(ones, 6) == [(0, 6), (3, 9), (4, 10)]
    assert [window.words.tolist() for window in word_windows(ones, 6)] == [
        [0, 1, 2, 3, 4],
        [5, 6],
        [7, 8, 9],
    ]
    assert window_bounds(ones, 10) == [(0, 10)]
    assert window_bounds(np.zeros(0, int), 6) == []


def test_inner_words_of_long_sentences_have_a_quarter_of_a_window_around_them():
    sizes = np.ones(400, int)
    for window in word_windows(sizes, 64):
        for word in window.words:
            if 16 <= word < 400 - 16:
                assert min(word - window.first, window.end - 1 - word) >= 15


# --- encoding -------------------------------------------------------------------------------------------------

SENTENCE = WordsExample(
    "a", ("Ann", "de", "Wit", ",", "of", "Ghent"), ("B-PER", "I-PER", "I-PER", "O", "O", "B-LOC")
)


def test_a_row_letter_by_letter(tokenizer):
    task = _task(tokenizer, max_length=32)
    rows = task.encode([SENTENCE], training=True)
    assert [tokenizer.token(i) for i in rows.input_ids[0]] == [
        *["[CLS]", "a", "##n", "##n", "d", "##e", "w", "##i", "##t", ",", "o", "##f"],
        *["g", "##h", "##e", "##n", "##t", "[SEP]"],
    ]
    assert (rows.token_type_ids[0] == 0).all()
    tags = [task.labels[i] if i != NO_TARGET else "" for i in rows.targets["tags"][0]]
    expected = ["", "B-PER", "", "", "I-PER", "", "E-PER", "", "", "O", "O", "", "S-LOC", "", "", "", "", ""]
    assert tags == expected
    assert {array.dtype for array in (*rows.input_ids, *rows.targets["tags"], rows.example_index)} == {
        np.dtype(np.int32)
    }
    assert task.labels == ("B-LOC", "B-PER", "E-LOC", "E-PER", "I-LOC", "I-PER", "O", "S-LOC", "S-PER")
    assert (task.kind, task.metric) == ("tagging", "f1")


@pytest.mark.parametrize(
    ("text", "blank"), [("abcdefghijklmnopqrstuvwxyz ", [" "]), ("abcdefghijklmnopqrstuvwxyz", [])]
)
def test_words_have_their_blanks_where_blanks_are_tokens(text, blank):
    content = characters_file([*TOKENS[:5], *text])
    characters = CharactersTokenizer(content, lowercase=True, strip_accents=True)
    (row,) = (
        _task(characters, max_length=32).encode([WordsExample("a", ("Ann", "de"))], training=False).input_ids
    )
    assert [characters.token(i) for i in row] == ["[CLS]", *blank, *"ann", *blank, *"de", "[SEP]"]


def test_words_of_nothing_are_unknown_and_words_of_too_much_are_cut(tokenizer):
    task = _task(tokenizer, max_length=8)
    example = WordsExample("a", ("\u200b", "abcdefghij", "\u0301", "b"), ("O", "B-PER", "O", "O"))
    rows = task.encode([example], training=True)
    shown = [[tokenizer.token(i) for i in row] for row in rows.input_ids]
    assert shown[0][:2] == ["[CLS]", "[UNK]"]
    assert ["[CLS]", "a", "##b", "##c", "##d", "##e", "##f", "[SEP]"] in shown
    assert shown[-1][-3:] == ["[UNK]", "b", "[SEP]"]
    assert sum((target != NO_TARGET).sum() for target in rows.targets["tags"]) == 4


def _random_examples(rng, count, labels=BIO):
    return [
        WordsExample(
            str(number),
            tuple(
                "".join(rng.choice(LETTERS) for _ in range(rng.choice((1, 2, 3, 5, 20))))
                for _ in range(rng.choice((0, 1, 5, 60)))
            ),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("labels", [BIO, ("NN", "O", "VB")])
def test_what_rows_answer_for_is_every_word_once_and_comes_back(tokenizer, seed, labels):
    rng = random.Random(seed)
    scheme = "BIO" if labels is BIO else "plain"
    examples = [
        replace(example, tags=tuple(rng.choice(labels) for _ in example.words))
        for example in _random_examples(rng, 8)
    ]
    if scheme == "BIO":  # Random sequences have mistakes, which are repaired.
        examples = [replace(example, tags=tuple(convert_tags(example.tags, "BIO"))) for example in examples]
    task = _task(tokenizer, labels, scheme, max_length=rng.choice((8, 16, 64)))
    rows = task.encode(examples, training=True)
    assert max(len(row) for row in rows.input_ids) <= task.max_length
    for number, example in enumerate(examples):
        own = [row for row in range(len(rows)) if rows.example_index[row] == number]
        asked = sum((rows.targets["tags"][row] != NO_TARGET).sum() for row in own)
        assert asked == len(example.words)
        for row in own:
            window = rows.details[row]
            for word, position in zip(window.words, window.positions):
                first = tokenizer.encode(example.words[word])[0]
                assert rows.input_ids[row][position] == first
    outputs = _perfect_outputs(task, examples, rows)
    predictions = task.predictions(examples, rows, outputs)
    for example, prediction in zip(examples, predictions, strict=True):
        assert prediction["id"] == example.id
        assert tuple(prediction["words"]) == example.words
        assert tuple(prediction["tags"]) == example.tags
        assert len(prediction["probabilities"]) == len(example.words)
        json.dumps(prediction, allow_nan=False)
    assert set(task.score(examples, predictions).values()) == {100.0}
    hidden = task.encode([replace(example, tags=None) for example in examples], training=False)
    assert not hidden.targets
    assert all((a == b).all() for a, b in zip(hidden.input_ids, rows.input_ids, strict=True))


def test_no_sentences_and_sentences_without_words(tokenizer):
    task = _task(tokenizer)
    assert task.predictions([], task.encode([], training=False), {}) == []
    empty = [WordsExample("a", (), None)]
    rows = task.encode(empty, training=False)
    assert len(rows) == 0
    assert task.predictions(empty, rows, {}) == [
        {"id": "a", "words": [], "tags": [], "probabilities": [], "entities": []}
    ]


# --- predictions and scores -----------------------------------------------------------------------------------


def test_entities_are_words_and_mistakes_are_repaired(tokenizer):
    task = _task(tokenizer, max_length=32)
    rows = task.encode([replace(SENTENCE, tags=None)], training=False)
    outputs = _perfect_outputs(task, [SENTENCE], rows)
    [prediction] = task.predictions([SENTENCE], rows, outputs)
    assert prediction["entities"] == [
        {"type": "PER", "start": 0, "end": 3, "text": "Ann de Wit"},
        {"type": "LOC", "start": 5, "end": 6, "text": "Ghent"},
    ]
    places = rows.details[0].positions
    expected = outputs["probability"][0, places]
    np.testing.assert_array_equal(prediction["probabilities"], expected.astype(float))
    outputs["tags"][0, places] = [task.labels.index(f"{letter}-PER") for letter in "IIEEBI"]
    [prediction] = task.predictions([SENTENCE], rows, outputs)
    assert prediction["tags"] == ["B-PER", "I-PER", "I-PER", "B-PER", "B-PER", "I-PER"]
    assert [(entity["start"], entity["end"]) for entity in prediction["entities"]] == [(0, 3), (3, 4), (4, 6)]


@pytest.mark.parametrize("scheme", ["BIO", "IOB1", "BIOES", "BILOU"])
def test_predictions_are_spelled_as_the_files_are(tokenizer, scheme):
    words, tags = ("a", "b", "c", "d"), ("B-PER", "B-PER", "I-PER", "B-LOC")
    example = WordsExample("1", words, tuple(convert_tags(tags, scheme)))
    task = _task(tokenizer, tuple(sorted({*example.tags, "O"})), scheme)
    rows = task.encode([example], training=True)
    [prediction] = task.predictions([example], rows, _perfect_outputs(task, [example], rows))
    assert tuple(prediction["tags"]) == example.tags
    assert task.labels == _task(tokenizer).labels
    assert task.score([example], [prediction])["accuracy"] == 100.0


OTHERS = {
    "BMES": ("王 B-N", "小 M-N", "明 E-N", "在 O", "京 S-L"),
    "suffix": ("王 N-B", "小 N-I", "明 N-I", "在 O", "京 L-B"),
    "underscore": ("王 B_N", "小 I_N", "明 I_N", "在 O", "京 B_L"),
    "small letters": ("王 b-N", "小 i-N", "明 i-N", "在 o", "京 b-L"),
    "IOE2": ("王 I-N", "小 I-N", "明 E-N", "在 O", "京 E-L"),
}


def _sentence(lines):
    words, tags = zip(*(line.split() for line in lines), strict=True)
    return WordsExample("0", words, tags, SourceLocation("a.txt", 4, lines_per_word=1))


@pytest.mark.parametrize("train", OTHERS)
@pytest.mark.parametrize("dev", OTHERS)
def test_every_spelling_is_learned_scored_and_predicted_and_dev_may_have_another(tokenizer, train, dev):
    train, dev = _sentence(OTHERS[train]), _sentence(OTHERS[dev])
    found, notes = tag_format("ner", [train])
    assert not notes
    labels = tuple(sorted(set(train.tags)))
    task = _task(tokenizer, labels, found.scheme, 32, spelling=found.spelling)
    assert task.labels == scheme_labels(["N", "L"], "BIOES")
    rows = task.encode([dev], training=False)
    expected = ["B-N", "I-N", "E-N", "O", "S-L"]
    classes = [task.labels[number] for number in rows.targets["tags"][0] if number != NO_TARGET]
    assert classes == expected
    outputs = {"tags": np.zeros((1, 32), np.int32), "probability": np.ones((1, 32), np.float32)}
    outputs["tags"][0, rows.details[0].positions] = [task.labels.index(tag) for tag in expected]
    [prediction] = task.predictions([dev], rows, outputs)
    assert tuple(prediction["tags"]) == train.tags  # in the spelling that was trained on
    assert [entity["text"] for entity in prediction["entities"]] == ["王 小 明", "京"]
    assert set(task.score([dev], [prediction]).values()) == {100.0}


def test_one_odd_tag_is_named_with_its_line(tokenizer):
    odd = _sentence(("dan B-N", "went 0", "to 0", "rome B-L"))
    with pytest.raises(UserError) as caught:
        tag_format("ner", [_sentence(OTHERS["IOE2"]), odd])
    assert str(caught.value) == (
        "finetune.tasks.ner: the example '0' (a.txt, line 5) has the tag '0' (1 words more have such tags), which "
        "spells no span as the others do (O, B-TYPE, …): mend it, since with it no entity can be counted, or set "
        "finetune.tasks.ner.scheme=plain for labels that are no spans"
    )
    assert tag_format("ner", [odd], "plain") == (DetectedTags("plain"), [])
    task = _task(tokenizer, ("B-N", "B-L", "O"))
    with pytest.raises(UserError, match=r"'0' \(a.txt, line 5\) has the tag '0', which is not known"):
        task.encode([odd], training=False)


def test_labels_that_are_no_spans_are_said_so():
    words = _sentence(("he PRON", "went VERB"))
    found, [note] = tag_format("pos", [words])
    assert found.scheme == "plain"
    assert note.startswith(
        "tags are taken as plain labels, since the example '0' (a.txt, line 4) has 'PRON', which spells no span: "
        "the metric is the accuracy of words"
    )
    assert tag_format("pos", [words], "plain")[1] == []
    with pytest.raises(UserError, match=r"line 4\) has the tag 'PRON'"):
        tag_format("pos", [words], "BIO")
    outside = WordsExample("0", ("a",), ("O",))
    assert tag_format("pos", [outside]) == (DetectedTags("plain"), [])
    assert tag_format("pos", [outside], "BIO")[0].scheme == "BIO"


def test_the_metric_that_was_chosen_comes_first(tokenizer):
    prediction = {"tags": ["B-PER", "I-PER", "I-PER", "B-LOC", "B-LOC", "O"]}
    assert list(_task(tokenizer).score([SENTENCE], [prediction]).items()) == [
        ("f1", 40.0),
        ("precision", pytest.approx(100 / 3)),
        ("recall", 50.0),
        ("accuracy", 50.0),
    ]
    assert next(iter(_task(tokenizer, metric="recall").score([SENTENCE], [prediction]))) == "recall"
    plain = _task(tokenizer, ("NN", "VB"), "plain")
    examples = [WordsExample("1", ("a", "b", "c"), ("NN", "VB", "NN")), WordsExample("2", ("d",), ("VB",))]
    assert plain.score(examples, [{"tags": ["NN", "VB", "VB"]}, {"tags": ["VB"]}]) == {"accuracy": 75.0}
    assert (plain.labels, plain.metric) == (("NN", "VB"), "accuracy")
    with pytest.raises(ValueError, match="hidden"):
        plain.score([WordsExample("1", ("a",))], [{"tags": ["NN"]}])


# --- mistakes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_a_tag_that_is_not_known_is_one_sentence(tokenizer, training):
    task = _task(tokenizer)
    with pytest.raises(UserError) as caught:
        task.encode([SENTENCE, WordsExample("b7", ("x",), ("B-ORG",))], training=training)
    assert str(caught.value) == (
        "finetune.tasks.ner: the example 'b7' has the tag 'B-ORG', which is not known; the tags are: "
        "B-LOC, B-PER, I-LOC, I-PER, O"
    )
    with pytest.raises(UserError, match="the tag 'NN', which is not known"):
        task.encode([WordsExample("b", ("x",), ("NN",))], training=training)
    plain = _task(tokenizer, ("NN", "VB"), "plain")
    with pytest.raises(UserError, match="'c' has the tag 'B-X', which is not known; the tags are: NN, VB"):
        plain.encode([WordsExample("c", ("x",), ("B-X",)), WordsExample("d", ("x",))], training=False)


def test_a_form_of_a_known_type_that_training_has_not_is_known(tokenizer):
    task = _task(tokenizer, ("B-PER", "O"))
    rows = task.encode([WordsExample("a", ("x", "y"), ("B-PER", "I-PER"))], training=False)
    assert [task.labels[i] for i in rows.targets["tags"][0][1:3]] == ["B-PER", "E-PER"]


def test_other_mistakes_are_one_sentence(tokenizer):
    task = _task(tokenizer)
    with pytest.raises(UserError, match="'a' has no tags to train on"):
        task.encode([WordsExample("a", ("x",))], training=True)
    with pytest.raises(UserError, match="'a' has 2 words and 1 tags"):
        task.encode([WordsExample("a", ("x", "y"), ("O",))], training=False)
    with pytest.raises(UserError, match="the only tag is NN;"):
        _task(tokenizer, ("NN",), "plain")
    with pytest.raises(
        UserError, match="for tagging of spans it must be one of: f1, precision, recall, accuracy"
    ):
        _task(tokenizer, metric="matthews")
    with pytest.raises(UserError, match="for tagging with plain labels it must be one of: accuracy"):
        _task(tokenizer, ("NN", "VB"), "plain", metric="f1")


# --- the head -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["reference", "huggingface"])
def test_loss_and_outputs_word_by_word(tokenizer, style, within):
    task = _task(tokenizer, style=style)
    examples = [SENTENCE, WordsExample("b", ("x", "y"), ("O", "B-LOC"))]
    rows = task.encode(examples, training=True)
    assert len(rows) > 2  # the first has several windows
    batch = make_batch("ner", rows, BatchPlan(16, np.array([*range(len(rows)), -1])), 0, targets=True)
    states = jax.random.normal(jax.random.key(1), (len(rows) + 1, 16, 8))
    params = nn.init(lambda head: task.loss(head, states, batch, None), task.head())(jax.random.key(0))[
        "params"
    ]
    params["prediction"]["bias"] = jax.random.normal(jax.random.key(2), (len(task.labels),))
    head = task.head().bind({"params": params})
    losses = np.asarray(task.loss(head, states, batch, None))
    logits = np.asarray(states) @ np.asarray(params["prediction"]["kernel"]) + np.asarray(
        params["prediction"]["bias"]
    )
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = np.zeros(len(losses))
    for row, window in enumerate(rows.details):
        learned = convert_tags(examples[rows.example_index[row]].tags, "BIOES")
        for word, position in zip(window.words, window.positions):
            expected[row] -= np.log(probabilities[row, position, task.labels.index(learned[word])])
    within("tagging: loss of a row", np.abs(losses - expected).max(), 1e-5)
    outputs = task.outputs(head, states, batch)
    np.testing.assert_array_equal(outputs["tags"], probabilities.argmax(-1))
    within("tagging: probability", np.abs(outputs["probability"] - probabilities.max(-1)).max(), 1e-6)
    assert (outputs["tags"].dtype, outputs["probability"].dtype) == (jnp.int32, jnp.float32)
    # Dropout is Hugging Face's alone.
    noisy = np.asarray(task.loss(head, states, batch, jax.random.key(3)))
    assert np.allclose(noisy[:-1], losses[:-1]) == (style == "reference")


def test_a_tiny_network_learns_names_by_heart(tokenizer):
    """Long sentences in windows too; what it predicts is exactly what it was shown."""
    rng = random.Random(0)
    names = {"ann": "PER", "bo": "PER", "ghent": "LOC", "rome": "LOC"}
    examples = []
    for number in range(12):
        words, tags = [], []
        for _ in range(rng.choice((2, 3, 9))):
            word = rng.choice((*names, "of", "to", "in"))
            words.append(word)
            tags.append(f"B-{names[word]}" if word in names else "O")
            if word == "bo":
                words.append("de")
                tags.append("I-PER")
        examples.append(WordsExample(str(number), tuple(words), tuple(tags)))
    task = _task(tokenizer)
    config = small_config(
        model={"num_layers": 1, "hidden_dropout": 0.0, "attention_dropout": 0.0},
        objective={"kind": "finetune"},
    )
    rows = task.encode(examples, training=True)
    assert len(rows) > len(examples)
    count = -(-len(rows) // 8) * 8
    batch = make_batch(
        "ner",
        rows,
        BatchPlan(16, np.array([*range(len(rows)), *[-1] * (count - len(rows))])),
        0,
        targets=True,
    )
    objective = FineTuning(build_network(config, tokenizer.vocab_size), {"ner": task}, {"ner": batch})
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
        return jax.lax.scan(step, (params, optimizer.init(params)), length=100)[0][0]

    mesh = make_mesh(MeshConfig())
    hidden = [replace(example, tags=None) for example in examples]
    encoded = task.encode(hidden, training=False)
    found = predict_rows(
        make_predict_step(objective, mesh),
        mesh,
        learn(jax.random.key(0)),
        "ner",
        encoded,
        batch_size=8,
        buckets=(8, 16),
        pad_id=tokenizer.pad_id,
    )
    predictions = task.predictions(hidden, encoded, found)
    assert [tuple(prediction["tags"]) for prediction in predictions] == [example.tags for example in examples]
    assert set(task.score(examples, predictions).values()) == {100.0}


# --- whole benchmarks -----------------------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["conll2000", "conll2003"])
@pytest.mark.parametrize("max_length", [32, 128])
def test_no_word_of_a_benchmark_is_lost(shared, bert, name, max_length):
    examples = read_word_columns(shared / "data" / name / "test.txt")
    labels = tuple(sorted({tag for example in examples for tag in example.tags}))
    task = _task(bert, labels, "BIO", max_length)
    rows = task.encode(examples, training=True)
    words = sum(len(example.words) for example in examples)
    assert words == {"conll2000": 47377, "conll2003": 46435}[name]
    assert sum(len(window.words) for window in rows.details) == words
    assert sum((target != NO_TARGET).sum() for target in rows.targets["tags"]) == words
    # One sentence of CoNLL-2003's does not fit 128 tokens.
    windows_more = len(rows) - len(examples)
    assert windows_more > 100 if max_length == 32 else windows_more == {"conll2000": 0, "conll2003": 1}[name]
    predictions = task.predictions(examples, rows, _perfect_outputs(task, examples, rows))
    assert [tuple(prediction["tags"]) for prediction in predictions] == [example.tags for example in examples]
    assert set(task.score(examples, predictions).values()) == {100.0}
