"""State dicts of PyTorch, against safetensors, against PyTorch where it is installed, and with hostile pickles."""

import collections
import os
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest
from torch_files import MAGIC, dictionary_ops, ops, tensor_ops, write

from electra_jax.convert.files import torch_weights
from electra_jax.convert.files.torch_weights import read_torch_weights
from electra_jax.errors import UserError

STORAGES = {
    "float32": "Float",
    "float64": "Double",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "int64": "Long",
    "int32": "Int",
    "int16": "Short",
    "int8": "Char",
    "uint8": "Byte",
    "bool": "Bool",
}
LAYOUTS = ["zip", "legacy"]


def tensors_of(path) -> dict[str, np.ndarray]:
    return read_torch_weights(path).tensors


def write_one(path, layout, *, numel=6, offset=0, size=(2, 3), stride=(3, 1), held=6, **machine):
    state = dictionary_ops({"w": tensor_ops("Float", "7", numel, offset, size, stride, layout == "legacy")})
    write(path, layout, state, {"7": np.arange(held, dtype=np.float32)}, **machine)


@pytest.mark.shared_data
def test_a_file_of_pytorch_holds_what_safetensors_holds(shared):
    load_file = pytest.importorskip("safetensors.numpy").load_file
    folder = shared / "golden/hf/tiny_disc"
    read, expected = tensors_of(folder / "pytorch_model.bin"), load_file(folder / "model.safetensors")
    assert set(read) == set(expected)
    for name, array in expected.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_dtype(tmp_path, layout):
    arrays = {
        name: np.array([0, 1, 1, 0, 1, 1]).astype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
        for name in STORAGES
    }
    legacy = layout == "legacy"
    entries = {n: tensor_ops(k, n, 6, 0, (2, 3), (3, 1), legacy) for n, k in STORAGES.items()}
    write(tmp_path / "w.bin", layout, dictionary_ops(entries), arrays)
    read = tensors_of(tmp_path / "w.bin")
    assert list(read) == list(STORAGES)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert not read[name].flags.writeable
        np.testing.assert_array_equal(read[name], array.reshape(2, 3))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_views_of_one_storage(tmp_path, layout):
    base = np.arange(24, dtype=np.float32)
    legacy = layout == "legacy"
    views = {
        "whole": (0, (2, 3, 4), (12, 4, 1), base.reshape(2, 3, 4)),
        "transposed": (0, (4, 3, 2), (1, 4, 12), base.reshape(2, 3, 4).T),
        "part": (5, (3,), (6,), base[5:20:6]),
        "last": (23, (), (), base[23]),
        "empty": (0, (0, 4), (4, 1), np.zeros((0, 4))),
    }
    entries = {
        n: tensor_ops("Float", "0", 24, o, s, t, legacy, n == "part") for n, (o, s, t, _) in views.items()
    }
    write(tmp_path / "w.bin", layout, dictionary_ops(entries), {"0": base})
    read = tensors_of(tmp_path / "w.bin")
    for name, (*_, expected) in views.items():
        assert read[name].shape == expected.shape
        np.testing.assert_array_equal(read[name], expected)
    assert np.shares_memory(read["whole"], read["transposed"])


def code(marker) -> dict[str, tuple[bytes, str]]:
    """Pickles that would create ``marker``, with the name that must be refused."""
    command, expression = ops(f"touch {marker}"), ops(f"open({str(marker)!r}, 'w').close()")
    return {
        "reduce": (b"cos\nsystem\n" + command + b"\x85R", "os.system"),
        "posix": (b"cposix\nsystem\n" + command + b"\x85R", "posix.system"),
        "eval": (b"cbuiltins\neval\n" + expression + b"\x85R", "builtins.eval"),
        "python 2": (b"c__builtin__\neval\n" + expression + b"\x85R", "__builtin__.eval"),
        "inst": (b"(" + command + b"ios\nsystem\n", "os.system"),
        "obj": (b"(cos\nsystem\n" + command + b"o", "os.system"),
        "stack global": (ops("os") + ops("system") + b"\x93" + command + b"\x85R", "os.system"),
        "dotted": (
            ops("collections") + ops("OrderedDict.fromkeys") + b"\x93" + command + b"\x85R",
            "fromkeys",
        ),
        "newobj": (b"csubprocess\nPopen\n" + command + b"\x85\x81", "subprocess.Popen"),
        "build": (b"ctypes\nSimpleNamespace\n)R" + ops({"a": 1}) + b"b", "types.SimpleNamespace"),
        "getattr": (b"c__builtin__\ngetattr\n(cos\nsystem\n" + ops("x") + b"tR", "__builtin__.getattr"),
        "import": (b"cimportlib\nimport_module\n" + ops("os") + b"\x85R", "importlib.import_module"),
        "torch": (b"ctorch.hub\nload\n" + command + b"\x85R", "torch.hub.load"),
        "extension": (b"\x82\x01)R", "pickle extension 1"),
    }


