"""The machine's peak in float32 matrix products: one large product, by the compiler that everything here uses."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from benchmarks.step import PEAK_SIZE


def start() -> Callable[[int], None]:
    """Return a function that multiplies two square matrices ``n`` times."""
    left = jax.random.normal(jax.random.key(0), (PEAK_SIZE, PEAK_SIZE))
    product = jax.jit(jnp.matmul)

    def run(steps: int) -> None:
        for _ in range(steps):
            product(left, left).block_until_ready()

    return run
