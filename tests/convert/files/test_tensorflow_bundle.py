"""TensorFlow's checkpoints against files that TensorFlow wrote, and against TensorFlow itself where it is installed."""

import gzip
import hashlib
import re
import struct
from base64 import b64decode
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from electra_jax.convert.files import protobuf_fields, sstable
from electra_jax.convert.files import tensorflow_bundle as bundle
from electra_jax.convert.files.tensorflow_bundle import (
    is_checkpoint_prefix,
    read_tensors,
    tensor_shapes,
    write_tensors,
)
from electra_jax.errors import UserError

GOLDEN = [
    "tiny",
    "tiny_untied_generator",
    "tiny_untied_generator_embeddings",
    "tiny_electra_objective",
    "tiny_electra_objective_electric_objective",
    "tiny_disallow_correct_temperature",
]
ENDINGS = [".index", ".data-00000-of-00001"]

# Written by TensorFlow 2.21 (SaveV2, MergeV2Checkpoints, a Saver with write_version=V1), gzip, base64.
WRITTEN_BY_TENSORFLOW = {
    # "part" [4, 2] in two slices, "whole" [1]
    "sliced.index": """
        H4sIAAAAAAACA2NgYONglGLiYGTgFWYoSCwqYWBkZGpoaqjnYBTiEGLiYAJhDQHTyb2vjThZRJvQZBQEgHI/nu9excAiB9INlWMB
        yVmxcTEJMHExWHFwsXCAWQysguUZ+TmpQFUgFYwKChospo1Lb2kzAAEjiPDee+QJnHPg08INDIzMFQx9jHCxfgmpV5MZORYw8jMQ
        BOG/G7pVSt1vAwBuEKcq5AAAAA==""",
    "sliced.data-00000-of-00001": "H4sIAAAAAAACA2NgAIEGeyDhAERA3ADEC4D4ABA/APHtASaI7bckAAAA",
    # float32 "a" [3] of ones and "c" [2] of ones in one shard, "b" [4] of twos in the other
    "merged.index": """
        H4sIAAAAAAACA2NgYONgkmLiYGRg5E/kYBRiEWLiYNbgMa3Ma1BkYBRMggqxSDBqCJgm7it7ChRMhgoyKfBocJi+eOwWyQAEjCBC
        +fr9bDjnwKeFGxgYmVIY/OBCx79/4wrmSOBjIAKE/27oVil1vw0AE7YpM6MAAAA=""",
    "merged.data-00000-of-00002": "H4sIAAAAAAACA2NgaLBnQMMAXbodWhQAAAA=",
    "merged.data-00001-of-00002": "H4sIAAAAAAACA2NgYHBgQMIAIMCLoRAAAAA=",
    "old.ckpt": """
        H4sIAAAAAAACA2NgEOcS5eLnYiwTYhFi4mCRYFRi4mIAshgZOGQZyhgYGRkb6oWkQfJAcSkhLQEGMGiwBxIOQOQA4jGCiK+s09/D
        OQc+LdzAwMjEyOAFF+r8efGMP0cMHwMRIPx3Q7dKqfttACCSdTqfAAAA""",
}
# Of _many_tensors() below, written by TensorFlow 2.21: an index of 312,313 bytes in two blocks, and its data.
MANY_SHA256 = {
    ".index": "7d24a365db896472c722658f76855dc1f150bb696e8b84cac5504a95c7fcd185",
    ".data-00000-of-00001": "e1feb71516f18a60e57169a4ab6b3630667ea218e8d5bb129abb996d1b279654",
}


@pytest.fixture
def written_by_tensorflow(tmp_path) -> Path:
    """A folder with the files above."""
    for name, packed in WRITTEN_BY_TENSORFLOW.items():
        (tmp_path / name).write_bytes(gzip.decompress(b64decode(packed)))
    return tmp_path


def _ending(prefix: Path, ending: str) -> Path:
    return Path(f"{prefix}{ending}")


