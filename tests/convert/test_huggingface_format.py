"""Hugging Face folders of every release's sizes, in every file they come in, and back again."""

import json
import shutil

import ml_dtypes
import numpy as np
import pytest
from huggingface_folder import (
    TINY,
    TINY_GENERATOR,
    random_tensors,
    words,
    write_config,
    write_folder,
    write_pair,
)
from safetensors.numpy import load_file, save_file

from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.errors import UserError
from electra_jax.model.sizes import network_sizes


def _sizes(vocab, embedding, hidden, layers, heads, feed_forward):
    return {
        **TINY,
        "vocab_size": vocab,
        "embedding_size": embedding,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": feed_forward,
        "max_position_embeddings": 512,
    }


# (discriminator, generator, dtype): real widths and vocabularies, fewer layers.
RELEASES = {
    "small++": (_sizes(30522, 128, 256, 2, 4, 1024), _sizes(30522, 128, 256, 2, 4, 1024), np.float32),
    "base": (_sizes(30522, 768, 768, 1, 12, 3072), _sizes(30522, 768, 256, 1, 4, 1024), np.float16),
    "large": (
        _sizes(30522, 1024, 1024, 1, 16, 4096),
        _sizes(30522, 1024, 256, 1, 4, 1024),
        ml_dtypes.bfloat16,
    ),
    "Chinese small": (_sizes(21128, 128, 256, 1, 4, 1024), _sizes(21128, 128, 64, 1, 1, 256), np.float32),
    "Korean base": (_sizes(35000, 768, 768, 1, 12, 3072), _sizes(35000, 768, 256, 1, 4, 1024), np.float16),
    "Turkish base": (_sizes(32000, 768, 768, 1, 12, 3072), _sizes(32000, 768, 256, 1, 4, 1024), np.float16),
    "another depth": (_sizes(1000, 24, 48, 2, 6, 100), _sizes(1000, 24, 32, 1, 8, 40), np.float32),
    "a deeper generator": (_sizes(1000, 48, 48, 1, 4, 100), _sizes(1000, 48, 48, 3, 12, 90), np.float32),
}


@pytest.mark.parametrize("release", RELEASES)
def test_configuration_and_every_number_of_a_release(release, tmp_path):
    discriminator, generator, dtype = RELEASES[release]
    tensors = {}
    for network, sizes in (("discriminator", discriminator), ("generator", generator)):
        tensors[network] = random_tensors(network, sizes, dtype=dtype)
        write_folder(tmp_path / network, network, sizes, tensors=tensors[network])
    weights = read_huggingface([tmp_path / "discriminator", tmp_path / "generator"])
    sizes = network_sizes(weights.config.model, weights.config.generator, weights.vocab_size)
    assert (weights.vocab_size, weights.tokenizer.vocab_size) == (discriminator["vocab_size"],) * 2
    assert (sizes.embedding_size, sizes.max_positions, sizes.type_vocab_size) == (
        *(discriminator["embedding_size"], 512, 2),
    )
    for ours, theirs in ((sizes.discriminator, discriminator), (sizes.generator, generator)):
        assert (ours.hidden_size, ours.num_layers, ours.num_heads, ours.intermediate_size) == tuple(
            theirs[f"{key}"]
            for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        )
    assert (weights.config.objective.kind, weights.config.generator.sharing) == ("electra", "embeddings")

    ours = weights.parameters
    assert {array.dtype for array in ours.values()} == {np.dtype(np.float32)}
    shared = sum(a.size for n, a in tensors["generator"].items() if n.startswith("electra.embeddings."))
    given = sum(array.size for network in tensors.values() for array in network.values())
    assert sum(array.size for array in ours.values()) == given - shared
    # Written again, it is what it was: float32 holds both half precisions exactly.
    write_huggingface(weights, tmp_path / "again")
    for network, expected in tensors.items():
        again = load_file(tmp_path / "again" / network / "model.safetensors")
        assert again.keys() == expected.keys()
        for name, array in again.items():
            np.testing.assert_array_equal(array, np.asarray(expected[name], np.float32))
        described = json.loads((tmp_path / "again" / network / "config.json").read_text())
        assert described == {**described, **(discriminator if network == "discriminator" else generator)}


