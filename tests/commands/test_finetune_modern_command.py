"""Fine-tuning a model of modern blocks from the command line, and its way to Hugging Face's folder and back."""

import json

import pytest
from command_runs import write_vocabulary

import electra_jax
from electra_jax import train
from electra_jax.convert import __main__ as convert

TEXTS = ["the cat watches the moon", "my sister watches the moon"]


def _arguments(folder, style):
    """Of a run from random weights, whose second layer is local."""
    (folder / "run.yaml").write_text("objective: {kind: finetune}\n")
    for name in ("train", "dev"):
        rows = [f"{text},{label}" for text, label in zip(TEXTS, ("animal", "person"), strict=True)] * 4
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    vocabulary = write_vocabulary(folder / "vocab.txt", folder / "train.csv")
    files = f"train: {folder}/train.csv, dev: {folder}/dev.csv"
    return [
        *("--config", folder / "run.yaml", "--workdir", folder / style, f"finetune.head_style={style}"),
        f"finetune.tasks.mine={{kind: classification, {files}, text: text, label: label}}",
        *("tokenizer.kind=wordpiece", f"tokenizer.vocab_file={vocabulary}", "model.vocab_multiple=8"),
        *("model.block=modern", "model.hidden_size=32", "model.num_layers=2", "model.num_heads=2"),
        *("model.local_attention.window=4", "model.local_attention.global_every=2", "model.max_positions=32"),
        *("data.sequence_length=32", "finetune.length_buckets=[32]", "train.batch_size=8", "train.steps=3"),
        *("finetune.epochs=null", "optimizer.learning_rate=1e-2", "train.eval_every=3"),
    ]


def test_what_is_tuned_with_its_own_heads_is_exported_and_used_from_there(command, tmp_path):
    ended = command(train.main, *_arguments(tmp_path, "huggingface"))
    assert ended.status == 0, ended.err
    assert "to export mine to Hugging Face: python -m electra_jax.convert" in ended.err
    ended = command(convert.main, tmp_path / "huggingface", tmp_path / "exported")
    assert ended.status == 0, ended.err
    described = json.loads((tmp_path / "exported" / "mine" / "config.json").read_text())
    assert described["architectures"] == ["ModernBertForSequenceClassification"]
    assert described["classifier_pooling"] == "mean"
    ended = command(convert.main, tmp_path / "exported" / "mine", tmp_path / "back")
    assert ended.status == 0, ended.err
    ours, *others = (
        electra_jax.load(path).classify(TEXTS)
        for path in (tmp_path / "huggingface", tmp_path / "exported" / "mine", tmp_path / "back")
    )
    for theirs in others:
        for one, other in zip(ours, theirs, strict=True):
            assert other["probabilities"] == pytest.approx(one["probabilities"], abs=1e-6)


def test_with_the_originals_heads_it_cannot_be_exported_and_says_so(command, tmp_path):
    ended = command(train.main, *_arguments(tmp_path, "reference"))
    assert ended.status == 0, ended.err
    assert "not to be exported to Hugging Face: mine" in ended.err
    refused = command(convert.main, tmp_path / "reference", tmp_path / "exported")
    assert refused.status == 2
    assert "train with finetune.head_style=huggingface to export it" in refused.err
    assert not (tmp_path / "exported").exists()
