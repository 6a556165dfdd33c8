"""Causal language models as Hugging Face folders: which they are, what they compute, and how they write."""

import json

import numpy as np
import pytest
from huggingface_folder import TINY_GENERATOR, random_tensors, words, write_config
from safetensors.numpy import load_file, save_file

from electra_jax.config import load_config
from electra_jax.config.generation import GenerationConfig
from electra_jax.convert.generation_config import generation_config_json, read_generation_config
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.native_format import write_native
from electra_jax.convert.tensorflow_format import write_tensorflow
from electra_jax.errors import UserError
from electra_jax.tokenizers import build_tokenizer, load_tokenizer
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ann", "bob", "left", "##s", "."]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer("\n".join(VOCABULARY).encode(), lowercase=False, strip_accents=False)


@pytest.fixture
def folder(tmp_path):
    """An ElectraForCausalLM with its vocabulary."""
    folder = tmp_path / "causal"
    folder.mkdir()
    write_config(folder, "generator", TINY_GENERATOR, is_decoder=True, architectures=["ElectraForCausalLM"])
    save_file(random_tensors("generator", TINY_GENERATOR), folder / "model.safetensors")
    names = "\n".join(words(TINY_GENERATOR["vocab_size"])) + "\n"
    (folder / "vocab.txt").write_text(names, encoding="utf-8")
    return folder


def test_a_decoder_becomes_a_causal_model_and_comes_back_bit_by_bit(folder, tmp_path):
    (folder / "generation_config.json").write_text('{"num_beams": 4, "early_stopping": true}')
    weights = read_huggingface([folder])
    assert weights.config.objective.kind == "causal_lm"
    assert (weights.config.generation.beams, weights.config.generation.stop) == (4, "first")
    write_huggingface(weights, tmp_path / "out")
    written = tmp_path / "out" / "generator"
    config = json.loads((written / "config.json").read_text())
    assert (config["is_decoder"], config["architectures"]) == (True, ["ElectraForCausalLM"])
    before, after = load_file(folder / "model.safetensors"), load_file(written / "model.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        np.testing.assert_array_equal(tensor, after[name])
    assert read_huggingface([written]).config == weights.config


def test_a_model_of_characters_comes_back_with_its_vocabulary(folder, tmp_path):
    letters = [*VOCABULARY[:5], *map(chr, range(0x4E00, 0x4E00 + TINY_GENERATOR["vocab_size"] - 5))]
    (folder / "vocab.txt").unlink()
    (folder / "characters.json").write_text(json.dumps(letters))
    work = tmp_path / "work"
    work.mkdir()
    write_native(read_huggingface([folder]), work, work)
    found = load_config(work / "config.yaml")
    assert found.tokenizer.kind == "characters"
    again = build_tokenizer(found.tokenizer, lambda: pytest.fail("there is a vocabulary"))
    assert again.fingerprint == load_tokenizer(work / "tokenizer").fingerprint
    assert [again.token(id) for id in range(again.vocab_size)] == letters


def test_texts_have_no_end_where_they_are_prompts(folder, tmp_path):
    weights = read_huggingface([folder])
    write_huggingface(weights, tmp_path / "out")
    fast = json.loads((tmp_path / "out" / "generator" / "tokenizer.json").read_text(encoding="utf-8"))
    single = [next(iter(part)) for part in fast["post_processor"]["single"]]
    assert single == ["SpecialToken", "Sequence"]


def test_without_is_decoder_it_is_a_masked_language_model(folder):
    write_config(folder, "generator", TINY_GENERATOR, architectures=["ElectraForCausalLM"])
    assert read_huggingface([folder]).config.objective.kind == "masked_lm"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"is_decoder": "yes"}, "is_decoder is 'yes', but must be true or false"),
    ],
)
def test_other_decoders_are_refused(folder, changes, expected):
    write_config(folder, "generator", TINY_GENERATOR, **{"is_decoder": True, **changes})
    with pytest.raises(UserError, match=expected):
        read_huggingface([folder])


