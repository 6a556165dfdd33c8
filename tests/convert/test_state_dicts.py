"""Weights whoever saved them: what is before the names, beside the tensors, and there twice."""

import json
import zipfile

import numpy as np
import pytest
from huggingface_folder import TINY, TINY_GENERATOR, random_tensors, write_config, write_folder
from safetensors.numpy import load_file, save_file
from torch_files import dictionary_ops, ops, tensor_ops, write

from electra_jax.convert.files.differences import first_difference
from electra_jax.convert.format_detection import detect_format
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.native_format import read_native, write_native
from electra_jax.convert.state_dicts import split_networks
from electra_jax.errors import UserError

WORDS = "electra.embeddings.word_embeddings.weight"
NORM = "electra.embeddings.LayerNorm.weight"
HEAD = "discriminator_predictions.dense.bias"


def discriminator():
    return random_tensors("discriminator", TINY)


def before(prefix, tensors):
    return {f"{prefix}{name}": array for name, array in tensors.items()}


def torch_file(path, tree):
    """A file of torch.save: nested dictionaries of arrays and plain values."""
    storages: dict[str, np.ndarray] = {}

    def pushed(value):
        if isinstance(value, dict) and all(isinstance(one, np.ndarray) for one in value.values()):
            return dictionary_ops({name: pushed(array) for name, array in value.items()})
        if isinstance(value, dict):
            return b"}(" + b"".join(ops(key) + pushed(inner) for key, inner in value.items()) + b"u"
        if not isinstance(value, np.ndarray):
            return ops(value)
        key = f"{len(storages):04}"
        storages[key] = np.ascontiguousarray(value)
        strides = tuple(stride // value.itemsize for stride in storages[key].strides)
        return tensor_ops("Float", key, value.size, 0, value.shape, strides, False)

    write(path, "zip", pushed(tree), storages)
    return path


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert not first_difference(array, other[name]), name


def test_what_is_beside_a_wrapper_is_left():
    """AveragedModel counts what it has averaged beside ``module.``; others keep states of random numbers there."""
    beside = {"n_averaged": np.ones((), np.int64), "rng": np.ones(3, np.float32)}
    (network,), notes = split_networks("a.pt", {**before("module.", discriminator()), **beside})
    assert "n_averaged" not in network.tensors
    assert notes[0].endswith("under module., left n_averaged, rng")


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.model._orig_mod.", "a.b.c."])
def test_what_is_before_the_names_is_found(tmp_path, prefix):
    plain = read_huggingface([write_folder(tmp_path / "plain", "discriminator")])
    folder = write_folder(tmp_path / "odd", "discriminator", tensors=before(prefix, discriminator()))
    weights = read_huggingface([folder])
    same(weights.parameters, plain.parameters)
    assert f"{folder}: taken are 43 tensors under {prefix}, left none" in weights.notes
    assert not any("taken are" in note for note in plain.notes)


def test_wrappers_inside_the_names():
    wrapped = {
        name.replace("electra.", "electra.module.").replace("layer.0.", "layer.0._orig_mod."): array
        for name, array in discriminator().items()
    }
    (network,), _ = split_networks("file", wrapped)
    same(network.tensors, discriminator())


TRAINERS = {
    "Lightning": lambda t: {
        "state_dict": before("model.", t),
        "epoch": 3,
        "optimizer_states": [{"state": {}}],
    },
    "a trainer": lambda t: {"model": t, "optimizer": {"state": {0: 1}, "param_groups": []}, "step": 7},
    "a trainer with DataParallel": lambda t: {"model_state_dict": before("module.", t), "loss": 0.5},
    "fastai": lambda t: {"model": t, "opt": {"state": [], "hypers": []}},
}


@pytest.mark.parametrize("trainer", TRAINERS)
def test_checkpoints_of_trainers(tmp_path, trainer):
    write_config(tmp_path, "discriminator", TINY)
    path = torch_file(tmp_path / "last.ckpt", TRAINERS[trainer](discriminator()))
    assert detect_format(path).paths == (path,)
    weights = read_huggingface([path])
    plain = read_huggingface([write_folder(tmp_path / "plain", "discriminator")])
    same(weights.parameters, plain.parameters)
    (note,) = [note for note in weights.notes if "taken are" in note]
    keys = TRAINERS[trainer]({"a": np.zeros(1, np.float32)})
    left = [key for key in keys if not key.startswith(("state", "model"))]
    assert all(name in note.partition("left")[2] for name in left), note


def test_both_networks_in_one_file(tmp_path):
    """As electra_pytorch saves them: one state dict, embeddings twice, the tied copy and buffers along."""
    generator = random_tensors("generator", TINY_GENERATOR)
    state = before("discriminator.", discriminator()) | before("generator.", generator)
    state["generator.generator_lm_head.weight"] = generator[WORDS]
    for network in ("generator", "discriminator"):
        state[f"{network}.electra.embeddings.position_ids"] = np.arange(16, dtype=np.float32)[None]
    path = torch_file(tmp_path / "vanilla_11081_100.0%.pth", state)
    weights = read_huggingface([path], overrides=["model.num_heads=2"])
    assert (weights.config.objective.kind, weights.config.generator.sharing) == ("electra", "embeddings")
    assert weights.config.model.num_heads == 2
    write_huggingface(weights, tmp_path / "again")
    same(load_file(tmp_path / "again" / "discriminator" / "model.safetensors"), discriminator())
    same(load_file(tmp_path / "again" / "generator" / "model.safetensors"), generator)
    assert any("heads of 64" in note and "generator.num_heads=N" in note for note in weights.notes)


def test_sizes_of_a_pair_of_which_config_json_describes_one(tmp_path):
    state = before("d.", discriminator()) | before("g.", random_tensors("generator", TINY_GENERATOR))
    path = torch_file(tmp_path / "both.pt", state)
    write_config(tmp_path, "discriminator", TINY, layer_norm_eps=1e-6)
    weights = read_huggingface([path])
    assert weights.config.model.num_heads == 2
    assert (weights.config.generator.hidden_size, weights.config.generator.num_heads) == (16, 1)
    assert weights.config.model.layer_norm_epsilon == 1e-6
    write_config(tmp_path, "discriminator", {**TINY, "intermediate_size": 65})
    with pytest.raises(UserError, match="describes neither network"):
        read_huggingface([path])


def test_sizes_follow_from_the_tensors_of_a_file_alone(tmp_path):
    save_file(discriminator(), tmp_path / "weights.bin")  # by content, whatever the name
    weights = read_huggingface([tmp_path / "weights.bin"], overrides=["model.num_heads=2"])
    described = read_huggingface([write_folder(tmp_path / "plain", "discriminator", vocabulary=False)])
    assert weights.config == described.config
    same(weights.parameters, described.parameters)
    without = discriminator()
    del without["electra.embeddings.position_embeddings.weight"]
    save_file(without, tmp_path / "weights.bin")
    with pytest.raises(
        UserError, match=r"no matrix electra\.embeddings\.position_emb.*config\.json beside it"
    ):
        read_huggingface([tmp_path / "weights.bin"])


def test_a_head_of_fine_tuning_in_a_trainer_s_checkpoint(tmp_path):
    head = {
        "classifier.dense.weight": np.ones((32, 32), np.float32),
        "classifier.dense.bias": np.ones(32, np.float32),
        "classifier.out_proj.weight": np.ones((3, 32), np.float32),
        "classifier.out_proj.bias": np.ones(3, np.float32),
    }
    encoder = {name: array for name, array in discriminator().items() if name.startswith("electra.")}
    path = torch_file(tmp_path / "best.ckpt", {"state_dict": before("model.", encoder | head), "epoch": 1})
    weights = read_huggingface([path], overrides=["model.num_heads=2"])
    assert weights.tasks["classification"].classes == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert not any("heads of 64" in note for note in weights.notes)
    write_config(tmp_path, "discriminator", TINY, architectures=["ElectraForSequenceClassification"])
    torch_file(tmp_path / "best.ckpt", {"state_dict": before("model.", encoder)})
    with pytest.raises(UserError, match=r"says ElectraForSequenceClassification, but .* has no such head"):
        read_huggingface([path])


def test_a_folder_of_two_checkpoints_is_not_chosen_from(tmp_path):
    write_folder(tmp_path / "a", "discriminator")
    write_folder(tmp_path / "a" / "discriminator", "discriminator")
    with pytest.raises(UserError, match="holds a model, and the folders discriminator hold others"):
        detect_format(tmp_path / "a")
    write_folder(tmp_path / "b", "discriminator")
    (tmp_path / "b" / "model.ckpt-1.index").write_bytes(b"")
    with pytest.raises(UserError, match=r"weights of Hugging Face and model\.ckpt-1 of TensorFlow"):
        detect_format(tmp_path / "b")
    assert detect_format(tmp_path / "b" / "model.safetensors").format == "huggingface"


def test_several_encoders_are_not_chosen_from(tmp_path):
    twice = before("model.", discriminator()) | before("ema.", discriminator())
    (network,), notes = split_networks("file", twice)
    same(network.tensors, discriminator())
    assert any("what is under ema. is the same as under model." in note for note in notes)
    other = {**twice, f"ema.{NORM}": twice[f"ema.{NORM}"] + 1}
    with pytest.raises(UserError, match=r"several networks, under model\. and ema\.: save"):
        split_networks("file", other)
    many = {f"m{n}.{name}": array for n in range(9) for name, array in discriminator().items()}
    with pytest.raises(UserError, match="holds 9 networks"):
        split_networks("file", many)


def test_an_encoder_of_bert_is_none_of_electra():
    bert = {name.replace("electra.", "bert."): array for name, array in discriminator().items()}
    (network,), _ = split_networks("file", bert)
    assert not any(name.startswith("electra.") for name in network.tensors)


def _signed(array):
    changed = array.copy()
    changed.flat[0] = -0.0
    return changed


def _zeroed(array):
    changed = array.copy()
    changed.flat[0] = 0.0
    return changed


DOUBLES = {
    "an older name": "electra.embeddings.LayerNorm.gamma",
    "without electra.": "embeddings.LayerNorm.weight",
    "wrapped": "module.electra.embeddings.LayerNorm.weight",
}


@pytest.mark.parametrize("name", DOUBLES)
def test_two_names_of_one_parameter(name):
    tensors = discriminator()
    tensors[NORM] = _zeroed(tensors[NORM])
    (network,), _ = split_networks("file", {**tensors, DOUBLES[name]: tensors[NORM]})
    same(network.tensors, tensors)
    with pytest.raises(UserError, match=rf"holds {NORM} twice, as .*differ at \[0\]: 0\.0 and -0\.0: save"):
        split_networks("file", {**tensors, DOUBLES[name]: _signed(tensors[NORM])})


def test_a_tied_table_is_the_same_to_the_sign_of_zero():
    tensors = random_tensors("generator", TINY)
    tensors[WORDS] = _zeroed(tensors[WORDS])
    split_networks("file", {**tensors, "generator_lm_head.weight": tensors[WORDS]})
    with pytest.raises(UserError, match=r"is not the word table .*they differ at \[0, 0\]: -0\.0 and 0\.0"):
        split_networks("file", {**tensors, "generator_lm_head.weight": _signed(tensors[WORDS])})
    tensors[WORDS] = np.full_like(tensors[WORDS], np.nan)
    split_networks("file", {**tensors, "generator_lm_head.weight": tensors[WORDS]})


def test_embeddings_that_differ_in_a_sign_are_not_shared(tmp_path):
    ours, theirs = discriminator(), random_tensors("generator", TINY_GENERATOR)
    ours[WORDS], theirs[WORDS] = _zeroed(ours[WORDS]), _signed(ours[WORDS])
    folders = [
        write_folder(tmp_path / "d", "discriminator", tensors=ours),
        write_folder(tmp_path / "g", "generator", TINY_GENERATOR, tensors=theirs),
    ]
    assert read_huggingface(folders).config.generator.sharing == "none"


def _shards(folder, parts, weight_map):
    write_config(folder, "discriminator", TINY)
    for file, tensors in parts.items():
        save_file(tensors, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def test_one_tensor_in_two_shards(tmp_path):
    tensors = discriminator()
    rest = {name: array for name, array in tensors.items() if name != NORM}
    where = dict.fromkeys(tensors, "1.safetensors")
    where[HEAD] = "2.safetensors"
    for number, (norm, fine) in enumerate(((tensors[NORM], True), (tensors[NORM] + 1, False))):
        parts = {"1.safetensors": tensors, "2.safetensors": {HEAD: rest[HEAD], NORM: norm}}
        folder = _shards(tmp_path / str(number), parts, where)
        if fine:
            same(read_huggingface([folder]).parameters, read_huggingface([folder]).parameters)
        else:
            with pytest.raises(
                UserError, match=rf"{NORM} is in 1\.safetensors and in 2\.safetensors, which differ at"
            ):
                read_huggingface([folder])


def test_an_index_that_is_not_of_its_shards(tmp_path):
    tensors = discriminator()
    where = dict.fromkeys(tensors, "1.safetensors") | {NORM: "2.safetensors"}
    parts = {"1.safetensors": tensors, "2.safetensors": {HEAD: tensors[HEAD]}}
    with pytest.raises(UserError, match=rf"says that {NORM} is in 2\.safetensors, which lacks it"):
        read_huggingface([_shards(tmp_path, parts, where)])


def test_two_files_of_one_model(tmp_path):
    folder = write_folder(tmp_path / "a", "discriminator")
    torch_file(folder / "pytorch_model.bin", before("module.", discriminator()))
    assert not any("pytorch_model" in note for note in read_huggingface([folder]).notes)
    torch_file(folder / "pytorch_model.bin", {**discriminator(), NORM: discriminator()[NORM] + 1})
    with pytest.raises(
        UserError,
        match=rf"pytorch_model\.bin beside it are not the same model: {NORM} differs at \[0\].*remove one",
    ):
        read_huggingface([folder])
    plain = read_huggingface([write_folder(tmp_path / "b", "discriminator")])
    same(read_huggingface([folder / "model.safetensors"]).parameters, plain.parameters)
    without = discriminator()
    del without[HEAD]
    torch_file(folder / "pytorch_model.bin", without)
    with pytest.raises(UserError, match=rf"{HEAD} is in model\.safetensors alone"):
        read_huggingface([folder])
    (folder / "pytorch_model.bin").write_bytes(b"version https://git-lfs")
    (note,) = [note for note in read_huggingface([folder]).notes if "pytorch_model" in note]
    assert "model.safetensors is taken, pytorch_model.bin beside it cannot be compared" in note


def test_doubles_that_float32_cannot_hold_are_named(tmp_path):
    tensors = {name: array.astype(np.float64) for name, array in discriminator().items()}
    folder = write_folder(tmp_path, "discriminator", tensors=tensors)
    assert not any("rounded" in note for note in read_huggingface([folder]).notes)
    tensors[NORM] = tensors[NORM] + 1e-12
    write_folder(tmp_path, "discriminator", tensors=tensors)
    (note,) = [note for note in read_huggingface([folder]).notes if "rounded" in note]
    assert NORM in note


def bare():
    return {n.removeprefix("electra."): a for n, a in discriminator().items() if n.startswith("electra.")}


@pytest.mark.parametrize(
    "way", ["as transformers writes it", "with electra.", "no class named", "a file alone"]
)
def test_a_bare_encoder_there_and_back(tmp_path, way):
    tensors = before("electra.", bare()) if way == "with electra." else bare()
    classes = None if way == "no class named" else ["ElectraModel"]
    source = write_folder(tmp_path / "a", "discriminator", tensors=tensors, architectures=classes)
    if way == "a file alone":
        (source / "config.json").unlink()
        source = source / "model.safetensors"
    weights = read_huggingface([source], overrides=["model.num_heads=2"])
    assert {name.partition("/")[0] for name in weights.parameters} == {"embeddings", "encoder"}
    assert any("no head" in note for note in weights.notes) == (way in ("no class named", "a file alone"))
    write_native(weights, tmp_path / "b", tmp_path / "b")
    write_huggingface(read_native(tmp_path / "b"), tmp_path / "c")
    same(load_file(tmp_path / "c" / "discriminator" / "model.safetensors"), bare())
    described = json.loads((tmp_path / "c" / "discriminator" / "config.json").read_text())
    assert described == {**described, **TINY, "architectures": ["ElectraModel"]}


def test_a_table_of_its_own_at_the_output(tmp_path):
    tensors = random_tensors("generator", TINY)
    folder = write_folder(tmp_path, "generator", tensors=tensors, tie_word_embeddings=False)
    with pytest.raises(
        UserError, match=r"tie_word_embeddings is false, but generator_lm_head\.weight is missing"
    ):
        read_huggingface([folder])
    tied = {**tensors, "generator_lm_head.weight": tensors[WORDS]}
    read_huggingface([write_folder(tmp_path, "generator", tensors=tied, tie_word_embeddings=False)])


def test_another_class_than_config_json_names_is_noted(tmp_path):
    folder = write_folder(tmp_path, "discriminator", architectures=["ElectraForMaskedLM"])
    assert any(
        "says ElectraForMaskedLM, but its tensors are those of an ElectraForPreTraining" in note
        for note in read_huggingface([folder]).notes
    )


def test_the_zip_of_these_tests_is_one_of_pytorch(tmp_path):
    path = torch_file(tmp_path / "w.pt", {"model": discriminator()})
    with zipfile.ZipFile(path) as archive:
        assert "model/data.pkl" in archive.namelist()
    torch = pytest.importorskip("torch")
    loaded = torch.load(path, weights_only=True)["model"]
    same({name: tensor.numpy() for name, tensor in loaded.items()}, discriminator())


def test_what_tensors_alone_do_not_say_of_a_head_is_said(tmp_path):
    tensors = {name: array for name, array in discriminator().items() if name.startswith("electra.")}
    hidden = tensors["electra.encoder.layer.0.output.dense.bias"].size
    for name, rows in (("classifier.dense", hidden), ("classifier.out_proj", 3)):
        tensors |= {
            f"{name}.weight": np.ones((rows, hidden), np.float32),
            f"{name}.bias": np.ones(rows, np.float32),
        }
    save_file(tensors, tmp_path / "w.safetensors")
    read = read_huggingface([tmp_path / "w.safetensors"], overrides=["model.num_heads=2"])
    assert any("one label a text is assumed" in note for note in read.notes)
