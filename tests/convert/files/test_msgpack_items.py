"""Values of a msgpack file are counted as the library makes them, without making them."""

import msgpack
import numpy as np
import pytest
from flax.serialization import msgpack_serialize

from electra_jax.convert.files.flax_weights import read_flax_weights
from electra_jax.convert.files.msgpack_items import has_more_items
from electra_jax.errors import UserError

VALUES = {
    "scalars": ([None, True, 1, -1, 200, 70_000, -70_000, 2**40, -(2**40), 1.5, -130], 12),
    "texts": (["", "a" * 31, "b" * 32, "c" * 300, "d" * 70_000], 6),
    "bytes": ([b"", b"x" * 300, b"\x80" * 70_000], 4),
    "containers": ({"a": [{}, [], [1] * 20, [2] * 70_000], "b": {str(n): n for n in range(20)}}, 70_069),
    "an extension of a map": (msgpack.ExtType(3, msgpack.packb({"a": 1})), 4),
    "a long extension": (msgpack.ExtType(3, msgpack.packb(["x" * 300] * 3)), 5),
    "a short extension": (msgpack.ExtType(3, b"\x93\xc0\xc0\xc0"), 5),
}


@pytest.mark.parametrize("name", VALUES)
def test_how_many_there_are(name):
    value, count = VALUES[name]
    content = msgpack.packb(value)
    assert has_more_items(content, count - 1)
    assert not has_more_items(content, count)


def test_a_small_file_of_many_values_is_refused(tmp_path):
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(b"\x81\xa1a\xdd" + (2_000_000).to_bytes(4, "big") + b"\x80" * 2_000_000)
    with pytest.raises(UserError, match="holds more than 1,000,000 values beside its arrays"):
        read_flax_weights(path)
    path.write_bytes(
        msgpack_serialize({"a": np.zeros(2_000_000, np.float32), "b": {"kernel": np.ones((2, 3))}})
    )
    assert list(read_flax_weights(path)[0]) == ["a", "b.weight"]