def test_a_discriminator_is_no_decoder(tmp_path):
    from huggingface_folder import TINY, write_folder

    write_folder(tmp_path, "discriminator", TINY)
    found = next(tmp_path.rglob("config.json"))
    found.write_text(json.dumps(json.loads(found.read_text()) | {"is_decoder": True}))
    with pytest.raises(UserError, match="is_decoder is true"):
        read_huggingface([found.parent])


def test_tensorflow_has_none(folder, tmp_path):
    with pytest.raises(UserError, match="no causal language model"):
        write_tensorflow(read_huggingface([folder]), tmp_path)


SETTINGS = [
    {},
    {"beams": 4, "n_best": 2, "length_penalty": 0.6, "stop": "first", "no_repeat_ngram": 3},
    {"beams": 2, "stop": "huggingface", "no_repeat_source_ngram": 3},
    {"method": "sample", "temperature": 0.7, "top_k": 20, "top_p": 0.9, "n": 3, "repetition_penalty": 1.3},
    {"method": "sample", "min_p": 0.1, "typical_p": 0.5},
    {
        "max_new_tokens": 7,
        "min_new_tokens": 2,
        "stop_strings": ["ann"],
        "end_tokens": ["."],
        "ban": ["bob left"],
    },
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_settings_come_back(settings, tokenizer, tmp_path):
    before = GenerationConfig(**settings)
    content, notes = generation_config_json(before, tokenizer)
    (tmp_path / "generation_config.json").write_text(json.dumps(content))
    values, read_notes = read_generation_config(tmp_path, tokenizer)
    assert GenerationConfig(**values) == before
    assert notes == read_notes == []


def test_what_has_no_place_is_said(tokenizer, tmp_path):
    settings = GenerationConfig(beams=2, length_rule="gnmt", forced_prefix="ann")
    assert (
        "generation.length_rule, generation.forced_prefix"
        in generation_config_json(settings, tokenizer)[1][0]
    )
    (tmp_path / "generation_config.json").write_text(
        '{"num_beam_groups": 4, "use_cache": true, "watermark": null}'
    )
    values, notes = read_generation_config(tmp_path, tokenizer)
    assert values == {"end_tokens": []} or values == {}
    assert "num_beam_groups" in notes[0]
    assert "watermark" not in notes[0]


@pytest.mark.parametrize(
    ("content", "expected", "unread"),
    [
        ({"do_sample": True, "num_beams": 4}, {"method": "sample"}, "num_beams"),
        ({"num_beams": 2, "early_stopping": [1]}, {"beams": 2}, "early_stopping"),
        ({"stop_strings": "ann"}, {"stop_strings": ["ann"]}, ""),
        ({"bad_words_ids": [[2], [1]]}, {}, ""),
        ({"bad_words_ids": 5}, {"ban": ["ann"]}, ""),
        ({"bad_words_ids": [[5, 8], [6, 4]]}, {"ban": ["anns"]}, ""),
        # A piece within a word, and "bob" at the end of a text alone, would be other bans here.
        (
            {"bad_words_ids": [[8], [6, 3], [5]]},
            {"ban": ["ann"]},
            "2 of bad_words_ids are no text of their own",
        ),
    ],
)
def test_what_others_write_there_is_no_reason_not_to_read_a_model(
    content, expected, unread, tokenizer, tmp_path
):
    (tmp_path / "generation_config.json").write_text(json.dumps(content))
    values, notes = read_generation_config(tmp_path, tokenizer)
    assert values == expected
    assert bool(unread) == bool(notes)
    assert unread in "".join(notes)
    GenerationConfig(**values)


def test_settings_beside_a_file_of_weights_are_read(folder):
    (folder / "generation_config.json").write_text('{"num_beams": 4}')
    assert read_huggingface([folder / "model.safetensors"]).config.generation.beams == 4


def test_nothing_without_a_file(tokenizer, tmp_path):
    assert read_generation_config(tmp_path, tokenizer) == ({}, [])


@pytest.mark.parametrize(
    "content", ['{"eos_token_id": 99}', '{"bad_words_ids": [["a"]]}', '{"eos_token_id": true}']
)
def test_tokens_that_are_not_there(content, tokenizer, tmp_path):
    (tmp_path / "generation_config.json").write_text(content)
    with pytest.raises(UserError, match="names the token"):
        read_generation_config(tmp_path, tokenizer)
