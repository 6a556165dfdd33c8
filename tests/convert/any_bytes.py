"""Any bytes to every reader of foreign checkpoints: a result or one sentence. Run as a program, in bounded memory.

    python any_bytes.py [EXAMPLES]

One line a reader on standard output: its name and "held", or what it raised and for which bytes.
"""

import io
import json
import pickle
import resource
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from flax.serialization import msgpack_serialize
from huggingface_folder import words
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from torch_files import dictionary_ops, tensor_ops, write

from electra_jax.convert.files import sstable
from electra_jax.convert.files import tensorflow_bundle as bundle
from electra_jax.convert.huggingface_folder import read_settings, read_settings_of_two
from electra_jax.convert.huggingface_heads import detect_head
from electra_jax.convert.tensorflow_format import find_prefix
from electra_jax.convert.vocabulary import find_tokenizer
from electra_jax.convert.weight_files import read_file, read_folder
from electra_jax.errors import MAX_MESSAGE_LENGTH, UserError, one_line

MAX_MEMORY = 1 << 30  # beyond what the process has when it begins
MAX_SECONDS = 300  # of processor time, for all
LARGE = [0, 1, 127, 128, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]

_edit = st.tuples(
    st.sampled_from(["flip", "set", "cut", "insert", "repeat", "number", "digit", "end"]),
    st.integers(0, 2**16),
    st.integers(0, 255),
)


def edited(content: bytes, edits) -> bytes:
    """The bytes after a few mistakes of transport, and a few of malice."""
    made = bytearray(content)
    for what, where, value in edits:
        at = where % max(1, len(made))
        if what == "flip" and made:
            made[at] ^= 1 << value % 8
        elif what == "set" and made:
            made[at] = value
        elif what == "cut":
            del made[at : at + 1 + value % 16]
        elif what == "insert":
            made[at:at] = bytes([value])
        elif what == "repeat":
            made[at:at] = bytes(made[at : at + 32]) * (value % 64)
        elif what == "number":
            width = 2 ** (value % 4)
            made[at : at + width] = (LARGE[value % len(LARGE)] % 256**width).to_bytes(width, "little")
        elif what == "digit":
            digits = [place for place, byte in enumerate(made) if 48 <= byte < 58] or [0]
            odd = [b"-1", b"1e400", b"9" * 5000, b'"2"', b"null", b"[]", b"100000000000000", b"true"]
            made[digits[at % len(digits)] : digits[at % len(digits)] + 1] = odd[value % len(odd)]
        elif what == "end":
            del made[at:]
    return bytes(made)


def mistaken(content: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with mistakes, or any bytes at all."""
    edits = st.lists(_edit, min_size=1, max_size=8)
    return edits.map(lambda some: edited(content, some)) | st.binary(max_size=300)


def _torch(layout: str, state: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "w.bin", layout, state, {"7": np.arange(6, dtype=np.float32)})
        return (Path(folder) / "w.bin").read_bytes()


_TENSOR = {legacy: tensor_ops("Float", "7", 6, 0, (2, 3), (3, 1), legacy) for legacy in (False, True)}
_STATE = {legacy: dictionary_ops({"w": tensor}) for legacy, tensor in _TENSOR.items()}
_TRAINER = b"}(" + pickle.dumps("model", 2)[2:-1] + _STATE[False] + pickle.dumps("step", 2)[2:-1] + b"K\x03u"


def _zip_of(state: bytes) -> bytes:
    """A whole zip file, so that what is wrong is in the pickle."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("model/data.pkl", state)
        archive.writestr("model/data/7", bytes(24))
    return made.getvalue()


# What pickles are made of, in any order: words of the machine, with and without arguments.
_WORDS = [
    *(bytes([code]) for code in b"(.012NQRabdel)]}ostu\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94"),
    *(
        b"K\x01",
        b"q\x00",
        b"h\x00",
        b"X\x01\x00\x00\x00w",
        b"J\xff\xff\xff\x7f",
        b"G" + b"\x7f\xf8" + b"\0" * 6,
    ),
    *(b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"),
    *(b"cos\nsystem\n", b"\x8b\x04\0\0\0\xff\xff\xff\x7f", b"\x8a\x08" + b"\x7f" * 8, b"r\xff\xff\xff\x7f"),
    *(b"C\x01\xff", b"U\x01\xff", b"I01\n", b"L9L\n", b"S'w'\n", b"Vw\n", b"g0\n", b"p0\n", _TENSOR[False]),
]
_pickles = st.lists(st.sampled_from(_WORDS), max_size=40).map(b"".join)


def _index(folder: Path) -> bytes:
    bundle.write_tensors(
        folder / "x", {"a": np.ones((2, 3), np.float32), "b/c": np.ones(2), "d": np.int64(3)}
    )
    return (folder / "x.index").read_bytes()


def _index_of(written: bytes) -> st.SearchStrategy[bytes]:
    """Indices with the right checksums, so that what is wrong is in their entries."""
    entries = list(sstable.decode_table(written))
    one = st.tuples(st.sampled_from(entries), st.lists(_edit, max_size=4), st.lists(_edit, max_size=1))
    wrong = one.map(lambda some: (edited(some[0][0], some[2]), edited(some[0][1], some[1])))
    return st.lists(wrong, max_size=4).map(
        lambda some: sstable.encode_table(sorted({**dict(entries), **dict(some)}.items()))
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(LARGE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _json_of(written: dict) -> st.SearchStrategy[bytes]:
    """An object in which some values are replaced by any others."""
    changes = st.dictionaries(st.sampled_from(sorted(written)), _JSON, max_size=4)
    return changes.map(lambda some: json.dumps({**written, **some}).encode())


_SIZES = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "max_position_embeddings": 16}
_CONFIG = {
    "model_type": "electra",
    **_SIZES,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "is_decoder": False,
}
_LABELS = {
    "num_labels": 2,
    "id2label": {"0": "a", "1": "b"},
    "null_score_diff_threshold": 0.5,
    "problem_type": "x",
}
_TWO = {"model_type": "encoder-decoder", "decoder_start_token_id": 2, "max_length": 9}
_DECODER = {**_CONFIG, "is_decoder": True, "add_cross_attention": True, "cross_attention_hidden_size": None}
_HEAD = {"classifier.out_proj.weight": np.ones((2, 3), np.float32)}
_FAST = {
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "BertNormalizer", "lowercase": True}]},
    "model": {
        "type": "WordPiece",
        "continuing_subword_prefix": "##",
        "vocab": {w: n for n, w in enumerate(words(9))},
    },
}
_TOKENIZER = {
    "do_lower_case": True,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "tokenizer_class": "x",
}
_SHARDS = {"metadata": {"total_size": 3}, "weight_map": {"a": "s.safetensors", "b": "s.safetensors"}}
_TREE = {
    "electra": {"embeddings": {"word_embeddings": {"embedding": np.ones((3, 2), np.float32)}}},
    "step": 3,
}


