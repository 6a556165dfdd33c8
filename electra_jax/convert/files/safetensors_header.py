"""The header of a safetensors file, checked before the library reads the file.

The library takes the last of two tensors with one name, and fails with errors of its own for types that NumPy lacks.
"""

from pathlib import Path

from electra_jax.errors import UserError
from electra_jax.files.json_files import parse_json
from electra_jax.files.regular_files import open_regular

# A header takes about 100 bytes per tensor.
MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 100_000
_READABLE = {
    "F64",
    "F32",
    "F16",
    "BF16",
    "C64",
    "BOOL",
    *(f"{kind}{bits}" for kind in "IU" for bits in (8, 16, 32, 64)),
}


def check_header(path: Path) -> None:
    """Refuse what the library would read wrongly, or fail on with an error of its own.

    Whatever else is wrong, such as a truncated file, the library reports itself.

    Raises:
        UserError: a header, type or size that is not what the format says.
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= MAX_HEADER_BYTES else b""
    if not header.startswith(b"{") or len(header) < length:
        return
    described = parse_json(header, f"{path} (its header)", "it is damaged, download it again")
    if len(described) > MAX_TENSORS:
        raise UserError(f"{path} holds {len(described):,} tensors, more than any model: download it again")
    for name, tensor in described.items():
        kind = tensor.get("dtype") if isinstance(tensor, dict) else None
        if name != "__metadata__" and isinstance(kind, str) and kind not in _READABLE:
            raise UserError(
                f"{path}: {name} is of type {kind}, which is not read: give the original weights, not quantised ones"
            )
