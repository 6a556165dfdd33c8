"""What a file that is no text probably is, by how it begins."""

from __future__ import annotations

_MAGIC_BYTES = (
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
    (b"BZh", "compressed with bzip2"),
    (b"\x04\x22\x4d\x18", "compressed with LZ4"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF", "a PDF"),
    (b"PAR1", "Parquet"),
    (b"ARROW1", "Arrow"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89HDF", "HDF5"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"\xd0\xcf\x11\xe0", "an old Word or Excel document"),
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
SIGNATURE_BYTES = 512
_TAR_AT = 257


def guess_kind(head: bytes) -> str | None:
    """Return what a file most likely is, None where its first bytes do not say.

    Args:
        head: its first bytes; `SIGNATURE_BYTES` are enough.
    """
    for beginning, kind in _MAGIC_BYTES:
        if head.startswith(beginning):
            return kind
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return "a tar archive"
    even, odd = head[: len(head) // 2 * 2 : 2], head[1::2]
    # Of text in Latin letters every second byte is zero.
    if len(odd) > 1 and max(even.count(0), odd.count(0)) > 0.6 * len(odd) > 2 * min(
        even.count(0), odd.count(0)
    ):
        return "UTF-16"
    return None