def test_matrices_are_transposed_and_tables_are_not(tmp_path):
    write_pair(tmp_path)
    ours = read_huggingface([tmp_path / "discriminator", tmp_path / "generator"]).parameters
    for network, scope in (("discriminator", "encoder"), ("generator", "generator_encoder")):
        theirs = load_file(tmp_path / network / "model.safetensors")
        np.testing.assert_array_equal(
            ours[f"{scope}/layers/1/intermediate/kernel"],
            theirs["electra.encoder.layer.1.intermediate.dense.weight"].T,
        )
    np.testing.assert_array_equal(
        ours["embeddings/word/embedding"], theirs["electra.embeddings.word_embeddings.weight"]
    )


CLEANING = {
    "cased": ({"do_lower_case": False}, {"lowercase": False, "strip_accents": False}),
    "cased, accents removed": (
        {"do_lower_case": False, "strip_accents": True},
        {"lowercase": False, "strip_accents": True},
    ),
    "uncased": ({"do_lower_case": True}, {"lowercase": True, "strip_accents": True}),
    "uncased, accents kept": (
        {"do_lower_case": True, "strip_accents": False},
        {"lowercase": True, "strip_accents": False},
    ),
}


@pytest.mark.parametrize("name", CLEANING)
def test_how_text_is_cleaned(name, tmp_path):
    settings, expected = CLEANING[name]
    folder = write_folder(tmp_path, "discriminator")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    weights = read_huggingface([folder])
    assert weights.tokenizer.options == expected
    assert weights.config.tokenizer.model_dump() == {**weights.config.tokenizer.model_dump(), **expected}


def test_overrides_of_the_cleaning_reach_the_tokenizer(tmp_path):
    folder = write_folder(tmp_path, "discriminator")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    weights = read_huggingface([folder], overrides=["tokenizer.strip_accents=false"])
    assert weights.tokenizer.options == {"lowercase": True, "strip_accents": False}
    assert weights.tokenizer.fingerprint != read_huggingface([folder]).tokenizer.fingerprint
    for override in ("tokenizer.kind=sentencepiece", "tokenizer.vocab_size=41", "tokenizer.vocab_file=x"):
        with pytest.raises(
            UserError, match=f"{override.partition('=')[0]} follows from the vocabulary .*--vocab"
        ):
            read_huggingface([folder], overrides=[override])


def _one_file(folder, tensors):
    save_file(tensors, folder / "model.safetensors")


def _shards(folder, tensors):
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, some in parts.items():
        save_file({name: tensors[name] for name in some}, folder / file)
    table = {name: file for file, some in parts.items() for name in some}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))


def _old_names(folder, tensors):
    older = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in tensors.items()
    }
    older["electra.embeddings.position_ids"] = np.arange(16)[None]
    save_file(older, folder / "model.safetensors")


def _tied_copy(folder, tensors):
    words = tensors["electra.embeddings.word_embeddings.weight"]
    save_file({**tensors, "generator_lm_head.weight": words}, folder / "model.safetensors")


def _doubles(folder, tensors):
    save_file(
        {name: array.astype(np.float64) for name, array in tensors.items()}, folder / "model.safetensors"
    )


@pytest.mark.parametrize("write", [_shards, _old_names, _tied_copy, _doubles], ids=lambda f: f.__name__)
def test_every_way_to_write_the_same_weights(write, tmp_path):
    tensors = random_tensors("generator", TINY)
    read = []
    for number, writer in enumerate((_one_file, write)):
        folder = tmp_path / str(number)
        write_config(folder, "generator", TINY)
        writer(folder, tensors)
        read.append(read_huggingface([folder]).parameters)
    assert read[0].keys() == read[1].keys()
    for name, array in read[0].items():
        np.testing.assert_array_equal(read[1][name], array)


@pytest.mark.shared_data
def test_a_pickle_of_pytorch_is_what_safetensors_is(shared, tmp_path):
    folder = shared / "golden" / "hf" / "tiny_disc"
    shutil.copy(folder / "pytorch_model.bin", tmp_path)
    shutil.copy(folder / "config.json", tmp_path)
    expected, pickled = (read_huggingface([path]).parameters for path in (folder, tmp_path))
    assert expected.keys() == pickled.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(pickled[name], array)


