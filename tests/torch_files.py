"""Files as torch.save writes them, out of single instructions of a pickle."""

import pickle
import struct
import zipfile

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C


def ops(value) -> bytes:
    """The opcodes that push a plain value."""
    return pickle.dumps(value, 2)[2:-1]


def tensor_ops(kind, key, numel, offset, size, stride, legacy, parameter=False) -> bytes:
    storage = b"(" + ops("storage") + f"ctorch\n{kind}Storage\n".encode() + ops(key) + ops("cpu") + ops(numel)
    storage += b"NtQ" if legacy else b"tQ"
    shape = ops(offset) + ops(tuple(size)) + ops(tuple(stride))
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + shape + b"\x89ccollections\nOrderedDict\n)RtR"
    )
    if parameter:
        tensor = b"ctorch._utils\n_rebuild_parameter\n(" + tensor + b"\x88ccollections\nOrderedDict\n)RtR"
    return tensor


def dictionary_ops(entries: dict[str, bytes]) -> bytes:
    """An OrderedDict with a ``_metadata`` attribute, as `Module.state_dict` returns it."""
    items = b"".join(ops(name) + tensor for name, tensor in entries.items())
    return b"ccollections\nOrderedDict\n)R(" + items + b"u" + ops({"_metadata": {"": {"version": 1}}}) + b"b"


def write(path, layout, state: bytes, storages: dict[str, np.ndarray], **machine):
    """The bytes that torch.save writes, given the opcodes of the dictionary."""
    state = b"\x80\x02" + state + b"."
    if layout == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model/data.pkl", state)
            archive.writestr("model/byteorder", machine.get("byteorder", "little"))
            for key, array in storages.items():
                archive.writestr(f"model/data/{key}", array.tobytes())
            archive.writestr("model/version", "3\n")
        return
    sizes = {"short": 2, "int": 4, "long": 4}
    little = machine.get("byteorder", "little") == "little"
    head = [MAGIC, 1001, {"protocol_version": 1001, "little_endian": little, "type_sizes": sizes}]
    body = b"".join(struct.pack("<q", a.size) + a.tobytes() for a in storages.values())
    content = b"".join(pickle.dumps(v, 2) for v in head) + state + pickle.dumps([*storages], 2) + body
    path.write_bytes(content)