@pytest.mark.parametrize("layout", [*LAYOUTS, "bare"])
@pytest.mark.parametrize("sort", list(code("")))
def test_code_is_refused_and_not_run(tmp_path, layout, sort):
    path, marker = tmp_path / "w.bin", tmp_path / "executed"
    harm, name = code(marker)[sort]
    if layout == "bare":
        path.write_bytes(b"\x80\x02" + harm + b".")
    else:
        write(path, layout, dictionary_ops({"w": harm}), {})
    with pytest.raises(UserError, match="nothing was executed") as raised:
        tensors_of(path)
    assert name in str(raised.value)
    assert not marker.exists()


def test_the_same_pickles_do_harm_without_the_reader(tmp_path):
    """Otherwise the test above would prove nothing."""
    for sort in ("reduce", "posix", "eval", "python 2", "inst", "obj", "stack global"):
        marker = tmp_path / sort.replace(" ", "_")
        pickle.loads(b"\x80\x02" + code(marker)[sort][0] + b".")
        assert marker.exists(), sort


@pytest.mark.parametrize(
    "state",
    [
        # Attributes of the values that known names stand for, set by a pickle; for both kinds of state.
        b"ctorch._utils\n_rebuild_tensor_v2\n" + ops({"build": 1}) + b"b",
        b"ctorch._utils\n_rebuild_tensor_v2\n" + ops((None, {"build": 1})) + b"b",
        b"ctorch\nFloatStorage\n" + ops((None, {"dtype": 1})) + b"b",
        b"ctorch\nFloatStorage\n)R",
        b"ccollections\nOrderedDict\n)\x81",
        # Something else than a storage in the place of one.
        ops(("module", "os", "7", "cpu", 6)) + b"Q",
        b"Posix.system\n",
    ],
)
def test_known_names_are_inert(tmp_path, state):
    write(tmp_path / "w.bin", "zip", state, {})
    with pytest.raises(UserError):
        tensors_of(tmp_path / "w.bin")
    write_one(tmp_path / "good.bin", "zip")
    assert tensors_of(tmp_path / "good.bin")["w"].shape == (2, 3)
    assert collections.OrderedDict().__class__ is collections.OrderedDict


@pytest.mark.parametrize("bit", ["neg", "conj"])
def test_a_sign_that_is_beside_the_numbers_is_not_lost(tmp_path, bit):
    plain = tensor_ops("Float", "7", 6, 0, (2, 3), (3, 1), False)
    write(
        tmp_path / "w.bin",
        "zip",
        dictionary_ops({"w": plain[:-2] + ops({bit: True}) + b"tR"}),
        {"7": np.arange(6, dtype=np.float32)},
    )
    with pytest.raises(UserError, match="tensor 'w' with its sign beside the numbers"):
        tensors_of(tmp_path / "w.bin")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (2, 4)}, "'w' than its storage of 6 holds"),
        ({"size": (1 << 40,), "stride": (0,)}, "'w' than its storage of 6 holds"),
        ({"offset": 1}, "'w' than its storage of 6 holds"),
        ({"stride": (4, 1)}, "'w' than its storage of 6 holds"),
        ({"offset": -1}, "describes tensor 'w' wrongly"),
        ({"stride": (-3, 1)}, "describes tensor 'w' wrongly"),
        ({"stride": (3,)}, "describes tensor 'w' wrongly"),
        ({"size": (0, 1 << 70)}, "describes tensor 'w' wrongly"),
        ({"size": (1,) * 100, "stride": (1,) * 100}, "describes tensor 'w' wrongly"),
        ({"numel": 1 << 50, "size": (1 << 50,), "stride": (1,)}, "storage 7"),
        ({"numel": -1}, "not a storage"),
        ({"byteorder": "big"}, "big-endian"),
    ],
)
def test_wrong_sizes_take_no_memory(tmp_path, layout, change, message):
    write_one(tmp_path / "w.bin", layout, **change)
    with pytest.raises(UserError, match=message):
        tensors_of(tmp_path / "w.bin")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_truncation_is_one_sentence(tmp_path, layout):
    write_one(tmp_path / "w.bin", layout)
    whole = (tmp_path / "w.bin").read_bytes()
    assert tensors_of(tmp_path / "w.bin")["w"].shape == (2, 3)
    for length in range(len(whole)):
        (tmp_path / "w.bin").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"w\.bin"):
            tensors_of(tmp_path / "w.bin")


