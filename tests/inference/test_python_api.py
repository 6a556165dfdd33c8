"""The package in Python: what is found, one item or many, what was cut, and every example of a docstring."""

import doctest
import inspect
import re
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest
from huggingface_folder import write_folder
from small_run import small_config
from tiny_models import write_fine_tuned, write_pre_trained
from writers import causal_model

import electra_jax
from electra_jax.inference.model import Model
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network
from electra_jax.partitioning import mesh
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        write_fine_tuned(folder / "runs/mine")
        write_pre_trained(folder / "runs/pretrained")
        yield folder


@pytest.fixture(scope="module")
def model(folder):
    return electra_jax.load(folder / "runs/mine")


@pytest.fixture(scope="module")
def pretrained(folder):
    return electra_jax.load(folder / "runs/pretrained")


def test_every_example_of_the_public_api(folder, model, pretrained, monkeypatch):
    monkeypatch.chdir(folder)
    names = {"model": model, "pretrained": pretrained, "writer": causal_model(words=True, devices=1)}
    documented = [electra_jax.load, *(method for _, method in inspect.getmembers(Model, inspect.isfunction))]
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for documented_object in documented:
        for example in doctest.DocTestFinder(recurse=False).find(documented_object, globs=dict(names)):
            runner.run(example)
    assert (runner.failures, runner.tries) == (0, 31)
    for name in (
        "classify",
        "tag",
        "answer",
        "answer_all",
        "detect",
        "encode",
        "score",
        "fill",
        "refine",
        "generate",
        "stream",
    ):
        assert ">>> " in getattr(Model, name).__doc__


def test_what_is_assumed_of_a_foreign_checkpoint_is_said(tmp_path):
    source = write_folder(tmp_path / "foreign", "discriminator")
    (source / "added_tokens.json").write_text('{"[ENT]": 99}')
    with pytest.warns(UserWarning, match=r"added_tokens\.json finds '\[ENT\]' whole"):
        electra_jax.load(source)
    found: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        electra_jax.load(source, notes=found)
    assert any("[ENT]" in note for note in found)


def test_loading_says_nothing_and_the_model_says_what_it_is(folder, capfd, caplog):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = electra_jax.load(folder / "runs/pretrained")
    assert [str(warning.message) for warning in caught] == []
    assert capfd.readouterr().err == ""
    assert caplog.messages == []  # Orbax missed a description that no checkpoint of ours has
    assert re.fullmatch(
        r"<Model pre-trained: 1 layers of 8, [\d,]+ parameters, wordpiece vocabulary of 20, up to 32 tokens; "
        rf"from {folder}/runs/pretrained>",
        repr(found),
    )


