"""Folders for sentence-transformers, without the library: what is in them, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from huggingface_folder import write_folder
from safetensors.numpy import load_file
from small_run import small_config

from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.sentence_transformers_writing import write_sentence_transformers
from electra_jax.errors import UserError
from electra_jax.tasks.settings import TaskSettings


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return read_huggingface([write_folder(tmp_path_factory.mktemp("theirs") / "d", "discriminator")])


def _as_rankers(weights, **tasks):
    """The same, fine-tuned on rankings with these sections."""
    sections = {name: {"kind": "ranking", **section} for name, section in tasks.items()}
    config = small_config(objective={"kind": "finetune"}, finetune={"tasks": sections}).model_copy(
        update={"model": weights.config.model}
    )
    return replace(weights, config=config, tasks=dict.fromkeys(tasks, TaskSettings(kind="ranking")))


def _read(path):
    return json.loads(path.read_text())


def test_the_encoder_is_cut_behind_a_layer(weights, tmp_path):
    write_sentence_transformers(weights, tmp_path, layer=1, pooling="first")
    assert _read(tmp_path / "config.json")["num_hidden_layers"] == 1
    assert _read(tmp_path / "config.json")["architectures"] == ["ElectraModel"]
    assert _read(tmp_path / "sentence_bert_config.json")["max_seq_length"] == 16
    assert _read(tmp_path / "1_Pooling" / "config.json")["pooling_mode_cls_token"] is True
    tensors = load_file(tmp_path / "model.safetensors")
    assert {name.split(".")[2] for name in tensors if name.startswith("encoder.layer.")} == {"0"}
    kernel = weights.parameters["encoder/layers/0/output/kernel"]
    np.testing.assert_array_equal(tensors["encoder.layer.0.output.dense.weight"], kernel.T)
    assert not any("predictions" in name for name in tensors)


def test_pooling_and_similarity_are_those_that_were_trained(weights, tmp_path):
    trained = _as_rankers(weights, a={"pooling": "first", "similarity": "dot"}, b={"encoder": "cross"})
    for pooling, is_first in ((None, True), ("mean", False)):
        folder = tmp_path / str(pooling)
        folder.mkdir()
        write_sentence_transformers(trained, folder, pooling=pooling)
        assert _read(folder / "1_Pooling" / "config.json")["pooling_mode_cls_token"] is is_first
        assert _read(folder / "config_sentence_transformers.json")["similarity_fn_name"] == "dot"


def test_what_cannot_be_written(weights, tmp_path):
    for layer in (0, 3):
        with pytest.raises(UserError, match=f"--layer is {layer}, but must be from 1 to 2, the last layer"):
            write_sentence_transformers(weights, tmp_path, layer=layer)
    with pytest.raises(UserError, match="the rankers a, b differ in their pooling or similarity"):
        write_sentence_transformers(
            _as_rankers(weights, a={"pooling": "first"}, b={"pooling": "mean"}), tmp_path
        )
    with pytest.raises(UserError, match="has no vocabulary"):
        write_sentence_transformers(replace(weights, tokenizer=None), tmp_path)
    assert not any(tmp_path.iterdir())