def _assert_same(got, expected):
    assert list(got) == sorted(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype, name
        assert got[name].shape == array.shape, name
        assert got[name].tobytes() == np.asarray(array, order="C").tobytes(), name


def _all_kinds() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    kinds = {f"kind/{kind}": random.integers(0, 2, (3, 5)).astype(kind) for kind in bundle.DTYPE_CODES}
    return {
        **kinds,
        "scalar": np.array(1.5, np.float32),
        "zero": np.array(0, np.int64),
        "empty": np.zeros((0, 4), np.float32),
        "ünïcode/名前/😀": np.arange(6).reshape(1, 2, 3),
    }


def _many_tensors() -> dict[str, np.ndarray]:
    return {
        f"layer_{n:05d}/{'kernel' if n % 3 else 'bias/Adam'}/{'x' * (n % 40)}": np.array(
            [n, n + 1], np.int32
        )[: 1 + n % 2]
        for n in range(6000)
    }


# The original's checkpoints


@pytest.mark.shared_data
@pytest.mark.parametrize("name", GOLDEN)
def test_reads_the_recorded_weights(shared, name):
    weights = np.load(shared / "golden/tf" / f"{name}_weights.npz")
    read = read_tensors(shared / "golden/tf" / f"{name}_ckpt/model.ckpt-init", weights.files)
    assert len(weights.files) > 20
    _assert_same(read, {key: weights[key] for key in weights.files})


@pytest.mark.shared_data
@pytest.mark.parametrize("name", GOLDEN)
def test_reads_weights_slots_and_step_after_three_updates(shared, name):
    figures = np.load(shared / "golden/tf" / f"{name}.npz")
    read = read_tensors(shared / "golden/tf" / f"{name}_ckpt/model.ckpt-3")
    recorded = {key.split("/", 1)[1]: figures[key] for key in figures.files if re.match("step3(slot)?/", key)}
    step = read.pop("global_step")
    assert step == 3
    assert step.dtype == np.int64
    _assert_same({key: read[key] for key in sorted(recorded)}, recorded)
    # All that is not recorded are slots of variables without gradient, which stay at zero.
    assert not any(read[key].any() for key in read.keys() - recorded.keys())


@pytest.mark.shared_data
@pytest.mark.parametrize("checkpoint", ["model.ckpt-init", "model.ckpt-3"])
@pytest.mark.parametrize("name", GOLDEN)
def test_writes_the_bytes_tensorflow_wrote(shared, tmp_path, name, checkpoint):
    original = shared / "golden/tf" / f"{name}_ckpt" / checkpoint
    write_tensors(tmp_path / checkpoint, read_tensors(original))
    for ending in ENDINGS:
        written = _ending(tmp_path / checkpoint, ending)
        assert written.read_bytes() == _ending(original, ending).read_bytes(), ending


# Round trips


def test_round_trip_of_every_dtype_scalars_empty_arrays_and_unicode(tmp_path):
    tensors = _all_kinds()
    write_tensors(tmp_path / "made/on the way/x", tensors)
    _assert_same(read_tensors(tmp_path / "made/on the way/x"), tensors)
    assert tensor_shapes(tmp_path / "made/on the way/x") == {
        name: (tensors[name].dtype.name, tensors[name].shape) for name in sorted(tensors)
    }
    assert tensor_shapes(tmp_path / "made/on the way/x")["kind/bfloat16"] == ("bfloat16", (3, 5))


def test_what_is_read_can_be_changed(tmp_path):
    write_tensors(tmp_path / "x", {"a": np.ones(3, ml_dtypes.bfloat16)})
    read = read_tensors(tmp_path / "x")["a"]
    read += 1
    assert read.tolist() == [2, 2, 2]


def test_several_blocks_as_tensorflow_writes_them(tmp_path):
    tensors = _many_tensors()
    write_tensors(tmp_path / "x", dict(reversed(tensors.items())))
    for ending, digest in MANY_SHA256.items():
        assert hashlib.sha256(_ending(tmp_path / "x", ending).read_bytes()).hexdigest() == digest
    _assert_same(read_tensors(tmp_path / "x"), tensors)


def test_only_the_tensors_asked_for(tmp_path):
    tensors = {"b": np.ones(2, np.float32), "a": np.zeros(3, np.int64), "c": np.ones(1, np.float16)}
    write_tensors(tmp_path / "x", tensors)
    _assert_same(read_tensors(tmp_path / "x", ["c", "a"]), {"a": tensors["a"], "c": tensors["c"]})
    assert read_tensors(tmp_path / "x", []) == {}


def test_no_tensors_at_all(tmp_path):
    write_tensors(tmp_path / "x", {})
    assert read_tensors(tmp_path / "x") == tensor_shapes(tmp_path / "x") == {}


def test_order_in_memory_does_not_matter(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    other = {
        "columns first": np.asfortranarray(array),
        "part": array[:, ::2],
        "big-endian": array.astype(">f4"),
    }
    write_tensors(tmp_path / "x", other)
    read = read_tensors(tmp_path / "x")
    for name, expected in {"columns first": array, "part": array[:, ::2], "big-endian": array}.items():
        np.testing.assert_array_equal(read[name], expected)
        assert read[name].dtype == np.float32


def test_an_older_checkpoint_is_replaced(tmp_path):
    write_tensors(tmp_path / "x", {"a": np.ones(100)})
    write_tensors(tmp_path / "x", {"b": np.ones(2)})
    _assert_same(read_tensors(tmp_path / "x"), {"b": np.ones(2)})
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"x{ending}" for ending in sorted(ENDINGS)]


def test_several_data_files(written_by_tensorflow):
    expected = {"a": np.ones(3, np.float32), "b": np.full(4, 2, np.float32), "c": np.ones(2, np.float32)}
    _assert_same(read_tensors(written_by_tensorflow / "merged"), expected)


def test_prefixes(tmp_path):
    write_tensors(tmp_path / "model.ckpt-3", {})
    assert is_checkpoint_prefix(tmp_path / "model.ckpt-3")
    assert not is_checkpoint_prefix(tmp_path / "model.ckpt")
    assert not is_checkpoint_prefix(tmp_path / "model.ckpt-3.index")
    assert not is_checkpoint_prefix(tmp_path)


@pytest.mark.parametrize(
    ("start", "limit", "between"),
    [(b"abcd", b"abzz", b"abd"), (b"abc", b"abd", b"abc"), (b"ab", b"abc", b"ab"), (b"a\xff", b"c", b"b")],
)
def test_keys_between_blocks(start, limit, between):
    assert sstable.separator(start, limit) == between
    assert start <= between < limit


# What is refused


def _refusal(call, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("call", [tensor_shapes, read_tensors])
def test_nothing_at_the_prefix(tmp_path, call):
    message = _refusal(call, tmp_path / "no folder/model.ckpt")
    assert "there is no file" in message
    assert "model.ckpt.index" in message
    write_tensors(tmp_path / "model.ckpt-7", {})
    assert f"such as {tmp_path}/model.ckpt-7" in _refusal(call, tmp_path / "model.ckpt")
    assert "is a folder: give the prefix" in _refusal(call, tmp_path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_instead_of_the_prefix(tmp_path, ending):
    write_tensors(tmp_path / "model.ckpt", {"a": np.ones(2)})
    message = _refusal(read_tensors, _ending(tmp_path / "model.ckpt", ending))
    assert message.endswith(f"give its prefix, {tmp_path}/model.ckpt")


def test_not_a_checkpoint(tmp_path):
    (tmp_path / "x.index").write_bytes(b"a table of contents, of something else altogether " * 3)
    assert "is not the index of a TensorFlow checkpoint" in _refusal(tensor_shapes, tmp_path / "x")
    (tmp_path / "x.index").write_bytes(b"")
    assert "is not the index of a TensorFlow checkpoint" in _refusal(tensor_shapes, tmp_path / "x")


def test_an_old_checkpoint(written_by_tensorflow):
    single = written_by_tensorflow / "old.ckpt"
    assert not is_checkpoint_prefix(single)
    assert "of the old kind (V1, without index)" in _refusal(tensor_shapes, single)
    single.rename(written_by_tensorflow / "sharded.ckpt-00000-of-00001")
    assert "of the old kind" in _refusal(read_tensors, written_by_tensorflow / "sharded.ckpt")


@pytest.mark.parametrize(
    ("kind", "expected"), [(1, "compressed with Snappy"), (9, "compression of unknown kind 9")]
)
def test_compressed_blocks(tmp_path, kind, expected):
    write_tensors(tmp_path / "x", {"a": np.ones(2)})
    index = bytearray((tmp_path / "x.index").read_bytes())
    # The first block ends where the empty block of 8 bytes begins.
    end = index.index(struct.pack("<II", 0, 1) + b"\0\xc0\xf2\xa1\xb0") - sstable.BLOCK_TRAILER_BYTES
    index[end] = kind
    index[end + 1 : end + 5] = struct.pack("<I", sstable.masked_crc(bytes(index[: end + 1])))
    (tmp_path / "x.index").write_bytes(index)
    assert expected in _refusal(tensor_shapes, tmp_path / "x")


def test_missing_data_file(written_by_tensorflow):
    (written_by_tensorflow / "merged.data-00001-of-00002").unlink()
    assert list(read_tensors(written_by_tensorflow / "merged", ["a", "c"])) == ["a", "c"]
    message = _refusal(read_tensors, written_by_tensorflow / "merged")
    assert "merged.data-00001-of-00002 is missing: copy all data files" in message


def test_data_file_cut_short(tmp_path):
    write_tensors(tmp_path / "x", {"first": np.ones(4), "second": np.ones(4)})
    data = tmp_path / "x.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    assert list(read_tensors(tmp_path / "x", ["first"])) == ["first"]
    assert "is cut short: tensor second ends at byte 64 and the file at 63" in _refusal(
        read_tensors, tmp_path / "x"
    )


def test_wrong_checksum_names_the_tensor(tmp_path):
    write_tensors(tmp_path / "x", {"first": np.ones(4), "second": np.ones(4)})
    data = tmp_path / "x.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[40] ^= 1
    data.write_bytes(content)
    assert list(read_tensors(tmp_path / "x", ["first"])) == ["first"]
    assert "the checksum of tensor second is wrong" in _refusal(read_tensors, tmp_path / "x")


def test_partitioned_variables(written_by_tensorflow):
    prefix = written_by_tensorflow / "sliced"
    assert tensor_shapes(prefix) == {"part": ("float32", (4, 2)), "whole": ("float32", (1,))}
    _assert_same(read_tensors(prefix, ["whole"]), {"whole": np.ones(1, np.float32)})
    assert "tensor part of" in (message := _refusal(read_tensors, prefix))
    assert "is partitioned into slices, which are not read" in message


def test_names_that_are_not_there(tmp_path):
    write_tensors(tmp_path / "x", {f"layer_{n}": np.ones(1) for n in range(9)})
    message = _refusal(read_tensors, tmp_path / "x", ["layer_3", "layer_9", "dense"])
    assert "has no dense, layer_9:" in message
    assert "layer_0, layer_1, layer_2, layer_3, layer_4 and 4 more" in message


def test_strings_are_listed_and_not_read(tmp_path):
    entry = protobuf_fields.encode_number(1, 7) + protobuf_fields.encode_bytes(2, b"")
    table = sstable.encode_table([(b"", bundle._encode_header(num_shards=1)), (b"graph", entry)])
    (tmp_path / "x.index").write_bytes(table)
    assert tensor_shapes(tmp_path / "x") == {"graph": ("string", ())}
    assert "tensor graph" in (message := _refusal(read_tensors, tmp_path / "x"))
    assert "of type string, which is not read" in message


@pytest.mark.parametrize("name", ["", "\0x"])
def test_tensors_without_a_name_are_not_written(tmp_path, name):
    assert "cannot be named" in _refusal(write_tensors, tmp_path / "x", {name: np.ones(1)})


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.array([0], "datetime64[s]")])
def test_other_dtypes_are_not_written(tmp_path, array):
    assert "tensor a has dtype" in _refusal(write_tensors, tmp_path / "x", {"a": array})
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_index_is_noticed_wherever_the_damage_is(tmp_path):
    """Any byte changed, any end missing: one sentence, or (in the padding) the right tensors."""
    tensors = {"a": np.ones(2), "ab/c": np.ones((2, 3), np.float32)}
    write_tensors(tmp_path / "x", tensors)
    index = (tmp_path / "x.index").read_bytes()
    unnoticed = []
    for position in range(len(index)):
        for damaged in (
            index[:position],
            index[:position] + bytes([index[position] ^ 0x81]) + index[position + 1 :],
        ):
            (tmp_path / "x.index").write_bytes(damaged)
            try:
                read = read_tensors(tmp_path / "x")
            except UserError:
                continue
            unnoticed.append(position)
            _assert_same(read, tensors)
    # Bytes that nobody reads: the block about the table (13 with its trailer), and most of the footer.
    assert len(unnoticed) <= 13 + sstable.FOOTER_BYTES


HEADER, SIZE_TOO_SMALL = (
    bundle._encode_header(num_shards=1),
    protobuf_fields.encode_number(1, 1) + protobuf_fields.encode_number(5, 2),
)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([(b"", HEADER + protobuf_fields.encode_number(2, 1))], "is damaged (big-endian data)"),
        ([(b"a", SIZE_TOO_SMALL)], "is damaged (no header)"),
        ([(b"", protobuf_fields.encode_bytes(1, b"1"))], "is damaged (a number of data files that is none)"),
        (
            [(b"", protobuf_fields.encode_number(1, 1 << 60))],
            "is damaged (a number of data files that is none)",
        ),
        ([(b"", HEADER), (b"a", SIZE_TOO_SMALL)], "is damaged: it gives tensor a 2 bytes"),
        ([(b"", HEADER), (b"a", b"\x0b")], "is damaged (wire type 3)"),
    ],
)
def test_an_index_that_makes_no_sense(tmp_path, entries, expected):
    (tmp_path / "x.index").write_bytes(sstable.encode_table(entries))
    assert f"x.index {expected}" in _refusal(read_tensors, tmp_path / "x")


