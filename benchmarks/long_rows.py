"""What long rows cost with and without local attention: `python -m benchmarks.long_rows`.

Whole training steps of masked-language modelling on one row, blocked attention: temporaries as the compiler counts
them, and processor time of all threads, the median of some steps. A layer in three is global, as in ModernBERT.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any, cast

import jax
import numpy as np

from electra_jax import cli
from electra_jax.config import Config
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.planning.compiling import StandInTokenizer
from electra_jax.training.program import build_program

VOCABULARY = 1000


def long_row_config(length: int, window: int | None) -> Config:
    """Three layers of 64 with two heads; ``window`` None is global attention in each."""
    return Config.model_validate(
        {
            "objective": {"kind": "masked_lm"},
            "data": {"sequence_length": length},
            "model": {
                "block": "modern",
                "hidden_size": 64,
                "num_layers": 3,
                "num_heads": 2,
                "max_positions": length,
                "local_attention": {"window": window},
            },
            "train": {"batch_size": 1},
            "compute": {"attention": "blocked"},
        }
    )


def measure(config: Config, runs: int) -> tuple[float, float]:
    """Return megabytes of temporaries, and the median of processor seconds of a step."""
    program = build_program(config, StandInTokenizer(VOCABULARY), make_mesh(config.mesh, jax.devices()[:1]))
    ids = np.random.default_rng(0).integers(5, VOCABULARY, (1, config.data.sequence_length), np.int32)
    ids[:, 0] = 2  # [CLS]: one document
    with program.on_mesh():
        state, batch = program.init(), program.to_global_batch(ids)
        step = cast(Any, program.train_step).lower(state, batch).compile()
        seconds = []
        for _ in range(1 + runs):  # the first is not counted
            started = time.process_time()
            state, _ = step(state, batch, cast(Any, program.train_step).seed)
            jax.block_until_ready(state)
            seconds.append(time.process_time() - started)
    return step.memory_analysis().temp_size_in_bytes / 1e6, statistics.median(seconds[1:])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_rows", description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 8192], help="tokens of a row")
    parser.add_argument("--window", type=int, default=128, help="of local layers")
    parser.add_argument("--runs", type=int, default=3, help="steps of which the median is taken")
    args = parser.parse_args(argv)
    print(f"{'tokens':>8}  {'window':>8}  {'MB':>8}  {'CPU s':>8}")
    for length in args.lengths:
        for window in (None, args.window):
            megabytes, seconds = measure(long_row_config(length, window), args.runs)
            print(f"{length:>8}  {window or 'none':>8}  {megabytes:>8.1f}  {seconds:>8.2f}", flush=True)
    return 0


if __name__ == "__main__":
    cli.run(main)
