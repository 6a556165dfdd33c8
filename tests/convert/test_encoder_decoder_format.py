"""Encoders with a decoder as `transformers` writes them: read, used, handed on and written, bit for bit."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from huggingface_folder import (
    TINY,
    random_encoder_decoder,
    random_tensors,
    write_encoder_decoder,
    write_folder,
)
from safetensors.numpy import load_file

import electra_jax
from electra_jax import generate, predict
from electra_jax.config.loading import with_overrides
from electra_jax.convert import __main__ as convert
from electra_jax.convert.encoder_decoder_format import TASK
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.native_format import read_native, write_native
from electra_jax.convert.state_dicts import comparable_tensors
from electra_jax.errors import UserError
from electra_jax.partitioning import mesh
from electra_jax.tasks.settings import TaskSettings, can_be_exported

ENCODER = {**TINY, "num_hidden_layers": 1, "max_position_embeddings": 32}
NARROW = {
    **ENCODER,
    "hidden_size": 24,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
}
DECODERS = {"as wide": ENCODER, "narrower": NARROW}
TEXTS = ["word1 word2 word3", "word30"]


def _convert(source, destination):
    destination.mkdir()
    weights = read_huggingface([source])
    write_native(weights, destination, destination)
    return weights


def _with_setting(folder, part, **changes):
    file = folder / "config.json"
    settings = json.loads(file.read_text())
    (settings if part is None else settings[part]).update(changes)
    file.write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A folder with a narrow decoder, and it converted."""
    folder = tmp_path_factory.mktemp("narrow")
    source = write_encoder_decoder(folder / "theirs", ENCODER, NARROW)
    (source / "generation_config.json").write_text('{"max_new_tokens": 3, "eos_token_id": 3}')
    _convert(source, folder / "ours")
    return folder


@pytest.mark.parametrize("decoder", DECODERS)
def test_there_and_back_is_the_same_bits(tmp_path, decoder):
    source = write_encoder_decoder(
        tmp_path / "theirs", ENCODER, DECODERS[decoder], prefix="shorten: ", max_length=10
    )
    before = _convert(source, tmp_path / "ours")
    weights = read_native(tmp_path / "ours")
    assert weights.config.finetune == before.config.finetune
    notes = write_huggingface(weights, tmp_path / "again")
    assert any(
        "the embeddings that the decoder shares with the encoder are written twice" in n for n in notes
    )
    again = tmp_path / "again" / TASK
    tensors, expected = (load_file(folder / "model.safetensors") for folder in (again, source))
    assert tensors.keys() == expected.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    config = json.loads((again / "config.json").read_text())
    assert {key: config[key] for key in ("model_type", "architectures", "prefix")} == {
        "model_type": "encoder-decoder",
        "architectures": ["EncoderDecoderModel"],
        "prefix": "shorten: ",
    }
    assert (config["decoder_start_token_id"], config["eos_token_id"], config["pad_token_id"]) == (2, 3, 0)
    assert config["decoder"]["cross_attention_hidden_size"] is None
    assert config["encoder"].items() >= ENCODER.items()
    assert config["decoder"].items() >= {**DECODERS[decoder], "is_decoder": True}.items()
    assert read_huggingface([again]).config == before.config


