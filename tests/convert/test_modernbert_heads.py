"""Fine-tuned folders of Hugging Face's ModernBERT: written, read and used, and what is refused."""

import json
import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from huggingface_folder import words
from modern_weights import TASKS, fine_tuned, random_weights
from safetensors.numpy import load_file, save_file
from small_run import SmallVocabulary

import electra_jax
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_heads import heads_from_settings
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.native_format import read_native, write_native
from electra_jax.errors import UserError
from electra_jax.model.task_heads import SpanHead, TaggingHead
from electra_jax.partitioning.axes import path_name
from electra_jax.tasks.build import build_task
from electra_jax.tasks.settings import TaskSettings, can_be_exported
from electra_jax.tokenizers.build import KINDS

ARCHITECTURES = {
    "classification": "ModernBertForSequenceClassification",
    "multi-label": "ModernBertForSequenceClassification",
    "regression": "ModernBertForSequenceClassification",
    "tagging": "ModernBertForTokenClassification",
    "question_answering": "ModernBertForQuestionAnswering",
    "multiple_choice": "ModernBertForMultipleChoice",
}
POOLED = ("classification", "multi-label", "regression", "multiple_choice")


def tokenizer():
    content = "".join(f"{word}\n" for word in words(SmallVocabulary.vocab_size)).encode()
    return KINDS["wordpiece"](content, lowercase=True, strip_accents=True, where="here")


@pytest.fixture(params=TASKS)
def case(request):
    return request.param


def _described(folder):
    return json.loads((folder / "config.json").read_text())


def _copy(folder, to, **changes):
    shutil.copytree(folder, to)
    (to / "config.json").write_text(json.dumps(_described(to) | changes))
    return to


def _same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_a_head_has_the_shapes_that_are_written(case):
    weights = fine_tuned(case)
    (head,) = heads_from_settings(weights.tasks, "modern")
    module = build_task("mine", weights.tasks["mine"], weights.config, tokenizer()).head()
    hidden = jnp.zeros((1, 4, weights.config.model.hidden_size))
    real = () if isinstance(module, SpanHead | TaggingHead) else (jnp.ones((1, 4), bool),)
    made = jax.eval_shape(module.init, jax.random.key(0), hidden, *real)["params"]
    shapes = {f"heads/mine/{path_name(path)}": leaf.shape for path, leaf in jax.tree.leaves_with_path(made)}
    assert shapes == head.shapes(weights.config.model.hidden_size)


@pytest.mark.parametrize("pooling", ["first", "mean", None])
def test_out_and_in_and_out_again_is_the_same_bit_for_bit(case, pooling, tmp_path):
    """A regression goes out on the scale of its labels, and so comes in."""
    section = {"pooling": pooling} if case in POOLED else {}
    weights = fine_tuned(case, tokenizer(), **section)
    write_huggingface(weights, tmp_path / "first")
    described = _described(tmp_path / "first" / "mine")
    assert described["architectures"] == [ARCHITECTURES[case]]
    assert described["classifier_dropout"] == 0.3
    if case in POOLED:
        # The default of a model with a window is the mean.
        assert described["classifier_pooling"] == {"first": "cls"}.get(pooling, "mean")
    came = read_huggingface([tmp_path / "first" / "mine"])
    write_native(came, tmp_path / "ours", tmp_path / "ours")
    again = read_native(tmp_path / "ours")
    (kind,) = again.tasks
    assert kind == TASKS[case].kind
    assert again.config.finetune.head_style == "huggingface"
    assert again.config.finetune.head_dropout == 0.3
    if case in POOLED:
        assert again.config.finetune.tasks[kind].pooling == (pooling or "mean")
    if case != "regression":
        assert again.tasks[kind] == TASKS[case]
        _same(
            {name.replace(f"heads/{kind}/", "heads/mine/"): a for name, a in again.parameters.items()},
            weights.parameters,
        )
    write_huggingface(again, tmp_path / "second")
    _same(
        load_file(tmp_path / "second" / kind / "model.safetensors"),
        load_file(tmp_path / "first" / "mine" / "model.safetensors"),
    )
    theirs = _described(tmp_path / "second" / kind)
    assert theirs == {**described, "finetuning_task": kind}


def _answers(model, case):
    first, second = "word4 word7 word1 word30", "word9 word2 word30 word31 word40 word41 word42 word43 word44"
    if case == "question_answering":
        return model.answer(first, second)
    if case == "multiple_choice":
        return model.choose(first, [second, "word8", "word12 word13"])
    return model.tag([first, second]) if case == "tagging" else model.classify([first, (first, second)])