def _two() -> st.SearchStrategy[bytes]:
    """The description of an encoder and a decoder, with some values of each replaced."""
    parts = st.tuples(_json_of(_TWO), _json_of(_CONFIG), _json_of(_DECODER))
    return parts.map(lambda some: b'{%s, "encoder": %s, "decoder": %s}' % (some[0][1:-1], some[1], some[2]))


def _head(folder: Path) -> None:
    detect_head(read_settings(folder), _HEAD, "config.json")


def readers(folder: Path) -> dict[str, tuple[str, st.SearchStrategy[bytes], Callable[[Path], object]]]:
    """Name → (file, what is in it, what reads it)."""
    small = {"a": np.ones((2, 3), np.float32), "b": np.ones(2, np.float16)}
    (folder / "s.safetensors").write_bytes(save(small))
    index = _index(folder)
    data = (folder / "x.data-00000-of-00001").read_bytes()
    header = save(small)
    begin = 8 + int.from_bytes(header[:8], "little")
    headers = st.lists(_edit, max_size=6).map(lambda some: edited(header[8:begin], some))
    framed = headers.map(lambda head: len(head).to_bytes(8, "little") + head + header[begin:])
    states = mistaken(_STATE[False]) | mistaken(_TRAINER) | _pickles

    def whole(file: str) -> Callable[[Path], object]:
        return lambda where: read_file(where / file)

    found = {
        "torch zip": ("w.bin", states.map(_zip_of) | mistaken(_torch("zip", _STATE[False])), whole("w.bin")),
        "torch legacy": ("w.bin", mistaken(_torch("legacy", _STATE[True])), whole("w.bin")),
        "safetensors": ("w.safetensors", framed | mistaken(header), whole("w.safetensors")),
        "flax": ("w.msgpack", mistaken(msgpack_serialize(_TREE)), whole("w.msgpack")),
        "tensorflow index": (
            "x.index",
            _index_of(index) | mistaken(index),
            lambda w: bundle.read_tensors(w / "x"),
        ),
        "tensorflow data": ("x.data-00000-of-00001", mistaken(data), lambda w: bundle.read_tensors(w / "x")),
        "tensorflow state": ("checkpoint", mistaken(b'model_checkpoint_path: "x"\n'), find_prefix),
        "index.json": (
            "model.safetensors.index.json",
            _json_of(_SHARDS) | mistaken(json.dumps(_SHARDS).encode()),
            read_folder,
        ),
        "config.json": (
            "config.json",
            _json_of({**_CONFIG, **_LABELS}) | mistaken(json.dumps(_CONFIG).encode()),
            _head,
        ),
        "config.json of two": (
            "config.json",
            _two() | mistaken(json.dumps({**_TWO, "encoder": _CONFIG, "decoder": _DECODER}).encode()),
            read_settings_of_two,
        ),
        "vocab.txt": (
            "vocab.txt",
            mistaken("\n".join(words(9)).encode()),
            lambda where: find_tokenizer(where, where / "vocab.txt"),
        ),
        "tokenizer_config.json": (
            "tokenizer_config.json",
            _json_of(_TOKENIZER) | mistaken(json.dumps(_TOKENIZER).encode()),
            lambda where: find_tokenizer(where, None),
        ),
        "tokenizer.json": (
            "tokenizer.json",
            _json_of(_FAST) | mistaken(json.dumps(_FAST).encode()),
            lambda where: find_tokenizer(where, None),
        ),
    }
    return found


def _property(path: Path, contents: st.SearchStrategy[bytes], read: Callable[[Path], object], examples: int):
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(contents)
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        try:
            read(path.parent)
        except UserError as error:
            text = str(error)
            assert text.isprintable() and 10 < len(text) <= MAX_MESSAGE_LENGTH, text  # noqa: PT018

    return holds


def main(examples: int) -> None:
    """Tries every reader."""
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    most = pages * resource.getpagesize() + 2 * MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    with tempfile.TemporaryDirectory() as place:
        names = list(readers(Path(place)))
    for name in names:
        with tempfile.TemporaryDirectory() as place:
            file, contents, read = readers(Path(place))[name]
            try:
                _property(Path(place) / file, contents, read, examples)()
            except Exception as error:
                print(one_line(f"{name}: {type(error).__name__} {error} {getattr(error, '__notes__', '')}"))
                continue
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - begin
        print(f"{name}: held" if grown < MAX_MEMORY else f"{name}: took {grown >> 20} MB", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