@pytest.mark.filterwarnings("ignore:the tokenizer does not keep")
def test_a_folder_and_what_it_becomes_write_the_same(narrow, capsys, monkeypatch):
    monkeypatch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
    written = electra_jax.load(narrow / "theirs", notes=[]).generate(TEXTS)
    assert [len(text.tokens) <= 3 for text in written] == [True, True]
    (narrow / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    lines = []
    for command in (predict, generate):
        assert command.main(["--workdir", str(narrow / "ours"), "--input", str(narrow / "texts.txt")]) == 0
        lines.append([json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()])
    assert lines == [[text.text for text in written]] * 2


def test_a_file_of_tensors_has_its_description_beside_it(narrow):
    whole, alone = (read_huggingface([narrow / "theirs" / name]) for name in ("", "model.safetensors"))
    assert whole.config == alone.config
    assert whole.parameters.keys() == alone.parameters.keys()


def test_a_decoder_that_is_the_encoder_is_written_as_two_stacks(tmp_path):
    weights = read_huggingface([write_encoder_decoder(tmp_path / "a", ENCODER, ENCODER)])
    own = ("attention/", "attention_layer_norm", "intermediate", "output", "embeddings_project")
    shared = {
        name: array
        for name, array in weights.parameters.items()
        if not name.removeprefix(f"heads/{TASK}/decoder/").removeprefix("layers/0/").startswith(own)
        or not name.startswith("heads/")
    }
    section = f"finetune.tasks.{TASK}"
    task = "{kind: seq2seq, prefix: 'shorten: ', long: chunks, decoder: {sharing: all}}"
    overrides = [f"{section}={task}", "generation.max_new_tokens=500", "data.sequence_length=20"]
    config = with_overrides(weights.config.model_dump(), overrides, "a")
    assert len(shared) == len(weights.parameters) - 18
    notes = write_huggingface(replace(weights, config=config, parameters=shared), tmp_path / "b")
    for said in (
        "the embeddings and layers (decoder.sharing=all) that",
        "prefix 'shorten: '",
        "(long=chunks)",
        "truncation=True, max_length=20",
    ):
        assert any(said in note for note in notes), said
    written = load_file(tmp_path / "b" / TASK / "model.safetensors")
    for name, array in written.items():
        copied = name.removeprefix("decoder.electra.").replace("crossattention", "none")
        if name.startswith("decoder.electra.") and f"encoder.{copied}" in written:
            np.testing.assert_array_equal(array, written[f"encoder.{copied}"], err_msg=name)
    generation = json.loads((tmp_path / "b" / TASK / "generation_config.json").read_text())
    assert generation["max_new_tokens"] == 31  # positions end there
    assert generation["decoder_start_token_id"] == 2
    again = read_huggingface([tmp_path / "b" / TASK])
    assert again.config.finetune.tasks[TASK].decoder.sharing == "embeddings"
    assert again.parameters.keys() == weights.parameters.keys()


def test_several_tasks_have_a_folder_each(tmp_path):
    weights = read_huggingface([write_encoder_decoder(tmp_path / "a", ENCODER, NARROW)])
    rng = np.random.default_rng(0)
    head = {"kernel": (32, 2), "bias": (2,)}
    parameters = {
        **weights.parameters,
        **{f"heads/layers/prediction/{n}": rng.standard_normal(s, np.float32) for n, s in head.items()},
    }
    config = with_overrides(
        weights.config.model_dump(), ["finetune.tasks.layers={kind: classification}"], "a"
    )
    classes = ("no", "yes")
    settings = TaskSettings(kind="classification", labels=classes, classes=classes)
    both = replace(weights, config=config, parameters=parameters, tasks={**weights.tasks, "layers": settings})
    write_native(both, tmp_path / "b", tmp_path / "b")
    write_huggingface(read_native(tmp_path / "b"), tmp_path / "c")
    architectures = {
        folder.name: json.loads((folder / "config.json").read_text())["architectures"][0]
        for folder in (tmp_path / "c").iterdir()
    }
    assert architectures == {TASK: "EncoderDecoderModel", "layers": "ElectraForSequenceClassification"}
    names = load_file(tmp_path / "c" / "layers" / "model.safetensors")
    assert not any("decoder" in name for name in names)


def test_a_task_that_writes_can_be_exported_whatever_the_style_of_heads():
    assert can_be_exported("reference", TaskSettings(kind="seq2seq"), 8)


def test_a_task_called_layers(tmp_path):
    weights = read_huggingface([write_encoder_decoder(tmp_path / "a", ENCODER, NARROW)])
    parameters = {
        name.replace("heads/seq2seq/", "heads/layers/"): a for name, a in weights.parameters.items()
    }
    config = weights.config.model_dump()
    config["finetune"]["tasks"] = {"layers": config["finetune"]["tasks"][TASK]}
    named = replace(
        weights,
        config=with_overrides(config, [], "a"),
        parameters=parameters,
        tasks={"layers": weights.tasks[TASK]},
    )
    write_native(named, tmp_path / "b", tmp_path / "b")
    again = read_native(tmp_path / "b")
    assert again.parameters.keys() == parameters.keys()
    write_huggingface(again, tmp_path / "c")
    assert (
        load_file(tmp_path / "c" / "layers" / "model.safetensors").keys()
        == load_file(tmp_path / "a" / "model.safetensors").keys()
    )


@pytest.mark.parametrize(
    ("part", "changes", "expected"),
    [
        (
            "encoder",
            {"model_type": "bert"},
            r"the encoder in .*config.json describes a model of type 'bert', not",
        ),
        ("decoder", {"model_type": "gpt2"}, r"the decoder in .* a model of type 'gpt2', not 'electra'"),
        (
            "encoder",
            {"is_decoder": True},
            "the encoder in .* has is_decoder true: an encoder sees all of a text",
        ),
        ("decoder", {"add_cross_attention": False}, "has add_cross_attention false: .* cannot be converted"),
        ("decoder", {"is_decoder": False}, "has is_decoder false"),
        ("decoder", {"is_decoder": "yes"}, "is_decoder is 'yes', but must be true or false"),
        ("decoder", {"hidden_act": "relu"}, "hidden_act is 'relu', and only 'gelu' is supported"),
        (
            "decoder",
            {"cross_attention_hidden_size": 32},
            r"cross_attention_hidden_size 32, but .* decoder, 24",
        ),
        ("decoder", {"embedding_size": 8}, "decoder's embedding_size is 8, the encoder's 16"),
        (
            "decoder",
            {"max_position_embeddings": 16},
            "decoder's max_position_embeddings is 16, the encoder's 32",
        ),
        ("decoder", {"num_attention_heads": 5}, "the decoder's width 24 is not divisible by .*num_heads 5"),
        ("decoder", {"num_hidden_layers": 99}, "to have 99 layers in its decoder and has weights of 2"),
        (
            "decoder",
            {"hidden_size": 12},
            r"of another shape: .*embeddings_project.bias is 24, expected 12",
        ),
        ("decoder", {"hidden_size": 32, "num_attention_heads": 2}, "not part of this model: enc_to_dec_proj"),
        ("encoder", {"hidden_size": 24}, "not part of this model: enc_to_dec_proj"),
        (None, {"decoder": "electra"}, r"config.json does not describe its decoder"),
        (
            None,
            {"decoder_start_token_id": 0},
            r"decoder_start_token_id is 0, but .* starts with \[CLS\] \(2\)",
        ),
        (None, {"prefix": 3}, "prefix is 3, but must be a text"),
    ],
)
def test_what_is_refused_says_why(tmp_path, part, changes, expected):
    folder = write_encoder_decoder(tmp_path, ENCODER, NARROW)
    with pytest.raises(UserError, match=expected):
        read_huggingface([_with_setting(folder, part, **changes)])


def _other_embeddings(tensors):
    tensors["decoder.electra.embeddings.position_embeddings.weight"][3, 1] += 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            _other_embeddings,
            r"position_embeddings.weight is not the encoder's, they differ .*only a model in which",
        ),
        (lambda t: t.pop("enc_to_dec_proj.weight"), "missing: enc_to_dec_proj.weight"),
        (lambda t: t.pop("encoder.embeddings.LayerNorm.bias"), "missing: encoder.embeddings.LayerNorm.bias"),
        (lambda t: [t.pop(n) for n in list(t) if "crossattention" in n], "missing: .*crossattention"),
        (
            lambda t: [t.pop(n) for n in list(t) if n.startswith("decoder.")],
            r"missing: decoder\.electra\.embeddings",
        ),
        (
            lambda t: t.update({"decoder.pooler.bias": t["enc_to_dec_proj.bias"]}),
            "model: decoder.pooler.bias",
        ),
    ],
)
def test_tensors_that_are_others(tmp_path, change, expected):
    tensors = random_encoder_decoder(ENCODER, NARROW)
    change(tensors)
    with pytest.raises(UserError, match=expected):
        read_huggingface([write_encoder_decoder(tmp_path, ENCODER, NARROW, tensors=tensors)])


