"""Where two tensors differ, in words."""

import numpy as np


def first_difference(one: np.ndarray, other: np.ndarray) -> str:
    """Return where two tensors differ, in words; "" if every bit is the same.

    −0.0 is not 0.0, and NaN is itself.
    """
    if one.shape != other.shape or one.dtype != other.dtype:
        return (
            f"in shape or type ({shape_text(one.shape)} {one.dtype}, {shape_text(other.shape)} {other.dtype})"
        )
    a, b = (np.ascontiguousarray(array).reshape(-1) for array in (one, other))
    if np.array_equal(a.view(np.uint8), b.view(np.uint8)):
        return ""
    bits = f"u{one.dtype.itemsize}" if one.dtype.itemsize in (1, 2, 4, 8) else None
    differ = a.view(bits) != b.view(bits) if bits else a != b
    place = int(np.argmax(differ))
    where = ", ".join(map(str, np.unravel_index(place, one.shape)))
    return f"at [{where}]: {a[place]} and {b[place]}"


def shape_text(shape: tuple[int, ...]) -> str:
    """Return ``2 x 3``, or that it is a scalar."""
    return " x ".join(map(str, shape)) or "a scalar"