def _entry(**changes) -> bytes:
    values = {
        "dtype": "float32",
        "shape": (2,),
        "shard": 0,
        "offset": 0,
        "size": 8,
        "crc": 0,
        "sliced": False,
    }
    return bundle._encode_entry(bundle._Entry(**{**values, **changes}))


def _message(number: int, value: int) -> bytes:
    return protobuf_fields.encode_varint(number << 3) + protobuf_fields.encode_varint(value)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (_message(1, 1) + b"\x28" + b"\xff" * 100_000 + b"\x01", "a number of more than 64 bits"),
        (_message(1, 1) + protobuf_fields.encode_bytes(5, b"8"), "a number that is none"),
        (protobuf_fields.encode_bytes(1, b"1"), "a number that is none"),
        (_message(1, 1) + b"\x12\xff\xff\x03", "a message that is cut short"),
        (_entry(shape=(0, 1 << 60, 1 << 60), size=0), "gives tensor a 0 bytes"),
        (_entry(shape=(1,) * 70, size=4), "gives tensor a 4 bytes"),
        (
            _message(1, 1)
            + protobuf_fields.encode_bytes(2, protobuf_fields.encode_bytes(2, _message(1, 2**64 - 1))),
            "gives tensor",
        ),
    ],
)
def test_an_entry_that_makes_no_sense(tmp_path, entry, expected):
    (tmp_path / "x.index").write_bytes(sstable.encode_table([(b"", HEADER), (b"a", entry)]))
    (tmp_path / "x.data-00000-of-00001").write_bytes(b"\0" * 8)
    assert expected in _refusal(read_tensors, tmp_path / "x")


