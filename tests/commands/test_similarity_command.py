"""Sentence vectors from the command line: trained on plain text, selected by scored pairs, encoded."""

import json

import numpy as np
import pytest
from small_run import OBJECTS, VERBS

import electra_jax
from electra_jax import train
from electra_jax.convert import __main__ as convert

SENTENCES = [f"{verb} {thing}" for verb in VERBS[:4] for thing in OBJECTS[:4]]


@pytest.fixture(scope="module")
def vectors(finished, tmp_path_factory):
    """A folder with a finished training in ``work``; not to be changed."""
    folder = tmp_path_factory.mktemp("vectors")
    (folder / "plain.txt").write_text("\n".join(SENTENCES))
    pairs = zip(SENTENCES, SENTENCES[4:], range(12), strict=False)
    (folder / "pairs.tsv").write_text("".join(f"{score}\t{one}\t{other}\n" for one, other, score in pairs))
    task = "finetune.tasks.similarity"
    arguments = [
        *("--config", "ranking/similarity", "--workdir", folder / "work", f"init_from={finished / 'work'}"),
        *(f"{task}.train={folder}/plain.txt", f"{task}.positives_from=dropout"),
        *(f"{task}.dev={folder}/pairs.tsv", f"{task}.test={folder}/pairs.tsv"),
        *(
            "finetune.epochs=1",
            "train.batch_size=8",
            "data.sequence_length=12",
            "finetune.length_buckets=[24]",
        ),
    ]
    train.main([str(argument) for argument in arguments])
    return folder


def test_the_encoder_goes_out_to_sentence_transformers(vectors, command, tmp_path):
    ended = command(
        convert.main, vectors / "work", tmp_path / "out", "--to", "sentence_transformers", "--layer", "1"
    )
    assert ended.status == 0, ended.err
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"modules.json", "1_Pooling", "config.json", "model.safetensors", "tokenizer.json"} <= files
    assert json.loads((tmp_path / "out" / "sentence_bert_config.json").read_text())["max_seq_length"] == 12
    ended = command(convert.main, vectors / "work", tmp_path / "hf", "--pooling", "mean")
    assert (ended.status, ended.out) == (2, "")
    assert "--pooling says how to write --to sentence_transformers, which is missing" in ended.err


def test_training_is_by_the_cosine_of_the_vectors_that_are_encoded(vectors):
    results = json.loads((vectors / "work" / "results.json").read_text())["tasks"]["similarity"]
    assert list(results["dev"]) == ["spearman", "pearson"]
    assert results["test"] == results["dev"]
    model = electra_jax.load(vectors / "work")
    found = model.rank(SENTENCES[0], SENTENCES[1:3])
    encoded = model.encode(SENTENCES[:3])
    encoded /= np.linalg.norm(encoded, axis=1, keepdims=True)
    cosines = sorted((encoded[1:] @ encoded[0]).tolist(), reverse=True)
    assert [one["score"] * 0.05 for one in found] == pytest.approx(cosines, abs=1e-5)
