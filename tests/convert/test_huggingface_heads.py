"""Fine-tuned folders of `transformers`: read, used, handed on and written, bit for bit."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from huggingface_folder import TINY, random_tensors, write_folder
from safetensors.numpy import load_file

import electra_jax
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_heads import detect_head
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.native_format import read_native, write_native
from electra_jax.errors import UserError
from electra_jax.tasks.protocol import ChoiceExample, WordsExample
from electra_jax.tasks.settings import TaskSettings, can_be_exported, read_settings

SIZES = {**TINY, "max_position_embeddings": 128}
HIDDEN = SIZES["hidden_size"]
LABELS = {
    "classification": ["no", "yes", "who knows"],
    "regression": ["LABEL_0"],
    "tagging": ["O", "I-PER", "B-LOC", "B-PER", "I-LOC"],  # not in our order
    "question_answering": ["start", "end"],
    "multiple_choice": ["score"],
}
ARCHITECTURES = {
    "classification": "ElectraForSequenceClassification",
    "regression": "ElectraForSequenceClassification",
    "tagging": "ElectraForTokenClassification",
    "question_answering": "ElectraForQuestionAnswering",
    "multiple_choice": "ElectraForMultipleChoice",
}


def _dense(rng, name, inputs, outputs):
    weight = rng.standard_normal((outputs, inputs), np.float32)
    return {f"{name}.weight": weight, f"{name}.bias": rng.standard_normal(outputs, np.float32)}


def _tensors(kind):
    tensors = random_tensors("discriminator", SIZES)
    tensors = {n: a for n, a in tensors.items() if not n.startswith("discriminator_predictions")}
    rng, outputs = np.random.default_rng(7), len(LABELS[kind])
    if kind == "question_answering":
        return tensors | _dense(rng, "qa_outputs", HIDDEN, outputs)
    if kind == "tagging":
        return tensors | _dense(rng, "classifier", HIDDEN, outputs)
    if kind == "multiple_choice":
        dense = _dense(rng, "sequence_summary.summary", HIDDEN, HIDDEN)
        return tensors | dense | _dense(rng, "classifier", HIDDEN, outputs)
    dense = _dense(rng, "classifier.dense", HIDDEN, HIDDEN)
    return tensors | dense | _dense(rng, "classifier.out_proj", HIDDEN, outputs)


def _folder(path, kind, **more):
    named = {str(number): label for number, label in enumerate(LABELS[kind])}
    classes = {} if kind in ("question_answering", "multiple_choice") else {"id2label": named}
    described = {"architectures": [ARCHITECTURES[kind]]} | classes
    return write_folder(path, "discriminator", SIZES, tensors=_tensors(kind), **(described | more))


def _written(folder):
    return load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("kind", LABELS)
def test_there_and_back_is_the_same_bits(tmp_path, kind):
    source = _folder(tmp_path / "theirs", kind, null_score_diff_threshold=-1.5)
    write_native(read_huggingface([source]), tmp_path / "ours", tmp_path / "ours")
    write_huggingface(read_native(tmp_path / "ours"), tmp_path / "again")
    tensors, config = _written(tmp_path / "again" / kind)
    expected, before = _written(source)
    assert tensors.keys() == expected.keys()
    assert config.get("id2label") == before.get("id2label")
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert config["architectures"] == [ARCHITECTURES[kind]]
    assert config.get("null_score_diff_threshold") == (-1.5 if kind == "question_answering" else None)


def _gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def test_any_number_of_labels_there_and_back(tmp_path):
    problem = "multi_label_classification"
    source = _folder(tmp_path / "theirs", "classification", problem_type=problem, multi_label_threshold=0.25)
    write_native(read_huggingface([source]), tmp_path / "ours", tmp_path / "ours")
    write_huggingface(read_native(tmp_path / "ours"), tmp_path / "again")
    tensors, config = _written(tmp_path / "again" / "classification")
    expected, before = _written(source)
    assert {name: config[name] for name in ("problem_type", "multi_label_threshold", "id2label")} == {
        "problem_type": problem,
        "multi_label_threshold": 0.25,
        "id2label": before["id2label"],
    }
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    settings = read_settings(tmp_path / "ours")["classification"]
    assert (settings.multi_label, settings.threshold) == (True, 0.25)


@pytest.mark.parametrize(
    ("labels", "problem", "message"),
    [
        (3, "regression", r"problem_type is regression with 3 outputs, but a regression here has one number"),
        (3, "sorting", r"problem_type is 'sorting', but must be null or one of: regression, single_label_"),
        (3, ["regression"], r"problem_type is \['regression'\], but must be null or one of"),
        (1, "single_label_classification", r"single_label_classification with one label"),
    ],
)
def test_outputs_that_mean_something_else_are_not_taken_for_another_kind(tmp_path, labels, problem, message):
    kind = "classification" if labels == 3 else "regression"
    with pytest.raises(UserError, match=message):
        read_huggingface([_folder(tmp_path, kind, problem_type=problem)])


def test_what_the_outputs_mean(tmp_path):
    meant = {
        (kind, problem): read_huggingface(
            [_folder(tmp_path / f"{kind} {problem}", kind, problem_type=problem)]
        )
        for kind, problem in [
            ("classification", None),
            ("classification", "single_label_classification"),
            ("classification", "multi_label_classification"),
            ("regression", None),
            ("regression", "regression"),
            ("regression", "multi_label_classification"),
        ]
    }
    assert {
        case: [(task.kind, task.multi_label) for task in weights.tasks.values()]
        for case, weights in meant.items()
    } == {
        ("classification", None): [("classification", False)],
        ("classification", "single_label_classification"): [("classification", False)],
        ("classification", "multi_label_classification"): [("classification", True)],
        ("regression", None): [("regression", False)],
        ("regression", "regression"): [("regression", False)],
        ("regression", "multi_label_classification"): [("classification", True)],  # a class by itself
    }


@pytest.mark.parametrize("threshold", [0, 1.5, "0.5", True])
def test_a_threshold_of_labels_that_is_none(tmp_path, threshold):
    folder = _folder(
        tmp_path,
        "classification",
        problem_type="multi_label_classification",
        multi_label_threshold=threshold,
    )
    with pytest.raises(UserError, match=r"multi_label_threshold is .*, but must be between 0 and 1, or null"):
        read_huggingface([folder])


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_folder_is_used_as_it_is(tmp_path, kind):
    """The head worked out by hand on the state of [CLS]."""
    model = electra_jax.load(_folder(tmp_path, kind))
    texts = ["word1 word2 word3", "word30"]
    states, tensors = model.encode(texts, pooling="first").astype(np.float64), _tensors(kind)
    dense = _gelu(states @ tensors["classifier.dense.weight"].T + tensors["classifier.dense.bias"])
    logits = dense @ tensors["classifier.out_proj.weight"].T + tensors["classifier.out_proj.bias"]
    answers = model.classify(texts)
    if kind == "regression":
        np.testing.assert_allclose([a["value"] for a in answers], logits[:, 0], rtol=1e-4)
        return
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    assert list(answers[0]["probabilities"]) == LABELS[kind]
    np.testing.assert_allclose([list(a["probabilities"].values()) for a in answers], shares, rtol=1e-3)


def test_tags_keep_their_scheme_and_make_entities(tmp_path):
    (answer,) = electra_jax.load(_folder(tmp_path, "tagging")).tag(["word1 word2 word3 word4"])
    assert len(answer["tags"]) == 4
    assert set(answer["tags"]) <= set(LABELS["tagging"])
    assert [entity["type"] for entity in answer["entities"]] == [
        tag[2:] for tag in answer["tags"] if tag.startswith("B-")
    ]


@pytest.mark.parametrize(
    ("labels", "scheme", "spelling", "odd"),
    [
        ("O I-PER B-LOC I-LOC B-PER", "BIO", "O B-TYPE", ""),
        ("O B-LOC I-LOC I-PER", "IOB1", "O B-TYPE", ""),  # no B-PER: never needed in IOB1
        ("B-LOC I-LOC", "BIO", "O B-TYPE", ""),
        ("O B-X M-X E-X S-X", "BMES", "O B-TYPE", ""),
        ("O B-X L-X U-X", "BILOU", "O B-TYPE", ""),
        ("O PER-B PER-I", "BIO", "O TYPE-B", ""),
        ("O B_MISC_X I_MISC_X", "BIO", "O B_TYPE", ""),
        ("o b-per i-per", "BIO", "o b-TYPE", ""),
        ("O B-X I-X X [CLS]", "BIO", "O B-TYPE", "'X', '[CLS]'"),
        ("NOUN VERB O B-X DET", "plain", "O B-TYPE", ""),
        ("LABEL_0 LABEL_1", "plain", "O B-TYPE", ""),
    ],
)
def test_labels_of_a_tagger_spell_spans_in_any_scheme(labels, scheme, spelling, odd):
    labels = labels.split()
    named = {"id2label": {str(number): label for number, label in enumerate(labels)}}
    head = detect_head(named, {"classifier.weight": np.zeros((len(labels), 2))}, "config.json")
    settings = head.settings
    assert (settings.scheme, settings.spelling) == (scheme, spelling)
    assert settings.labels == settings.classes == tuple(labels)
    assert [odd in note for note in head.notes] == ([True] if odd else [])


def test_a_tagger_whose_labels_lack_a_begin_finds_entities(tmp_path):
    named = dict(zip("01234", ["O", "I-PER", "X", "B-LOC", "I-LOC"], strict=True))
    task = electra_jax.load(_folder(tmp_path, "tagging", id2label=named)).tasks["tagging"]
    assert task.labels == tuple(named.values())
    example = WordsExample("0", ("word1", "word2", "word3", "word4", "word5"))
    rows = task.encode([example], training=False)
    outputs = {"tags": np.zeros((1, 9), np.int32), "probability": np.ones((1, 9), np.float32)}
    outputs["tags"][0, rows.details[0].positions] = [1, 1, 2, 4, 3]  # X is in no entity
    (answer,) = task.predictions([example], rows, outputs)
    assert answer["tags"] == ["I-PER", "I-PER", "O", "I-LOC", "B-LOC"]
    assert [tuple(entity.values())[:3] for entity in answer["entities"]] == [
        ("PER", 0, 2),
        ("LOC", 3, 4),
        ("LOC", 4, 5),
    ]


def test_tags_that_are_mostly_no_scheme_are_plain_labels(tmp_path):
    named = {"0": "NOUN", "1": "VERB", "2": "O", "3": "B-X", "4": "DET"}
    (answer,) = electra_jax.load(_folder(tmp_path, "tagging", id2label=named)).tag(["word1 word2"])
    assert "entities" not in answer
    assert set(answer["tags"]) <= set(named.values())


def test_answers_are_the_best_span_of_the_context(tmp_path):
    folder = _folder(tmp_path, "question_answering")
    model = electra_jax.load(folder)
    context = " ".join(f"word{n}" for n in range(5, 12))
    answer = model.answer("word1 word2", context)
    assert answer["answer"] == context[answer["start"] : answer["end"]] != ""
    best = answer["n_best"][0]
    assert all(best["score"] >= other["score"] for other in answer["n_best"])


def test_regression_is_written_on_the_scale_of_its_labels(tmp_path):
    write_native(read_huggingface([_folder(tmp_path / "a", "regression")]), tmp_path / "b", tmp_path / "b")
    file = tmp_path / "b" / "tasks.json"
    settings = json.loads(file.read_text())
    settings["regression"] |= {"low": 1.0, "high": 5.0}
    file.write_text(json.dumps(settings))
    write_huggingface(read_native(tmp_path / "b"), tmp_path / "c")
    before = electra_jax.load(tmp_path / "b").classify(["word1 word2"])[0]["value"]
    after = electra_jax.load(tmp_path / "c" / "regression").classify(["word1 word2"])[0]["value"]
    unscaled = electra_jax.load(tmp_path / "a").classify(["word1 word2"])[0]["value"]
    assert before == pytest.approx(4 * unscaled + 1, rel=1e-5)
    assert after == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize(
    "change", ["another name", "another number of classes", "another kind", "multi_label"]
)
def test_tasks_that_are_not_those_of_the_heads(tmp_path, change):
    write_native(
        read_huggingface([_folder(tmp_path / "a", "classification")]), tmp_path / "b", tmp_path / "b"
    )
    file = tmp_path / "b" / "tasks.json"
    settings = json.loads(file.read_text())
    if change == "another name":
        settings["sentiment"] = settings.pop("classification")
        expected = "names the tasks sentiment, but the heads that were trained are classification"
    elif change == "another kind":
        settings["classification"]["kind"] = "tagging"
        expected = "says kind tagging instead of classification of classification: restore"
    elif change == "multi_label":
        settings["classification"]["multi_label"] = True
        expected = "says multi_label true instead of false of classification: restore"
    else:
        settings["classification"]["classes"] = settings["classification"]["classes"][:2]
        expected = "gives classification 2 classes, but its head has 3 outputs"
    file.write_text(json.dumps(settings))
    with pytest.raises(UserError, match=expected):
        read_native(tmp_path / "b")


def test_a_head_with_more_than_its_kind_has_is_not_exported_in_part(tmp_path):
    theirs = read_huggingface([_folder(tmp_path / "a", "classification")])
    tags = {"classification": replace(theirs.tasks["classification"], kind="tagging")}
    with pytest.raises(UserError, match="of kind tagging, whose head has no heads/classification/dense/"):
        write_huggingface(replace(theirs, tasks=tags), tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_linear_head_is_written_with_a_hidden_layer_and_says_the_same(tmp_path, kind):
    theirs = read_huggingface([_folder(tmp_path / "a", kind)])
    config = theirs.config.model_copy(
        update={"finetune": theirs.config.finetune.model_copy(update={"head_style": "reference"})}
    )
    linear = {name: array for name, array in theirs.parameters.items() if f"heads/{kind}/dense" not in name}
    tasks = {kind: replace(theirs.tasks[kind], low=1.0, high=5.0)} if kind == "regression" else theirs.tasks
    weights = replace(theirs, config=config, parameters=linear, tasks=tasks)
    write_native(weights, tmp_path / "b", tmp_path / "b")
    write_huggingface(weights, tmp_path / "c")
    texts = ["word1 word2", "word7", "word9 word9 word30 word4"]
    before, after = (
        electra_jax.load(path).classify(texts) for path in (tmp_path / "b", tmp_path / "c" / kind)
    )
    for ours, exported in zip(before, after, strict=True):
        if kind == "regression":
            assert exported["value"] == pytest.approx(ours["value"], rel=1e-5)
        else:
            assert exported["probabilities"] == pytest.approx(ours["probabilities"], abs=1e-6)
    tensors, described = _written(tmp_path / "c" / kind)
    assert described["architectures"] == ["ElectraForSequenceClassification"]
    assert tensors["classifier.dense.weight"].shape == (HIDDEN, HIDDEN)
    assert np.count_nonzero(tensors["classifier.out_proj.weight"]) == 2 * len(LABELS[kind])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"summary_type": "last"}, "summary_type is 'last', but a head of multiple choice here has 'first'"),
        ({"summary_activation": None}, "summary_activation is None"),
        ({"summary_last_dropout": 2}, "summary_last_dropout is 2, but must be a rate"),
        ({"summary_use_proj": False}, r"there is no sequence_summary\.summary\.weight"),
    ],
)
def test_a_summary_of_another_kind_is_refused(tmp_path, change, message):
    folder = _folder(tmp_path, "multiple_choice", **change)
    if change.get("summary_use_proj") is False:
        tensors = {n: a for n, a in _tensors("multiple_choice").items() if "summary" not in n}
        folder = write_folder(
            tmp_path / "b",
            "discriminator",
            SIZES,
            tensors=tensors,
            architectures=["ElectraForMultipleChoice"],
        )
    with pytest.raises(UserError, match=message):
        read_huggingface([folder])


def test_options_are_chosen_as_the_folder_says_and_by_a_linear_head_exported(tmp_path):
    """The head worked out by hand; then a head of the original's shape, before and after it is written."""
    folder = _folder(tmp_path / "a", "multiple_choice", summary_last_dropout=0.3)
    theirs = read_huggingface([folder])
    assert theirs.config.finetune.head_dropout == 0.3
    tensors, model = _tensors("multiple_choice"), electra_jax.load(folder)
    choice = ("word1 word2", ["word3", "word4 word5", "word30"])
    rows = model.tasks["multiple_choice"].encode([ChoiceExample("0", *choice)], training=False)
    states = model._run(
        "states", lambda params, batch: {"state": _states(model, params, batch)}, rows, "multiple_choice"
    )["state"].astype(np.float64)
    name = "sequence_summary.summary"
    dense = _gelu(states @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"])
    logits = (dense @ tensors["classifier.weight"].T + tensors["classifier.bias"])[:, 0]
    found = model.choose(*choice)["probabilities"]
    np.testing.assert_allclose(found, np.exp(logits) / np.exp(logits).sum(), rtol=1e-3)

    linear = {n: array for n, array in theirs.parameters.items() if "heads/multiple_choice/dense" not in n}
    finetune = theirs.config.finetune.model_copy(update={"head_style": "reference"})
    config = theirs.config.model_copy(update={"finetune": finetune})
    weights = replace(theirs, config=config, parameters=linear)
    write_native(weights, tmp_path / "b", tmp_path / "b")
    write_huggingface(weights, tmp_path / "c")
    before, after = (
        electra_jax.load(path).choose(*choice)
        for path in (tmp_path / "b", tmp_path / "c" / "multiple_choice")
    )
    assert after["probabilities"] == pytest.approx(before["probabilities"], abs=1e-6)
    assert _written(tmp_path / "c" / "multiple_choice")[1]["summary_last_dropout"] == 0.3


def _states(model, params, batch):
    used = {name: params[name] for name in ("embeddings", "encoder")}
    return model._network.apply({"params": used}, batch.inputs, None, method="encode")[:, 0]


def test_a_linear_head_too_wide_for_a_hidden_layer_is_refused():
    many = tuple(f"class {number}" for number in range(17))
    settings = TaskSettings(kind="classification", labels=many, classes=many)
    assert not can_be_exported("reference", settings, 32)
    assert can_be_exported("reference", settings, 34)
    assert can_be_exported("huggingface", settings, 32)


def test_what_cannot_be_written(tmp_path):
    write_native(
        read_huggingface([_folder(tmp_path / "a", "question_answering")]), tmp_path / "b", tmp_path / "b"
    )
    weights = read_native(tmp_path / "b", overrides=["finetune.head_style=reference"])
    with pytest.raises(UserError, match=r"answering has the original's shape.*head_style=huggingface"):
        write_huggingface(weights, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_mean_over_the_tokens_cannot_be_written(tmp_path):
    write_native(
        read_huggingface([_folder(tmp_path / "a", "classification")]), tmp_path / "b", tmp_path / "b"
    )
    weights = read_native(tmp_path / "b")
    (name,) = weights.config.finetune.tasks
    task = weights.config.finetune.tasks[name].model_copy(update={"pooling": "mean"})
    finetune = weights.config.finetune.model_copy(update={"tasks": {name: task}})
    meaning = replace(weights, config=weights.config.model_copy(update={"finetune": finetune}))
    with pytest.raises(UserError, match=rf"^{name} reads the mean over the tokens.*\.{name}\.pooling=first"):
        write_huggingface(meaning, tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "named", [{"0": "a", "2": "b"}, {"0": "a", "1": "a", "2": "b"}, ["a", "b"], {"0": 1, "1": 2, "2": 3}]
)
def test_classes_without_names(tmp_path, named):
    with pytest.raises(UserError, match=r"config\.json: id2label does not name the classes"):
        read_huggingface([_folder(tmp_path, "classification", id2label=named)])


def test_another_number_of_classes(tmp_path):
    folder = _folder(tmp_path, "classification", id2label={"0": "a", "1": "b"})
    with pytest.raises(UserError, match=r"classifier\.out_proj\.weight is 3 x 32, expected 2 x 32"):
        read_huggingface([folder])