def test_a_flipped_byte_of_a_zip_is_noticed(tmp_path):
    write_one(tmp_path / "w.bin", "zip")
    whole = bytearray((tmp_path / "w.bin").read_bytes())
    whole[whole.index(struct.pack("<f", 5.0))] ^= 1
    (tmp_path / "w.bin").write_bytes(whole)
    with pytest.raises(UserError, match="model/data/7 that cannot be read"):
        tensors_of(tmp_path / "w.bin")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a PyTorch checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not a PyTorch checkpoint"),
        (b"PK\3\4 and so on", "not a whole zip file"),
        (pickle.dumps({"w": 1}), "not one of torch.save"),
        (pickle.dumps(MAGIC) + pickle.dumps(1000) + pickle.dumps({}), "a layout that is not known"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "not a PyTorch checkpoint"),  # a memo of 16 GB
        (b"\x80\x02" + b"(" * 50 + b"d" * 60 + b".", "not a PyTorch checkpoint"),
    ],
)
def test_other_files(tmp_path, content, message):
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(UserError, match=message):
        tensors_of(tmp_path / "w.bin")


def doubled(depth: int) -> bytes:
    """A tuple of two of a tuple of two of …: short to write, and long to hash or to show."""
    return b")" + b"q\x00h\x00\x86" * depth


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("state", "message"),
    [
        (b"}" + doubled(60) + b"K\x01s", "dictionary of tensors: save"),
        (
            b"}" + b"\x8b" + struct.pack("<i", 20_000) + b"\x7f" * 20_000 + b"K\x01s",
            "dictionary of tensors: save",
        ),
        (
            b"}" + b"\x8b" + struct.pack("<i", 20_000) + b"\x7f" * 20_000 + b"\x85K\x01s",
            "dictionary of tensors: save",
        ),
        (b"}I" + b"9" * 5000 + b"\nK\x01s", "is not a PyTorch checkpoint"),
        (
            b"ccollections\nOrderedDict\n]" + doubled(60) + b"K\x01\x86a\x85R",
            "dictionary of tensors: save",
        ),
        (b"\x8f(" + doubled(60) + b"\x90", "no dictionary of tensors"),
        (b"(" + doubled(60) + b"\x91", "no dictionary of tensors"),
        (doubled(60) + b"Q", "not a storage"),
        (doubled(60), "no dictionary of tensors"),
        (b"}" + ops("w") + doubled(60) + b"s", "tensors, but w: save"),
        (
            b"}" + b"".join(ops(n * ((1 << 61) - 1)) + b"N" + b"s" for n in range(30_000)),
            "dictionary of tensors: save",
        ),
        (ops({"w" * 200_000: 1}), "tensors, but www"),
        (ops({"a\n\x1b[2J": 1}), r"tensors, but a\\n\\x1b\[2J: save"),
    ],
)
def test_pickles_that_would_take_years_or_cannot_be_shown(tmp_path, layout, state, message):
    write(tmp_path / "w.bin", layout, state, {})
    with pytest.raises(UserError, match=message):
        tensors_of(tmp_path / "w.bin")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_of_one_storage_are_bounded(tmp_path, layout):
    """Each would become an array of its own; a tied table has two names."""
    storage = {"0": np.zeros(1000, np.float16)}
    for names, fine in ((4, True), (5, False), (200, False)):
        whole = {
            f"t{n}": tensor_ops("Half", "0", 1000, 0, (1000,), (1,), layout == "legacy") for n in range(names)
        }
        write(tmp_path / "w.bin", layout, dictionary_ops(whole), storage)
        if fine:
            assert len(tensors_of(tmp_path / "w.bin")) == names
        else:
            with pytest.raises(
                UserError, match=rf"names {names},000 numbers in {names} tensors and holds 1,000"
            ):
                tensors_of(tmp_path / "w.bin")