def test_the_command_converts_both_ways(tmp_path, capsys):
    source = str(write_encoder_decoder(tmp_path / "a", ENCODER, NARROW))
    assert convert.main([source, str(tmp_path / "b")]) == 0
    assert "(embeddings, encoder, heads) of step 0" in capsys.readouterr().out
    assert convert.main([str(tmp_path / "b"), str(tmp_path / "c")]) == 0
    assert "written twice" in capsys.readouterr().err
    with pytest.raises(UserError):
        convert.main([source, str(tmp_path / "d"), "--to", "tensorflow"])
    assert not (tmp_path / "d").exists()


def test_a_copy_of_the_embeddings_may_be_missing_on_request(tmp_path):
    tensors = random_encoder_decoder(ENCODER, NARROW)
    left = {name: a for name, a in tensors.items() if not name.startswith("decoder.electra.embeddings.")}
    folder = write_encoder_decoder(tmp_path, ENCODER, NARROW, tensors=left)
    with pytest.raises(UserError, match=r"missing: decoder\.electra\.embeddings"):
        read_huggingface([folder])
    weights = read_huggingface([folder], allow_missing=["decoder.electra.embeddings.*"])
    assert not any(name.startswith(f"heads/{TASK}/embeddings") for name in weights.parameters)


def test_the_tied_table_and_buffers_of_earlier_versions_are_no_parameters(tmp_path):
    tensors = random_encoder_decoder(ENCODER, NARROW)
    more = {
        "decoder.generator_lm_head.weight": tensors["encoder.embeddings.word_embeddings.weight"].copy(),
        "encoder.embeddings.position_ids": np.arange(32)[None],
    }
    read_huggingface([write_encoder_decoder(tmp_path / "a", ENCODER, NARROW, tensors={**tensors, **more})])
    assert comparable_tensors("a", {**tensors, **more}).keys() == tensors.keys()
    more["decoder.generator_lm_head.weight"][1, 1] += 1
    with pytest.raises(UserError, match=r"the decoder of .* is not the word table"):
        read_huggingface(
            [write_encoder_decoder(tmp_path / "b", ENCODER, NARROW, tensors={**tensors, **more})]
        )


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("config.json", {"max_length": 21, "min_length": 3, "num_beams": 4}, (20, 2, 4, "huggingface")),
        ("generation_config.json", {"max_length": 21, "max_new_tokens": 9}, (9, 0, 1, "exact")),
        ("generation_config.json", {"num_beams": 3, "early_stopping": "never"}, (128, 0, 3, "exact")),
    ],
)
def test_how_it_writes(tmp_path, file, content, expected):
    folder = write_encoder_decoder(tmp_path, ENCODER, ENCODER)
    path = folder / file
    there = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**there, **content}))
    found = read_huggingface([folder]).config.generation
    assert (found.max_new_tokens, found.min_new_tokens, found.beams, found.stop) == expected


def test_what_is_the_encoders_here_is_said(tmp_path):
    folder = _with_setting(
        write_encoder_decoder(tmp_path, ENCODER, ENCODER), "decoder", hidden_dropout_prob=0.3
    )
    notes = read_huggingface([folder]).notes
    assert any(
        "decoder's hidden_dropout_prob is 0.3, here it is the encoder's, 0.1" in note for note in notes
    )


def test_it_belongs_to_no_pair(tmp_path, narrow):
    generator = write_folder(tmp_path / "g", "generator", TINY, tensors=random_tensors("generator", TINY))
    with pytest.raises(UserError, match="is an encoder with a decoder, and belongs to no pair"):
        read_huggingface([narrow / "theirs", generator])
