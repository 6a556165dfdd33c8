"""FLOPs of the matrix products that a traced program really holds, recomputed ones included."""

import math
from collections.abc import Iterator
from typing import Any


def product_flops(jaxpr: Any) -> float:
    """Return 2 × multiply-adds of every ``dot_general``.

    The body of a scan counts as often as it runs; of a cond the dearest branch counts. Products inside hand-written
    kernels are counted once for each step of the kernel that the program text shows, which is too few; compare with
    `training.flops.train_step_flops`.
    """
    total = 0.0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            left = eqn.invars[0].aval.shape
            total += 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)
        repeats = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        together = max if eqn.primitive.name == "cond" else sum  # one of a cond's branches runs
        for value in eqn.params.values():
            if inner := [product_flops(inner) for inner in _inner(value)]:
                total += repeats * together(inner)
    return total


def _inner(value: Any) -> Iterator[Any]:
    for item in value if isinstance(value, (tuple, list)) else [value]:
        if hasattr(item, "jaxpr"):
            yield item.jaxpr
        elif hasattr(item, "eqns"):
            yield item