def test_zip_entries_inside_one_another(tmp_path):
    """Every storage's entry is the whole rest of the file: a file of n bytes would hold n²."""
    count = 40
    path, names = tmp_path / "w.bin", [f"model/data/{n:03}" for n in range(count)]
    head = 30 + len(names[0])
    numel = 100
    entries = {f"t{n}": tensor_ops("Byte", f"{n:03}", numel, 0, (numel,), (1,), False) for n in range(count)}
    state = b"\x80\x02" + dictionary_ops(entries) + b"."

    def local(name, size):
        return (
            struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, size, size, len(name), 0) + name.encode()
        )

    body = b"\0" * 200
    for name in reversed(names):
        body = local(name, len(body)) + body
    first = local("model/data.pkl", len(state)) + state
    places = [("model/data.pkl", 0, len(state))]
    places += [(name, len(first) + n * head, len(body) - (n + 1) * head) for n, name in enumerate(names)]
    directory = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, size, size, len(name), 0, 0, 0, 0, 0, at)
        + name.encode()
        for name, at, size in places
    )
    at = len(first) + len(body)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(places), len(places), len(directory), at, 0)
    path.write_bytes(first + body + directory + end)
    with pytest.raises(UserError, match="entries that hold more together than the file"):
        tensors_of(path)


def test_a_list_of_zip_entries_that_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_weights, "_MAX_LIST_BYTES", 300)
    write_one(tmp_path / "w.bin", "zip")
    assert len(tensors_of(tmp_path / "w.bin")) == 1
    with zipfile.ZipFile(tmp_path / "w.bin", "a") as archive:
        for number in range(5):
            archive.writestr(f"{number}", "")
    with pytest.raises(UserError, match="is not a whole zip file"):
        tensors_of(tmp_path / "w.bin")


def test_what_python_2_and_other_protocols_wrote(tmp_path):
    """Names as bytes, an ordered dictionary out of a list of lists, sets beside it."""
    tensor = tensor_ops("Float", "7", 6, 0, (6,), (1,), False)
    states = [
        b"}U\x01w" + tensor + b"s",
        b"(dS'w'\n" + tensor + b"s",
        b"ccollections\nOrderedDict\n](" + ops("w") + tensor + b"la\x85R",
    ]
    for state in states:
        write(tmp_path / "w.bin", "zip", state, {"7": np.arange(6, dtype=np.float32)})
        assert list(tensors_of(tmp_path / "w.bin")) == ["w"]


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        tensors_of(tmp_path / "w.bin")
    with pytest.raises(UserError, match="cannot be read"):
        tensors_of(tmp_path)


def test_zip_files_of_others(tmp_path):
    path = tmp_path / "w.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(UserError, match=r"not one of torch\.save"):
        tensors_of(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b"\x80\x02}.")
    with pytest.raises(UserError, match="compressed"):
        tensors_of(path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("state", "message"),
    [
        (ops({"step": 3}), "no dictionary of tensors, but step: save"),
        (ops({3: None}), "dictionary of tensors: save"),
        (ops({"model": {}, "epoch": 1}), "no dictionary of tensors, but epoch: save"),
        (ops([1]), "dictionary of tensors: save"),
        (b"}" + ops("a") + b"}" + ops("b") + ops(1) + b"ss", "but a.b: save"),
    ],
)
def test_what_holds_no_tensors(tmp_path, layout, state, message):
    write(tmp_path / "w.bin", layout, state, {})
    with pytest.raises(UserError, match=message):
        tensors_of(tmp_path / "w.bin")


def _tensor(legacy, offset=0):
    return tensor_ops("Float", "7", 6, offset, (2,), (1,), legacy)


