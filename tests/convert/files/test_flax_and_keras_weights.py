"""Files of Flax and Keras, built by hand as `transformers` 4 wrote them, against the same model of PyTorch."""

import re
import sys

import ml_dtypes
import numpy as np
import pytest
from flax.serialization import msgpack_serialize
from huggingface_folder import TINY, random_tensors, write_config, write_folder

from electra_jax.convert.files.differences import first_difference
from electra_jax.convert.files.flax_weights import read_flax_weights
from electra_jax.convert.files.keras_weights import read_keras_weights
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.errors import UserError

CLASSES = {"discriminator": "tf_electra_for_pre_training", "generator": "tf_electra_for_masked_lm"}
WORDS = "electra.embeddings.word_embeddings.weight"


def kind_of(name):
    """What module of theirs a tensor of PyTorch belongs to."""
    module = name.split(".")[-2]
    return "norm" if module == "LayerNorm" else "table" if module.endswith("_embeddings") else "dense"


def flax_tree(tensors):
    """Nested dictionaries with Flax's names: kernel, embedding, scale."""
    last = {"dense": "kernel", "norm": "scale", "table": "embedding"}
    tree: dict = {}
    for name, array in tensors.items():
        *parents, leaf = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        if leaf == "weight":
            leaf, array = last[kind_of(name)], array.T if kind_of(name) == "dense" else array
        branch[leaf] = np.ascontiguousarray(array)
    return tree


def keras_variables(tensors, network):
    """(layer, name of the variable, array) as `save_weights` has them."""
    for name, array in tensors.items():
        *parents, leaf = name.split(".")
        kind = kind_of(name)
        if parents[-1] == "generator_lm_head":
            pass
        elif kind == "norm":
            leaf = {"weight": "gamma", "bias": "beta"}[leaf]
        elif kind == "table":  # the word table alone is a variable of TensorFlow's own making
            leaf = "weight" if parents[-1] == "word_embeddings" else "embeddings"
        elif leaf == "weight":
            leaf, array = "kernel", array.T
        path = re.sub(r"layer/(\d+)", r"layer_._\1", "/".join(parents))
        yield parents[0], f"{CLASSES[network]}/{path}/{leaf}:0", np.ascontiguousarray(array)


def write_keras(path, tensors, network):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        layers: dict[str, list] = {}
        for layer, name, array in keras_variables(tensors, network):
            file.create_dataset(f"{layer}/{name}", data=array)
            layers.setdefault(layer, []).append(name.encode())
        if network == "generator":  # the head's layer holds what it is tied to as well
            for _, name, array in keras_variables({WORDS: tensors[WORDS]}, network):
                file.create_dataset(f"generator_lm_head/{name}", data=array)
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, names in layers.items():
            file[layer].attrs["weight_names"] = names
    return path


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert not first_difference(array, other[name]), name


@pytest.mark.parametrize("network", CLASSES)
@pytest.mark.parametrize("format_", ["flax", "keras"])
def test_a_folder_is_what_pytorch_s_is(tmp_path, network, format_):
    tensors = random_tensors(network, TINY)
    expected = read_huggingface([write_folder(tmp_path / "torch", network, TINY, tensors=tensors)])
    folder = tmp_path / format_
    write_config(folder, network, TINY)
    if format_ == "flax":
        (folder / "flax_model.msgpack").write_bytes(msgpack_serialize(flax_tree(tensors)))
    else:
        write_keras(folder / "tf_model.h5", tensors, network)
    same(read_huggingface([folder]).parameters, expected.parameters)
    (file,) = [path for path in folder.iterdir() if path.name != "config.json"]
    same(read_huggingface([file]).parameters, expected.parameters)
    write_folder(folder, network, TINY, tensors=tensors)
    assert any(f"{file.name} beside it is left unread" in note for note in read_huggingface([folder]).notes)


def test_a_training_state_of_flax(tmp_path):
    """Its optimizer has trees of the same names; bfloat16 is exact."""
    tensors = {
        name: array.astype(ml_dtypes.bfloat16)
        for name, array in random_tensors("discriminator", TINY).items()
    }
    params = flax_tree(tensors)
    state = {"step": 3, "params": params, "opt_state": {"0": {"mu": params, "nu": params}}}
    (tmp_path / "state.msgpack").write_bytes(msgpack_serialize(state))
    weights = read_huggingface([tmp_path / "state.msgpack"], overrides=["model.num_heads=2"])
    expected = read_huggingface([write_folder(tmp_path / "torch", "discriminator", tensors=tensors)])
    same(weights.parameters, expected.parameters)
    (note,) = [note for note in weights.notes if "taken are 43 tensors under params., left" in note]
    assert sorted(note.partition("left ")[2].split(", ")) == ["opt_state", "step"]


@pytest.mark.parametrize(
    "content", [b"", b"\x81\xa1a", b"\x81\xa1a\x01", b"\xc1", b"\x92" * 100_000, b"\x81\xa1a\xc7\x03\x01abc"]
)
def test_files_that_are_none_of_flax(tmp_path, content):
    (tmp_path / "w.msgpack").write_bytes(content)
    with pytest.raises(UserError, match=r"w\.msgpack (is no whole file|holds no arrays)"):
        read_flax_weights(tmp_path / "w.msgpack")


def test_what_an_h5_file_does_not_hold_itself_is_not_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    secret = tmp_path / "secret"
    secret.write_bytes(b"\0" * 64)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.ones(3, np.float32)
    ways = {
        "bytes of another file": lambda f: f.create_dataset(
            "a/m/x:0", (16,), "f4", external=[(str(secret), 0, 64)]
        ),
        "numbers never written": lambda f: f.create_dataset("a/m/x:0", (1 << 40,), "f4", chunks=(1 << 20,)),
        "compressed": lambda f: f.create_dataset("a/m/x:0", data=np.zeros(100_000, "f4"), compression="gzip"),
        "a link elsewhere": lambda f: f.__setitem__("a", h5py.ExternalLink(str(tmp_path / "other.h5"), "/")),
    }
    for way, write in ways.items():
        with h5py.File(tmp_path / "w.h5", "w") as file:
            write(file)
        with pytest.raises(UserError, match=r"does not hold a/m/x:0|holds no weights of Keras") as raised:
            read_keras_weights(tmp_path / "w.h5")
        assert ("holds no weights" in str(raised.value)) == (way == "a link elsewhere")


def test_shared_variables_of_keras_that_differ(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for layer, value in (("a", 0.0), ("b", -0.0)):
            file[f"{layer}/m/x/kernel:0"] = np.full((2, 3), value, np.float32)
    with pytest.raises(UserError, match=r"holds m\.x\.weight twice, differing at \[0, 0\]"):
        read_keras_weights(tmp_path / "w.h5")


def test_without_h5py_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        UserError, match=r"w\.h5 is HDF5, which needs h5py .*pip install h5py, or 'electra_jax\[h5\]'"
    ):
        read_keras_weights(tmp_path / "w.h5")