def test_tensors_in_one_another(tmp_path):
    crc = sstable.masked_crc(bytes(8))
    (tmp_path / "x.data-00000-of-00001").write_bytes(bytes(16))
    for count, fine in ((2, True), (3, False)):
        entries = [(b"", HEADER), *((f"t{n}".encode(), _entry(crc=crc)) for n in range(count))]
        (tmp_path / "x.index").write_bytes(sstable.encode_table(entries))
        if fine:
            assert len(read_tensors(tmp_path / "x")) == 2
        else:
            assert "has 16 bytes, and its index finds tensors of 24 in it" in _refusal(
                read_tensors, tmp_path / "x"
            )


def _table_of(block: bytes, times: int) -> bytes:
    """A table whose index finds the same block over and over."""
    table = bytearray()
    handle = sstable.append_block(table, block)
    index = sstable.BlockBuilder(1)
    for number in range(times):
        index.add(f"{number:06}".encode(), handle)
    handles = sstable.append_block(table, sstable.BlockBuilder(1).finish())
    handles += sstable.append_block(table, index.finish())
    return (
        bytes(table) + handles.ljust(sstable.FOOTER_BYTES - 8, b"\0") + struct.pack("<Q", sstable.TABLE_MAGIC)
    )


def test_tables_that_unfold(tmp_path):
    """Small files that would be read as gigabytes."""
    block = sstable.BlockBuilder(16)
    block.add(b"", HEADER)
    for number in range(10_000):
        block.add(f"{number:06}".encode(), b"")
    (tmp_path / "x.index").write_bytes(_table_of(block.finish(), 10_000))
    assert "its blocks hold more than the file" in _refusal(tensor_shapes, tmp_path / "x")
    block = sstable.BlockBuilder(1 << 30)
    for number in range(20_000):  # each name has one letter more than the one before
        block.add(b"x" * number, b"")
    (tmp_path / "x.index").write_bytes(_table_of(block.finish(), 1))
    assert "a name that is too long" in _refusal(tensor_shapes, tmp_path / "x")