def test_a_bare_encoder_needs_its_missing_head_to_be_allowed(tmp_path):
    tensors = {
        name.removeprefix("electra."): array
        for name, array in random_tensors("discriminator", TINY).items()
        if name.startswith("electra.")
    }
    folder = write_folder(tmp_path, "discriminator", tensors=tensors)
    with pytest.raises(
        UserError, match=r"missing: discriminator_predictions\.dense\.bias, .*--allow-missing"
    ):
        read_huggingface([folder])
    for pattern in ("discriminator_predictions.*", "discriminator_head/*"):
        ours = read_huggingface([folder], allow_missing=[pattern]).parameters
        assert {name.partition("/")[0] for name in ours} == {"embeddings", "encoder"}


def test_a_generator_alone_is_a_masked_language_model(tmp_path):
    write_folder(tmp_path / "a", "generator", TINY_GENERATOR)
    weights = read_huggingface([tmp_path / "a"])
    assert weights.config.objective.kind == "masked_lm"
    assert network_sizes(weights.config.model, weights.config.generator, 40).discriminator.hidden_size == 16
    write_huggingface(weights, tmp_path / "b")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["generator"]


def _pair(tmp_path, change, sizes=TINY, generator=TINY):
    """A pair after ``change(discriminator's tensors, generator's tensors)``."""
    tensors = {
        "discriminator": random_tensors("discriminator", sizes),
        "generator": random_tensors("generator", generator),
    }
    change(**tensors)
    for network, own in (("discriminator", sizes), ("generator", generator)):
        write_folder(tmp_path / network, network, own, tensors=tensors[network])
    return read_huggingface([tmp_path / "discriminator", tmp_path / "generator"])


def _tie(discriminator, generator):
    generator |= {n: a for n, a in discriminator.items() if n.startswith("electra.")}


def _tie_nan(discriminator, generator):
    _tie(discriminator, generator)
    for tensors in (discriminator, generator):
        tensors["electra.embeddings.LayerNorm.bias"] = np.full(16, np.nan, np.float32)


def _one_embedding_differs(discriminator, generator):
    _tie(discriminator, generator)
    types = generator["electra.embeddings.token_type_embeddings.weight"].copy()
    types[0, 0] = np.nextafter(types[0, 0], np.float32(1))
    generator["electra.embeddings.token_type_embeddings.weight"] = types


@pytest.mark.parametrize(
    ("change", "generator", "sharing"),
    [
        (lambda **_: None, TINY, "embeddings"),
        (_tie, TINY, "all"),
        (_tie_nan, TINY, "all"),
        (_tie, {**TINY, "num_attention_heads": 4}, "embeddings"),
        (_one_embedding_differs, TINY, "none"),
        (lambda **_: None, {**TINY_GENERATOR, "embedding_size": 8}, "none"),
    ],
    ids=["shared", "one network", "one with NaN", "other heads", "one number differs", "other width"],
)
def test_what_two_networks_share_is_seen_and_kept(change, generator, sharing, tmp_path):
    weights = _pair(tmp_path, change, generator=generator)
    assert weights.config.generator.sharing == sharing
    write_huggingface(weights, tmp_path / "again")
    for network in ("discriminator", "generator"):
        before = load_file(tmp_path / network / "model.safetensors")
        after = load_file(tmp_path / "again" / network / "model.safetensors")
        assert before.keys() == after.keys()
        for name, array in before.items():
            np.testing.assert_array_equal(after[name], array)
    again = read_huggingface([tmp_path / "again" / "discriminator", tmp_path / "again" / "generator"])
    assert again.config == weights.config
    assert again.tokenizer.fingerprint == weights.tokenizer.fingerprint


def test_either_network_may_come_first(tmp_path):
    write_pair(tmp_path)
    one, other = (
        read_huggingface([tmp_path / name for name in names])
        for names in (("discriminator", "generator"), ("generator", "discriminator"))
    )
    assert one.config == other.config
    assert one.parameters.keys() == other.parameters.keys()


def test_the_vocabulary_may_be_in_either_folder(tmp_path):
    write_pair(tmp_path)
    folders = [tmp_path / "discriminator", tmp_path / "generator"]
    (folders[0] / "vocab.txt").unlink()
    assert read_huggingface(folders).tokenizer.vocab_size == 40
    given = tmp_path / "vocab.txt"
    given.write_text("\n".join(reversed(words(40))) + "\n")
    assert read_huggingface(folders, vocab=given).tokenizer.token(0) == "word34"
    (folders[1] / "vocab.txt").unlink()
    weights = read_huggingface(folders)
    assert (weights.tokenizer, weights.vocab_size, weights.config.tokenizer.vocab_size) == (None, 40, 40)