def test_what_there_is_is_shown_and_needs_no_jax_to_be_listed():
    code = (
        "import sys, electra_jax\n"
        "assert {'load', 'train', 'Model', 'UserError'} <= set(dir(electra_jax))\n"
        "assert set(electra_jax.__all__) <= set(dir(electra_jax))\n"
        "assert 'work directory' in electra_jax.load.__doc__\n"
        "import electra_jax.prepare, electra_jax.config.__main__, electra_jax.inference.records\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('jax', 'jaxlib', 'flax', 'orbax')])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_attention_is_chosen_for_the_rows_that_are_read_and_not_for_those_of_training(tmp_path):
    model = {
        "block": "modern",
        "hidden_size": 16,
        "num_layers": 1,
        "embedding_size": 16,
        "max_positions": 2048,
    }
    given = small_config(model=model, data={"sequence_length": 16})
    tokenizer = WordPieceTokenizer(
        b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na", lowercase=True, strip_accents=True
    )
    network = build_network(given, tokenizer.vocab_size)
    params = dict(jax.jit(lambda: init_params(network, jax.random.key(0)))())
    loaded = Model(given, tokenizer, params, {})
    assert loaded.max_length == 2048
    assert loaded._network.config.encoder.block.attention == "blocked"


def test_a_model_is_not_used_on_one_of_several_hosts(folder, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(electra_jax.UserError, match="a model is used on one host, and this is one of 4"):
        electra_jax.load(folder / "runs/mine")


def test_a_pretrained_model_says_that_it_has_no_task(pretrained):
    with pytest.raises(
        electra_jax.UserError, match=r"is pre-trained and has no task.*fine-tune it, or classify by prompts"
    ):
        pretrained.classify("a cat")
    with pytest.raises(electra_jax.UserError, match=r"none of kind tagging: fine-tune it$"):
        pretrained.tag("a cat")


def test_train_is_both_a_function_and_the_module_of_the_command():
    assert callable(electra_jax.train)
    assert callable(electra_jax.train.main)
    assert list(inspect.signature(electra_jax.train).parameters) == [
        "config",
        "workdir",
        "overrides",
        "submission",
    ]
    with pytest.raises(electra_jax.UserError, match="nowhere"):
        electra_jax.train("nowhere.yaml", "runs/x")


METHODS = {
    "classify": (["ann left"], "ann left"),
    "tag": (["ann left", ("ann", "left")], "ann left"),
    "answer_all": ([("who left ?", "ann left .")], ("who left ?", "ann left .")),
    "encode": (["ann left"], "ann left"),
}


@pytest.mark.parametrize("method", METHODS)
def test_one_item_gives_one_answer_and_a_list_a_list(model, method):
    many, one = METHODS[method]
    answers, answer = getattr(model, method)(many), getattr(model, method)(one)
    assert len(answers) == len(many)
    if method == "encode":
        assert answer.shape == (8,)
        np.testing.assert_allclose(answers[0], answer, atol=1e-6)
    else:
        assert isinstance(answer, dict)
        assert {k: v for k, v in answers[0].items() if k != "id"}.keys() == {k for k in answer if k != "id"}
    assert len(getattr(model, method)(item for item in many)) == len(many)
    assert len(getattr(model, method)([])) == 0


def test_a_pair_and_words_as_a_tuple_are_one_item(model, pretrained):
    assert isinstance(model.classify(("ann left .", "he went .")), dict)
    pair = model.classify([("ann left .", "he went .")])[0]["probability"]
    assert model.classify([["ann left .", "he went ."]])[0]["probability"] == pytest.approx(pair)
    assert model.tag(("ann", "left"))["words"] == ["ann", "left"]
    assert [token.text for token in pretrained.detect("ann left")] == ["ann", "left"]
    assert model.classify(np.array(["ann", "bob"])) == model.classify(["ann", "bob"])
    assert model.classify("ann \ud83d")["label"] == model.classify("ann \ufffd")["label"]


WRONG = [
    ("classify", [None], "classify: item 0 is None and not a text"),
    ("classify", ["a", 5], "classify: item 1 is int '5' and not a text"),
    ("classify", None, "classify takes a text or a pair of texts, or a list of them, and not None"),
    ("classify", b"bytes", "and not bytes"),
    ("classify", {"text": "a"}, "and not dict"),
    ("classify", ("a", "b", "c"), "item 0 is a tuple of 3 and not a pair of texts"),
    ("classify", [("a", None)], "item 0, its second part is None and not a text"),
    ("tag", [["a", 1]], "tag: item 0, word 1 is int '1' and not a text"),
    ("tag", [3], "tag: item 0 is int '3' and neither a sentence nor a list of words"),
    ("answer_all", ["ab"], "answer_all: item 0 is str 'ab' and not a pair of texts"),
    ("answer_all", "ab", "answer_all: item 0 is str 'ab' and not a pair"),
    ("encode", ("a", "b"), "encode: item 0 is a tuple of 2 and not a text"),
    ("encode", [["a"]], "encode: item 0 is a list of 1 and not a text"),
    ("score", ["ann", None], "score: item 1 is None and not a text"),
    ("score", ("ann", "bob"), "score: item 0 is a tuple of 2 and not a text"),
    ("fill", [3], "fill: item 0 is int '3' and not a text"),
    ("fill", ["___", "ann __"], "fill: item 1 has no gap: write [MASK] or ___"),
    ("detect", [float("nan")], "detect: item 0 is float 'nan' and not a text"),
]


@pytest.mark.parametrize(("method", "given", "message"), WRONG)
def test_what_is_no_text_says_which_item(model, pretrained, method, given, message):
    asked = model if method in METHODS else pretrained
    with pytest.raises(electra_jax.UserError, match=re.escape(message)):
        getattr(asked, method)(given)


def test_what_is_cut_is_not_cut_in_silence(model, pretrained):
    long, fits = "ann " * 5000, "ann " * 30
    assert [answer.get("truncated") for answer in model.classify([fits, long])] == [None, True]
    assert [answer.get("truncated") for answer in model.classify([(fits, "bob"), ("ann", "bob")])] == [
        True,
        None,
    ]
    questions = [("who " * 4, "ann"), ("who " * 5, "ann"), ("who", long)]
    assert [answer.get("truncated") for answer in model.answer_all(questions)] == [None, True, None]
    assert len(model.tag("ann " * 99)["tags"]) == 99  # in windows
    for cut in (
        lambda **more: model.encode([fits, long], **more),
        lambda **more: pretrained.detect([fits, long], **more),
        lambda **more: pretrained.score([fits, long], **more),
    ):
        with pytest.warns(UserWarning, match="1 of 2 texts have more than 30 tokens and were cut") as caught:
            cut()
        assert caught[0].filename == __file__
        marks: list[bool] = []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cut(cut=marks)
        assert marks == [False, True]


@pytest.mark.parametrize("path", [None, 3, b"runs", ["runs"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(electra_jax.UserError, match="and not a path"):
        electra_jax.load(path)
    with pytest.raises(electra_jax.UserError, match="and not a path"):
        electra_jax.train(path, "runs/new")
    with pytest.raises(electra_jax.UserError, match="and not a path"):
        electra_jax.train("tiny", path)


@pytest.mark.parametrize("override", [None, 3, {"train.steps": 1}, ["train.steps=1"]])
def test_override_that_is_no_text_is_refused(override):
    with pytest.raises(electra_jax.UserError, match="must be text"):
        electra_jax.train("tiny", "runs/new", override)


def test_array_of_no_dimension_is_refused(model):
    with pytest.raises(electra_jax.UserError, match="classify takes a text"):
        model.classify(np.array("abc"))