def test_a_folder_is_used_as_the_run_that_it_was_written_from(case, tmp_path):
    weights = fine_tuned(case, tokenizer())
    write_native(weights, tmp_path / "ours", tmp_path / "ours")
    write_huggingface(weights, tmp_path / "out")
    ours, theirs = (
        _answers(electra_jax.load(path), case) for path in (tmp_path / "ours", tmp_path / "out" / "mine")
    )
    if case == "regression":
        for one, other in zip(ours, theirs, strict=True):
            assert other["value"] == pytest.approx(one["value"], rel=1e-5)
        return
    assert theirs == ours


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of every case."""
    made = tmp_path_factory.mktemp("folders")
    for name in TASKS:
        write_huggingface(fine_tuned(name, tokenizer()), made / name)
    return {name: made / name / "mine" for name in TASKS}


def test_one_label_a_token_is_a_discriminator_and_several_are_tags(folders, tmp_path):
    write_huggingface(random_weights(), tmp_path)
    assert _described(tmp_path / "discriminator")["architectures"] == [ARCHITECTURES["tagging"]]
    pre_trained, tagger = (
        read_huggingface([tmp_path / "discriminator"]),
        read_huggingface([folders["tagging"]]),
    )
    assert (pre_trained.tasks, "discriminator_head/dense/kernel" in pre_trained.parameters) == ({}, True)
    assert [*tagger.tasks] == ["tagging"]
    assert "discriminator_head/dense/kernel" not in tagger.parameters


def test_what_config_json_does_not_say_is_as_transformers_takes_it(folders, tmp_path):
    folder = _copy(folders["classification"], tmp_path / "short")
    described = _described(folder)
    for name in ("classifier_pooling", "classifier_dropout", "problem_type", "id2label", "label2id"):
        del described[name]
    (folder / "config.json").write_text(json.dumps(described | {"num_labels": 3}))
    weights = read_huggingface([folder])
    assert weights.config.finetune.tasks["classification"].pooling == "first"
    assert weights.config.finetune.head_dropout == 0.0
    assert weights.tasks["classification"].classes == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    [
        (
            "classification",
            {"classifier_pooling": "max"},
            "classifier_pooling is 'max', but must be one of: cls, mean",
        ),
        ("classification", {"classifier_dropout": "much"}, "head_dropout"),
        ("classification", {"classifier_bias": True}, "classifier_bias is True, and only False is supported"),
        ("classification", {"architectures": None}, "what its head computes its tensors do not say"),
        (
            "classification",
            {"architectures": ["ModernBertForCausalLM"]},
            "is a ModernBertForCausalLM, and what its",
        ),
        ("classification", {"problem_type": "regression"}, "regression with 3 outputs"),
        (
            "classification",
            {"id2label": {"0": "a", "1": "b"}},
            "classifier.weight is 3 x 32, expected 2 x 32",
        ),
        (
            "tagging",
            {"id2label": {str(n): f"X{n}" for n in range(9)}},
            "names 9 labels, and classifier.weight has 5",
        ),
        (
            "tagging",
            {"architectures": [ARCHITECTURES["question_answering"]]},
            "names 5 labels|5 x 32, expected 2 x 32",
        ),
        ("tagging", {"architectures": [ARCHITECTURES["multiple_choice"]]}, "5 x 32, expected 1 x 32"),
        (
            "tagging",
            {"architectures": ["ModernBertForMaskedLM"]},
            "what its head computes its tensors do not say",
        ),
    ],
    ids=str,
)
def test_a_folder_that_cannot_be_read(case, changes, message, folders, tmp_path):
    with pytest.raises(UserError, match=message):
        read_huggingface([_copy(folders[case], tmp_path / "changed", **changes)])


def test_a_class_without_its_head_is_refused(folders, tmp_path):
    folder = _copy(folders["multiple_choice"], tmp_path / "headless")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: array for name, array in tensors.items() if not name.startswith(("head.", "classifier."))},
        folder / "model.safetensors",
    )
    with pytest.raises(UserError, match="says ModernBertForMultipleChoice, but has no such head"):
        read_huggingface([folder])


def test_a_fine_tuned_model_is_no_half_of_a_pair(folders, tmp_path):
    write_huggingface(random_weights(generator={"size_fraction": 1.0, "layers_fraction": 0.4}), tmp_path)
    for name in ("regression", "tagging"):
        with pytest.raises(
            UserError, match=r"with a head of fine-tuning, and belongs to no pair: give it by itself"
        ):
            read_huggingface([folders[name], tmp_path / "generator"])


def test_the_originals_heads_are_not_written(case, tmp_path):
    """Not as they are, and not as if they were trained in the other style."""
    weights = fine_tuned(case, head_style="reference")
    linear = {
        n: array for n, array in weights.parameters.items() if "mine/dense" not in n and "mine/layer" not in n
    }
    message = r"^the head of mine is the original's.*train with finetune.head_style=huggingface to export it$"
    with pytest.raises(UserError, match=message):
        write_huggingface(replace(weights, parameters=linear), tmp_path)
    finetune = weights.config.finetune.model_copy(update={"head_style": "huggingface"})
    said = replace(
        weights, parameters=linear, config=weights.config.model_copy(update={"finetune": finetune})
    )
    with pytest.raises(UserError, match="the head of mine has no heads/mine/dense/kernel"):
        write_huggingface(said, tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("encoder", ["cross", "bi"])
def test_a_ranker_is_not_written(encoder, tmp_path):
    weights = fine_tuned("multiple_choice")
    config = weights.config.model_dump()
    config["finetune"]["tasks"]["mine"] = {"kind": "ranking", "encoder": encoder}
    ranks = replace(
        weights,
        config=type(weights.config).model_validate(config),
        tasks={"mine": TaskSettings(kind="ranking")},
    )
    with pytest.raises(
        UserError, match="mine ranks candidates, for which Hugging Face's transformers has no class"
    ):
        write_huggingface(ranks, tmp_path)


def test_which_heads_behind_modern_blocks_can_be_exported():
    kinds = (
        "classification",
        "regression",
        "tagging",
        "question_answering",
        "multiple_choice",
        "ranking",
        "seq2seq",
    )
    exported = {
        style: [kind for kind in kinds if can_be_exported(style, TaskSettings(kind=kind), 32, "modern")]
        for style in ("reference", "huggingface")
    }
    assert exported == {"reference": [], "huggingface": [*kinds[:5]]}