def test_names_that_are_too_long_together(tmp_path, monkeypatch):
    write_tensors(tmp_path / "x", {f"a/name/{n}": np.zeros(1) for n in range(10)})
    assert len(read_tensors(tmp_path / "x")) == 10
    monkeypatch.setattr(bundle, "MAX_NAMES_BYTES", 50)
    assert "names of tensors that are too long" in _refusal(tensor_shapes, tmp_path / "x")


def test_a_block_behind_the_end(tmp_path):
    footer = (
        protobuf_fields.encode_varint(0) * 2
        + protobuf_fields.encode_varint(10)
        + protobuf_fields.encode_varint(1000)
    )
    content = footer.ljust(40, b"\0") + struct.pack("<Q", sstable.TABLE_MAGIC)
    (tmp_path / "x.index").write_bytes(content)
    assert "is damaged (a block ends behind the end of the file)" in _refusal(tensor_shapes, tmp_path / "x")


# TensorFlow itself


@pytest.mark.parametrize("tensors", [_all_kinds(), _many_tensors()], ids=["kinds", "many"])
def test_both_ways_with_tensorflow(tmp_path, tensors):
    tf = pytest.importorskip("tensorflow")
    write_tensors(tmp_path / "ours", tensors)
    reader = tf.train.load_checkpoint(str(tmp_path / "ours"))
    assert reader.get_variable_to_shape_map() == {name: [*array.shape] for name, array in tensors.items()}
    _assert_same({name: np.asarray(reader.get_tensor(name)) for name in sorted(tensors)}, tensors)

    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "theirs"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tensors[name] for name in names],
    )
    _assert_same(read_tensors(tmp_path / "theirs"), tensors)
    for ending in ENDINGS:
        theirs = _ending(tmp_path / "theirs", ending).read_bytes()
        assert _ending(tmp_path / "ours", ending).read_bytes() == theirs, ending
