"""Each mistake of a conversion: one sentence, status 2, nothing written and nothing left."""

import json
import os
import pickle
import resource
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from command_runs import contents
from huggingface_folder import (
    TINY,
    TINY_GENERATOR,
    random_tensors,
    words,
    write_config,
    write_folder,
    write_pair,
)
from safetensors.numpy import save_file

from electra_jax.convert import __main__ as convert
from electra_jax.convert import native_format
from electra_jax.convert.files.tensorflow_bundle import read_tensors, write_tensors

HEADS = ["model.num_heads=2", "generator.num_heads=1"]


def refused(ended, *expected: str) -> None:
    assert ended.status == 2, ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1, ended.err
    for word in expected:
        assert word in ended.err
    assert ended.out == ""


def _change(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def _weights(folder, change):
    """Rewrites the weights after ``change`` of the dictionary of tensors."""
    tensors = random_tensors("discriminator", TINY)
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def _cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


class _Trap:
    """Pickled, it is code that makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def _pickle_with_code(folder):
    (folder / "model.safetensors").unlink()
    state = {"electra.embeddings.LayerNorm.weight": _Trap(folder.parent / "trap")}
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(state, 2))
        archive.writestr("archive/version", "3\n")


def _shards(folder, index, files=()):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    for file in files:
        save_file({"a": np.ones(1, np.float32)}, folder / file)


def _only(*names):
    def act(folder):
        for path in folder.iterdir():
            if path.name not in names:
                path.unlink()

    return act


def _bert(folder):
    def rename(tensors):
        renamed = {
            name.replace("electra.", "bert.").replace("discriminator_predictions", "cls.predictions"): array
            for name, array in tensors.items()
        }
        tensors.clear()
        tensors.update(renamed)

    _weights(folder, rename)


def _integer(tensors):
    tensors["electra.encoder.layer.0.output.dense.weight"] = np.ones((32, 64), np.int8)


def _weights_file(folder, header, size):
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + b"\0" * size)


def _header(folder, **kind):
    """Says that a tensor is of this type, whose numbers take so many bytes."""
    ((name, size),) = kind.items()
    tensor = {"dtype": name, "shape": [64], "data_offsets": [0, int(64 * size)]}
    _weights_file(folder, {"electra.embeddings.position_embeddings.weight": tensor}, int(64 * size))


def _twice(folder):
    tensor = '"electra.a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    _weights_file(folder, f"{{{tensor},{tensor}}}".encode(), 4)


def _pipe(name):
    def act(folder):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return act


def _classifier(folder, **settings):
    """A folder of a fine-tuned model with two classes."""

    def change(tensors):
        for name in [n for n in tensors if n.startswith("discriminator_predictions.")]:
            del tensors[name]
        for name, outputs in (("dense", 32), ("out_proj", 2)):
            tensors[f"classifier.{name}.weight"] = np.ones((outputs, 32), np.float32)
            tensors[f"classifier.{name}.bias"] = np.ones(outputs, np.float32)

    _weights(folder, change)
    _change(folder, **settings)


WORD = "electra.embeddings.word_embeddings.weight"
DEEP = "electra.encoder.layer.1.intermediate.dense.weight"
# What is done to a good folder of a discriminator, and words of the sentence that says what is wrong.
FOLDERS = {
    "no weights": (
        _only("config.json", "vocab.txt"),
        ["holds no weights", "model.safetensors", "pytorch_model.bin"],
    ),
    "no whole file of Keras": (
        lambda f: (
            (f / "model.safetensors").rename(f / "w")
            and (f / "tf_model.h5").write_bytes(b"\x89HDF\r\n\x1a\n.")
        ),
        ["tf_model.h5 is", "HDF5"],
    ),
    "no whole file of Flax": (
        lambda f: (
            (f / "model.safetensors").rename(f / "w") and (f / "flax_model.msgpack").write_bytes(b"\x81\xa1a")
        ),
        ["flax_model.msgpack is no whole file of Flax's parameters"],
    ),
    "only a vocabulary": (_only("vocab.txt"), ["holds no checkpoint"]),
    "half": (
        lambda f: _cut(f / "model.safetensors", 0.5),
        ["model.safetensors", "incomplete or damaged: download"],
    ),
    "a few bytes": (
        lambda f: _cut(f / "model.safetensors", 0.0001),
        ["incomplete or damaged: download it again"],
    ),
    "empty": (
        lambda f: (f / "model.safetensors").write_bytes(b""),
        ["incomplete or damaged: download it again"],
    ),
    "a page of HTML": (
        lambda f: (f / "model.safetensors").write_text("<html>Not found</html>" * 50),
        ["incomplete or damaged"],
    ),
    "a pointer of Git LFS": (
        lambda f: (f / "model.safetensors").write_text(
            "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 437998572\n"
        ),
        ["only a pointer of Git LFS", "git lfs pull"],
    ),
    "a pickle with code": (
        _pickle_with_code,
        ["pytorch_model.bin holds code", "mkdir", "nothing was executed"],
    ),
    "a missing shard": (
        lambda f: _shards(
            f, json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}), ["1.safetensors"]
        ),
        ["lacks 2.safetensors, which model.safetensors.index.json names"],
    ),
    "an index without names": (
        lambda f: _shards(f, '{"weight_map": []}'),
        ["names no files beside it in weight_map"],
    ),
    "an index of elsewhere": (
        lambda f: _shards(f, json.dumps({"weight_map": {"a": "../generator/model.safetensors"}})),
        ["names no files beside it in weight_map"],
    ),
    "no config.json": (_only("model.safetensors", "vocab.txt"), ["good has no config.json, "]),
    "malformed config.json": (
        lambda f: (f / "config.json").write_text('{\n "model_type": "electra",\n "hidden_size" 32\n}'),
        ["config.json, line 3: not valid JSON"],
    ),
    "config.json of brackets": (lambda f: (f / "config.json").write_text("[" * 100_000), ["config.json"]),
    "config.json is a list": (
        lambda f: (f / "config.json").write_text("[]"),
        ["does not hold a JSON object"],
    ),
    "config.json in another encoding": (
        lambda f: (f / "config.json").write_bytes(b'{"a": "\xff"}'),
        ["config.json, line 1: not UTF-8 (invalid start byte): download it again"],
    ),
    "BERT": (lambda f: _change(f, model_type="bert"), ["a model of type 'bert'", "only ELECTRA"]),
    "RoBERTa": (lambda f: _change(f, model_type="roberta"), ["a model of type 'roberta'"]),
    "weights of BERT": (_bert, ["holds no weights of ELECTRA, but bert.embeddings.", "and 40 more: give"]),
    "another activation": (lambda f: _change(f, hidden_act="relu"), ["hidden_act is 'relu'", "'gelu'"]),
    "relative positions": (
        lambda f: _change(f, position_embedding_type="relative_key"),
        ["position_embedding_type is 'relative_key'"],
    ),
    "a size in words": (
        lambda f: _change(f, hidden_size="32"),
        ["hidden_size is '32', but must be a number"],
    ),
    "a size that is true": (lambda f: _change(f, num_hidden_layers=True), ["num_hidden_layers is True"]),
    "a size that is null": (lambda f: _change(f, embedding_size=None), ["embedding_size is None"]),
    "a size that is broken": (lambda f: _change(f, num_attention_heads=2.5), ["num_attention_heads is 2.5"]),
    "a size that is negative": (
        lambda f: _change(f, hidden_size=-32),
        ["model.hidden_size is -32", "greater than"],
    ),
    "no heads": (lambda f: _change(f, num_attention_heads=0), ["model.num_heads is 0", "greater than"]),
    "heads that do not divide": (
        lambda f: _change(f, num_attention_heads=5),
        ["hidden_size 32 is not divisible by num_heads 5"],
    ),
    "another width": (
        lambda f: _change(f, hidden_size=48, num_attention_heads=2),
        [
            "of another shape: discriminator_predictions.dense.bias is 32, expected 48",
            "key.weight is 32 x 32, expected 48 x 48 and ",
        ],
    ),
    "more layers": (
        lambda f: _change(f, num_hidden_layers=3),
        ["missing: electra.encoder.layer.2.", "and 8 more"],
    ),
    "fewer layers": (
        lambda f: _change(f, num_hidden_layers=1),
        ["not part of this model: electra.encoder.layer.1.", "and 8 more"],
    ),
    "another size of the vocabulary": (
        lambda f: _change(f, vocab_size=48),
        [f"{WORD} is 40 x 16, expected 48 x 16"],
    ),
    "a longer vocabulary": (
        lambda f: (f / "vocab.txt").write_text("\n".join(words(41)) + "\n"),
        ["its vocabulary has 41 entries, but its embeddings 40 rows", "--vocab FILE"],
    ),
    "a vocabulary without special tokens": (
        lambda f: (f / "vocab.txt").write_text("\n".join(f"w{n}" for n in range(40)) + "\n"),
        ["lacks", "[MASK]"],
    ),
    "a missing tensor": (
        lambda f: _weights(f, lambda t: t.pop(DEEP)),
        [f"missing: {DEEP};", "--allow-missing"],
    ),
    "no word table": (lambda f: _weights(f, lambda t: t.pop(WORD)), [f"missing: {WORD};"]),
    "an extra tensor": (
        lambda f: _weights(f, lambda t: t.update({"classifier.weight": np.ones(3, np.float32)})),
        ["not part of this model: classifier.weight;", "--allow-missing"],
    ),
    "a wrong shape": (
        lambda f: _weights(f, lambda t: t.update({DEEP: np.ones((63, 32), np.float32)})),
        [f"of another shape: {DEEP} is 63 x 32, expected 64 x 32"],
    ),
    "a scalar for a table": (
        lambda f: _weights(f, lambda t: t.update({WORD: np.float32(1)[None][0:1].reshape(())})),
        [f"{WORD} is a scalar, expected 40 x 16"],
    ),
    "quantised": (
        lambda f: _weights(f, _integer),
        ["output.dense.weight is of type int8", "not quantised ones"],
    ),
    "quantised to eight bits": (
        lambda f: _header(f, F8_E4M3=1),
        ["position_embeddings.weight is of type F8_E4M3, which is not read", "not quantised ones"],
    ),
    "quantised to four bits": (lambda f: _header(f, F4=0.5), ["is of type F4, which is not read"]),
    "a type that nobody knows": (lambda f: _header(f, X=4), ["is of type X, which is not read"]),
    "a tensor twice in a file": (_twice, ["names 'electra.a' twice in one object"]),
    "more dimensions than arrays have": (
        lambda f: _weights_file(f, {"a": {"dtype": "F32", "shape": [1] * 100, "data_offsets": [0, 4]}}, 4),
        ["model.safetensors cannot be read"],
    ),
    "an empty tensor that overflows": (
        lambda f: _weights_file(f, {"a": {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]}}, 0),
        ["model.safetensors cannot be read"],
    ),
    "a thousand layers": (lambda f: _change(f, num_hidden_layers=1000), ["num_layers is 1000"]),
    "200 layers": (
        lambda f: _change(f, num_hidden_layers=200),
        ["is to have 200 layers in its encoder and has weights of 2"],
    ),
    "a billion layers": (
        lambda f: _change(f, num_hidden_layers=10**9),
        ["num_hidden_layers is 1e+09, but must be a number such as 12"],
    ),
    "layers far behind the others": (
        lambda f: _weights(
            f, lambda t: t.update({DEEP.replace("layer.1.", "layer.300."): np.ones((64, 32))})
        ),
        ["not part of this model: electra.encoder.layer.300.intermediate"],
    ),
    "a layer with a number of many digits": (
        lambda f: _weights(
            f, lambda t: t.update({DEEP.replace("layer.1.", f"layer.{'9' * 5000}."): np.ones(1)})
        ),
        ["not part of this model: electra.encoder.layer.99999"],
    ),
    "no vocabulary": (lambda f: _change(f, vocab_size=0), ["vocab_size is 0, but must be"]),
    "a vocabulary of billions": (lambda f: _change(f, vocab_size=3 * 10**9), ["vocab_size is 3e+09"]),
    "positions without end": (
        lambda f: _change(f, max_position_embeddings=10**14),
        ["max_position_embeddings is 1e+14"],
    ),
    "a number of 400 digits": (
        lambda f: _change(f, layer_norm_eps=10**400),
        ["model.layer_norm_epsilon is 1000", "…, but must be a valid number"],
    ),
    "a number that is none": (
        lambda f: _change(f, layer_norm_eps=float("nan")),
        ["layer_norm_epsilon is nan"],
    ),
    "config.json with a byte order mark and a mistake": (
        lambda f: (f / "config.json").write_bytes(b'\xef\xbb\xbf{"model_type": "bert"}'),
        ["a model of type 'bert'"],
    ),
    "a type of escape codes": (
        lambda f: _change(f, model_type="\x1b[2J\nerror: " + "x" * 200_000),
        ["a model of type '\\x1b[2J\\nerror: xxx", "only ELECTRA and ModernBERT can be converted"],
    ),
    "a tensor of escape codes": (
        lambda f: _weights(f, lambda t: t.update({"\x1b[2J\n\u202e" + "y" * 200_000: np.ones(1)})),
        ["not part of this model: \\x1b[2J\\n\\u202eyyy"],
    ),
    "config.json is a pipe": (_pipe("config.json"), ["config.json cannot be read (it is a pipe"]),
    "vocab.txt is a pipe": (_pipe("vocab.txt"), ["vocab.txt cannot be read: it is a pipe"]),
    "tokenizer.json is a pipe": (_pipe("tokenizer.json"), ["tokenizer.json cannot be read (it is a pipe"]),
    "config.json is endless": (
        lambda f: ((f / "config.json").unlink(), (f / "config.json").symlink_to("/dev/zero")),
        ["config.json cannot be read (it is a device"],
    ),
    "config.json is a link in a circle": (
        lambda f: ((f / "config.json").unlink(), (f / "config.json").symlink_to("config.json")),
        ["config.json cannot be read (Too many levels of symbolic links)"],
    ),
    "a shard of a long name": (
        lambda f: _shards(f, json.dumps({"weight_map": {"a": "x" * 300}})),
        ["names no files beside it in weight_map"],
    ),
    "labels in words": (
        lambda f: _classifier(f, num_labels="2"),
        ["names '2' labels, and classifier.out_proj.weight has 2 outputs"],
    ),
    "labels without end": (lambda f: _classifier(f, num_labels=10**8), ["names 100000000 labels"]),
    "more labels than outputs": (
        lambda f: _classifier(f, id2label={str(n): f"l{n}" for n in range(1000)}),
        ["names 1000 labels, and classifier.out_proj.weight has 2 outputs"],
    ),
    "another table at the output": (
        lambda f: _weights(
            f, lambda t: t.update({"generator_lm_head.weight": np.ones((40, 16), np.float32)})
        ),
        ["generator_lm_head.weight is not the word table"],
    ),
}


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The current folder: a good pair in ``pair``, a good discriminator in ``good``."""
    monkeypatch.chdir(tmp_path)
    write_pair(tmp_path / "pair")
    write_folder(tmp_path / "good", "discriminator")
    return tmp_path


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_hugging_face(name, place, command):
    act, expected = FOLDERS[name]
    act(place / "good")
    before = contents(place)
    refused(command(convert.main, "good", "new/ours"), *expected)
    assert contents(place) == before


GENERATORS = {
    "another size of the vocabulary": ({"vocab_size": 44}, ["vocab_size is 44, there 40"]),
    "other positions": ({"max_position_embeddings": 24}, ["max_position_embeddings is 24, there 16"]),
    "another epsilon": ({"layer_norm_eps": 1e-6}, ["layer_norm_eps is 1e-06, there 1e-12"]),
    "other token types": ({"type_vocab_size": 1}, ["type_vocab_size is 1, there 2"]),
    "heads that do not divide": (
        {"num_attention_heads": 3},
        ["width 16 is not divisible by generator.num_heads 3"],
    ),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_that_does_not_belong(name, place, command):
    changes, expected = GENERATORS[name]
    sizes = {**TINY_GENERATOR, **changes}
    write_folder(place / "other", "generator", sizes)
    before = contents(place)
    refused(command(convert.main, "good", "ours", "--generator", "other"), *expected)
    assert contents(place) == before


def test_a_generator_of_other_words(place, command):
    (place / "pair" / "generator" / "vocab.txt").write_text("\n".join([*words(39), "other"]) + "\n")
    refused(
        command(convert.main, "pair", "ours"),
        *("pair/generator does not belong to pair/discriminator", "token 39", "'other', there 'word34'"),
    )
    assert not (place / "ours").exists()


def test_two_of_a_kind_and_what_is_none(place, command):
    write_folder(place / "second", "discriminator")
    write_folder(place / "third", "generator")
    (place / "generator of nothing").mkdir()
    before = contents(place)
    for source, generator, expected in (
        ("good", "second", ["good and second are both a discriminator"]),
        ("third", "third", ["third and third are both a generator"]),
        ("good", "nowhere", ["nowhere is not a folder"]),
        ("good", "generator of nothing", ["generator of nothing has no config.json"]),
        ("pair", "third", ["--generator goes with the Hugging Face folder of a discriminator"]),
    ):
        refused(command(convert.main, source, "ours", "--generator", generator), *expected)
    assert contents(place) == before


def test_names_that_no_file_can_have(place, command):
    (place / "circle").symlink_to(place / "circle")
    before = contents(place)
    for source, destination, expected in (
        ("circle", "new", "circle does not exist"),
        ("x" * 300, "new", "a name 300 bytes long"),
        ("good", "x" * 300, "a name 300 bytes long"),
        ("good", "good/vocab.txt/new", "lies in what is to be converted"),
        ("good", "pair/discriminator/vocab.txt/new", "vocab.txt is a file, not a directory"),
    ):
        refused(command(convert.main, source, destination), expected)
    assert contents(place) == before


def test_missing_and_extra_tensors_can_be_allowed(place, command):
    def change(tensors):
        for name in [n for n in tensors if n.startswith("discriminator_predictions.")]:
            del tensors[name]
        tensors |= {"pooler.weight": np.ones(3, np.float32), "pooler.bias": np.ones(3, np.float32)}

    _weights(place / "good", change)
    before = contents(place)
    head, pooler = ("--allow-missing", "discriminator_predictions.*"), ("--allow-missing", "pooler.*")
    refused(
        command(convert.main, "good", "ours"),
        "missing: discriminator_predictions",
        "not part of this model: pooler",
    )
    refused(command(convert.main, "good", "ours", *head), "not part of this model: pooler.")
    refused(command(convert.main, "good", "ours", *pooler), "missing: discriminator_predictions.")
    refused(
        command(convert.main, "good", "ours", *head, *pooler, "--allow-missing", "poler.*"),
        "--allow-missing poler.*: good neither has nor needs a parameter of such a name",
    )
    assert contents(place) == before
    ended = command(convert.main, "good", "ours", *head, *pooler)
    assert ended.status == 0, ended.err
    assert "(embeddings, encoder)" in ended.out


@pytest.fixture
def original(place, command) -> Path:
    """A TensorFlow checkpoint in ``tf``."""
    assert command(convert.main, "pair", "tf", "--to", "tensorflow").status == 0
    return place / "tf" / "model.ckpt-0"


def _rewrite(prefix, change):
    tensors = read_tensors(prefix)
    change(tensors)
    write_tensors(prefix, tensors)


def _rename(tensors):
    renamed = {name.replace("electra/", "bert/"): array for name, array in tensors.items()}
    tensors.clear()
    tensors.update(renamed)


def _several(prefix):
    (prefix.parent / "checkpoint").unlink()
    for ending in (".index", ".data-00000-of-00001"):
        shutil.copy(f"{prefix}{ending}", prefix.with_name(f"model.ckpt-7{ending}"))


TABLE = "electra/embeddings/position_embeddings"
DATA = "tf/model.ckpt-0.data-00000-of-00001"
ORIGINALS = {
    "several": (_several, [], ["tf holds several TensorFlow checkpoints", "model.ckpt-0, model.ckpt-7"]),
    "of BERT": (
        lambda p: _rewrite(p, _rename),
        [],
        ["is not a checkpoint of ELECTRA", "electra/embeddings/word_embeddings"],
    ),
    "cut short": (lambda p: _cut(Path(DATA), 0.5), [], [f"{DATA} is cut short", "copy the checkpoint again"]),
    "index cut short": (lambda p: _cut(Path("tf/model.ckpt-0.index"), 0.5), [], ["is cut short"]),
    "damaged": (
        lambda p: Path(DATA).write_bytes(Path(DATA).read_bytes()[:-4] + b"abcd"),
        [],
        [f"{DATA} is damaged", "checksum"],
    ),
    "without its data": (lambda p: Path(DATA).unlink(), [], [f"{DATA} is missing"]),
    "without a table": (
        lambda p: _rewrite(p, lambda t: t.pop(TABLE)),
        [],
        [f"has no matrix {TABLE}", "give a checkpoint of ELECTRA's pre-training"],
    ),
    "a table of one row": (
        lambda p: _rewrite(p, lambda t: t.update({TABLE: np.ones(3, np.float32)})),
        [],
        [f"has no matrix {TABLE}"],
    ),
    "fine-tuned": (
        lambda p: _rewrite(p, lambda t: t.update({"mnli_classifier/kernel": np.ones((2, 2), np.float32)})),
        [],
        ["not part of this model: mnli_classifier/kernel;", "--allow-missing"],
    ),
    "without a bias": (
        lambda p: _rewrite(p, lambda t: t.pop("generator/encoder/layer_1/output/dense/bias")),
        [],
        ["missing: generator/encoder/layer_1/output/dense/bias;"],
    ),
    "whole numbers": (
        lambda p: _rewrite(p, lambda t: t.update({TABLE: np.ones((16, 16), np.int32)})),
        [],
        [f"{TABLE} is of type int32"],
    ),
    "no optimizer": (
        lambda p: None,
        ["--optimizer"],
        ["has no optimizer state for --optimizer to carry along"],
    ),
    "a pattern of nothing": (lambda p: None, ["--allow-missing", "bert/*"], ["--allow-missing bert/*: "]),
    "an unknown key": (lambda p: None, ["model.num_head=2"], ["unknown key model.num_head", "did you mean"]),
    "heads that do not divide": (lambda p: None, ["model.num_heads=5"], ["not divisible by num_heads 5"]),
    "another depth": (lambda p: None, ["model.num_layers=3"], ["missing: electra/encoder/layer_2/"]),
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_checkpoint_of_tensorflow(name, original, place, command):
    act, more, expected = ORIGINALS[name]
    act(original)
    before = contents(place)
    refused(command(convert.main, "tf", "new/ours", *more), *expected)
    assert contents(place) == before


OPTIONS = {
    "nothing there": (
        ["nowhere", "ours"],
        ["nowhere does not exist", "no TensorFlow checkpoint has that prefix"],
    ),
    "a prefix of nothing": (["pair/model.ckpt", "ours"], ["pair/model.ckpt does not exist"]),
    "a file": (["good/config.json", "ours"], ["is a file: give the folder it is in"]),
    "an empty folder": (["empty", "ours"], ["empty holds no checkpoint: neither"]),
    "no destination": (["good"], ["arguments are required: DST"]),
    "another format": (["good", "ours", "--to", "pytorch"], ["--to", "pytorch"]),
    "an optimizer of Hugging Face": (
        ["good", "ours", "--optimizer"],
        ["Hugging Face's folders hold no optimizer"],
    ),
    "a step of Hugging Face": (
        ["good", "ours", "--step", "3"],
        ["--step chooses among the checkpoints of a run"],
    ),
    "a vocabulary that is not there": (["good", "ours", "--vocab", "no.txt"], ["no.txt does not exist"]),
    "a vocabulary of another size": (
        ["good", "ours", "--vocab", "few.txt"],
        ["has 7 entries, but its embeddings 40"],
    ),
    "an unknown key": (
        ["good", "ours", "train.stesp=3"],
        ["unknown key train.stesp", "did you mean train.steps?"],
    ),
    "no key": (["good", "ours", "train.steps"], ["must have the form key.path=value"]),
    "another width": (["good", "ours", "model.hidden_size=64"], ["of another shape: "]),
    "another tokenizer": (["good", "ours", "tokenizer.kind=sentencepiece"], ["tokenizer.kind follows from"]),
    "a work directory without checkpoints": (["started", "ours"], ["there is no checkpoint in"]),
    "a step that is not there": (
        ["work", "ours", "--step", "4"],
        ["no checkpoint of step 4", "there are: 0"],
    ),
    "an optimizer of converted weights": (
        ["work", "ours", "--optimizer", "--to", "tensorflow"],
        ["work/checkpoints/0 has no optimizer state for --optimizer"],
    ),
    "a vocabulary for a run": (
        ["work", "ours", "--vocab", "few.txt"],
        ["--vocab: work has its own tokenizer"],
    ),
    "a pattern for a run": (
        ["work", "ours", "--allow-missing", "*"],
        ["--allow-missing is for foreign checkpoints"],
    ),
    "another model of a run": (
        ["work", "ours", "model.num_layers=1"],
        ["work/checkpoints/0 cannot be converted as another: model.num_layers: 2 -> 1"],
    ),
    "another tokenizer of a run": (
        ["work", "ours", "tokenizer.lowercase=false"],
        ["cannot be converted as another: tokenizer.lowercase: true -> false"],
    ),
    "a destination that is there": (["good", "pair"], ["pair exists already", "--overwrite"]),
    "a destination that is no checkpoint": (
        ["good", "thesis", "--overwrite"],
        ["thesis holds no checkpoint"],
    ),
    "a destination that is a run": (["good", "work", "--overwrite"], ["holds more than", "(metrics.jsonl)"]),
    "a destination that is the source": (
        ["good", "good", "--overwrite"],
        ["good is, or holds, what is to be"],
    ),
    "a destination around the source": (
        ["pair/generator", "pair", "--overwrite"],
        ["pair is, or holds, what is"],
    ),
    "a destination in the source": (
        ["pair", "pair/ours"],
        ["pair/ours lies in what is to be converted (pair)"],
    ),
    "a destination around the generator": (
        ["good", "pair", "--generator", "pair/generator", "--overwrite"],
        ["pair is, or holds, what is to be converted (pair/generator)"],
    ),
    "a destination below a file": (["good", "few.txt/ours"], ["few.txt is a file, not a directory"]),
}


@pytest.fixture
def crowded(place, command) -> Path:
    """The current folder with more in it; ``work`` is a run of converted weights."""
    assert command(convert.main, "pair", "work", "model.vocab_multiple=8").status == 0
    (place / "work" / "metrics.jsonl").write_text("")
    (place / "few.txt").write_text("\n".join(words(7)) + "\n")
    for folder in ("empty", "thesis", "started/checkpoints"):
        (place / folder).mkdir(parents=True)
    (place / "thesis" / "chapter.tex").write_text("much work")
    return place


@pytest.mark.parametrize("name", OPTIONS)
def test_a_mistake_in_the_arguments(name, crowded, command):
    arguments, expected = OPTIONS[name]
    before = contents(crowded)
    refused(command(convert.main, *arguments), *expected)
    assert contents(crowded) == before


def test_a_damaged_checkpoint_of_ours(crowded, command):
    for path in (crowded / "work" / "checkpoints" / "0" / "params").rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)
    before = contents(crowded)
    refused(command(convert.main, "work", "ours"), "work/checkpoints/0/params cannot be restored")
    assert contents(crowded) == before


def test_electric_has_no_place_at_hugging_face(place, command):
    settings = ["objective={kind: electric}"]
    _rewrite_electric(place, command)
    before = contents(place)
    refused(
        command(convert.main, "electric", "theirs", "--to", "huggingface", *settings),
        "Hugging Face's ELECTRA has no place for cloze_head, generator_ltr, generator_rtl",
    )
    assert contents(place) == before


def _rewrite_electric(place, command):
    """The pair as TensorFlow would have it for Electric, in ``electric``."""
    assert command(convert.main, "pair", "electric", "--to", "tensorflow").status == 0

    def change(tensors):
        for name in [n for n in tensors if n.startswith("generator/")]:
            array = tensors.pop(name)
            for tower in ("generator_ltr/", "generator_rtl/"):
                tensors[name.replace("generator/", tower)] = array
        for name in [n for n in tensors if n.startswith("generator_predictions/")]:
            tensors[name.replace("generator_predictions/", "cloze_predictions/")] = tensors.pop(name)
        dense = tensors["cloze_predictions/dense/kernel"]
        tensors["cloze_predictions/dense/kernel"] = np.ones((32, 16), np.float32)
        tensors["cloze_predictions/dense/bias"] = np.ones(16, np.float32)
        assert dense.shape == (16, 16)

    _rewrite(place / "electric" / "model.ckpt-0", change)


def test_no_permission_is_one_sentence(place, monkeypatch, command):
    """Tests may run as root, who may write everywhere; so it is said that nobody may."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    refused(command(convert.main, "good", "new/ours"), f"no permission to write in {place}")
    monkeypatch.undo()
    monkeypatch.chdir(place)

    def mkdir(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    refused(command(convert.main, "good", "new/ours"), f"no permission ({place / 'new' / 'ours'})")


@pytest.mark.parametrize("to", convert.FORMATS)
def test_a_full_disk_leaves_nothing_and_what_was_there(to, place, command):
    before = contents(place)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    argv = ["pair", "new/deep", "--to", to, *(HEADS if to == "tensorflow" else [])]
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        ended = command(convert.main, *argv)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    refused(ended, "a file would be larger than is allowed", str(place / "new" / "deep"))
    assert contents(place) == before
    assert command(convert.main, *argv).status == 0


def test_a_failure_after_the_weights_keeps_the_checkpoint_that_was_to_be_replaced(
    place, monkeypatch, command
):
    assert command(convert.main, "pair", "ours").status == 0
    before = contents(place)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(native_format, "dump_config", fail)
    refused(command(convert.main, "good", "ours", "--overwrite"), "disk full", str(place / "ours"))
    assert contents(place) == before


def test_nothing_of_a_pickle_was_run(place, command):
    _pickle_with_code(place / "good")
    write_config(place / "good", "discriminator", TINY)
    refused(command(convert.main, "good", "ours"), "holds code: posix.mkdir")
    assert not (place / "trap").exists()
    with zipfile.ZipFile(place / "good" / "pytorch_model.bin") as archive:
        pickle.loads(archive.read("archive/data.pkl"))  # it would have
    assert (place / "trap").exists()