def _dictionary(entries: dict[str, bytes]) -> bytes:
    return b"}(" + b"".join(ops(key) + value for key, value in entries.items()) + b"u"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_state_dict_among_what_trainers_keep(tmp_path, layout):
    """Settings of known classes are left, by name; an optimizer's numbered state is too."""
    legacy = layout == "legacy"
    namespace = b"cargparse\nNamespace\n)\x81" + ops({"lr": 0.1}) + b"b"
    number = (
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(" + ops("f8") + b"\x89\x88tR" + ops("x") + b"tR"
    )
    state = {
        "state_dict": dictionary_ops({"model.w": _tensor(legacy), "model.b": _tensor(legacy, 2)}),
        "optimizer": _dictionary({"state": b"}" + ops(0) + _dictionary({"m": _tensor(legacy)}) + b"s"}),
        "args": namespace,
        "best": number,
        "path": b"cpathlib\nPosixPath\n(" + ops("a") + b"tR",
        "hparams": b"comegaconf.dictconfig\nDictConfig\n)\x81" + ops({"_content": {}}) + b"b",
        "epoch": ops(3),
    }
    write(tmp_path / "w.ckpt", layout, _dictionary(state), {"7": np.arange(6, dtype=np.float32)})
    read = read_torch_weights(tmp_path / "w.ckpt")
    assert {name: array.tolist() for name, array in read.tensors.items()} == {
        "state_dict.model.w": [0, 1],
        "state_dict.model.b": [2, 3],
    }
    assert read.others == ("optimizer.state", "args", "best", "path", "hparams", "epoch")


def test_two_tensors_of_one_name_are_not_chosen_from(tmp_path):
    inner = _dictionary({"b": _tensor(False, 2)})
    write(
        tmp_path / "w.pt",
        "zip",
        _dictionary({"a.b": _tensor(False), "a": inner}),
        {"7": np.arange(6, dtype=np.float32)},
    )
    with pytest.raises(UserError, match=r"two tensors called a\.b"):
        tensors_of(tmp_path / "w.pt")


def test_dictionaries_in_dictionaries_are_walked_once(tmp_path):
    """Eight of a hundred entries each, all the next one, would be 10^16."""
    state = ops("end")
    for level in range(8):
        entries = [ops(f"{n}") + (b"h%c" % (10 + level)) for n in range(1, 100)]
        state = b"}(" + ops("0") + state + b"q%c" % (10 + level) + b"".join(entries) + b"u"
    write(tmp_path / "w.pt", "zip", state, {})
    with pytest.raises(UserError, match="no dictionary of tensors"):
        tensors_of(tmp_path / "w.pt")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_storage_described_in_two_ways(tmp_path, layout):
    legacy = layout == "legacy"
    entries = {"a": ("Float", 6), "b": ("Float", 5), "c": ("Int", 6)}
    for other in "bc":
        state = dictionary_ops(
            {n: tensor_ops(entries[n][0], "7", entries[n][1], 0, (2,), (1,), legacy) for n in ["a", other]}
        )
        write(tmp_path / "w.bin", layout, state, {"7": np.zeros(6, np.float32)})
        with pytest.raises(UserError, match="in two ways"):
            tensors_of(tmp_path / "w.bin")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_against_pytorch(tmp_path, layout, protocol):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Embedding(11, 6), torch.nn.Linear(6, 3), torch.nn.LayerNorm(3))
    state = network.state_dict()
    base = torch.arange(120, dtype=torch.float32).reshape(4, 5, 6)
    state |= {
        "view": base[1:, ::2, 1:4],
        "permuted": base.permute(2, 0, 1),
        "half": torch.randn(5, 3).half().T,
        "bfloat16": torch.randn(7).bfloat16(),
        "scalar": torch.tensor(2.5),
        "flags": torch.tensor([True, False]),
        "positions": torch.arange(8).expand(1, -1),
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }
    torch.save(
        state, tmp_path / "w.bin", pickle_protocol=protocol, _use_new_zipfile_serialization=layout == "zip"
    )
    read = tensors_of(tmp_path / "w.bin")
    assert list(read) == list(state)
    for name, tensor in state.items():
        tensor = tensor.detach()
        assert str(tensor.dtype) == f"torch.{read[name].dtype.name}"
        assert read[name].strides == tuple(s * tensor.element_size() for s in tensor.stride())
        expected = tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
        np.testing.assert_array_equal(read[name].astype(expected.dtype), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pytorch_reads_the_files_of_these_tests(tmp_path, layout):
    torch = pytest.importorskip("torch")
    write_one(tmp_path / "w.bin", layout, offset=1, size=(2, 2), stride=(1, 3))
    loaded = torch.load(tmp_path / "w.bin", weights_only=True)
    np.testing.assert_array_equal(loaded["w"].numpy(), tensors_of(tmp_path / "w.bin")["w"])
    assert os.path.getsize(tmp_path / "w.bin") > 24
