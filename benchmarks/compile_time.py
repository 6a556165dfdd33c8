"""How long the training step takes to compile, by depth: `python -m benchmarks.compile_time`.

Tracing (Python) and compiling (XLA) of the same step with layers scanned and unrolled, on this machine's devices.
Nothing is run, and no compilation cache is used.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from benchmarks.workload import Workload
from electra_jax import cli
from electra_jax.config import Config
from electra_jax.errors import UserError
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.planning.compiling import StandInTokenizer
from electra_jax.training.program import build_program


def compile_seconds(config: Config) -> dict[str, float]:
    """Seconds of tracing and of compiling the step of ``config``, and megabytes that it needs beside its state."""
    program = build_program(config, StandInTokenizer(config.tokenizer.vocab_size), make_mesh(config.mesh))
    rows = np.zeros((config.train.batch_size, config.data.sequence_length), np.int32)
    with program.on_mesh():
        started = time.perf_counter()
        lowered = cast(Any, program.train_step).lower(program.abstract, rows)
        traced = time.perf_counter()
        compiled = lowered.compile()
        ended = time.perf_counter()
    return {
        "trace_seconds": traced - started,
        "compile_seconds": ended - traced,
        "temporary_megabytes": compiled.memory_analysis().temp_size_in_bytes / 1e6,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for every depth, scanned and unrolled."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.compile_time",
        description="Measure how long the training step takes to compile.",
    )
    parser.add_argument("--depths", default="2,6,12,24", help="numbers of layers (default: 2,6,12,24)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write what was measured")
    args = parser.parse_args(argv)
    depths = [int(text) if text.isdigit() else 0 for text in args.depths.split(",")]
    if not all(depths):
        raise UserError(f"--depths {args.depths} must be numbers of layers, such as 2,12")
    jax.config.update("jax_enable_compilation_cache", False)
    base = Workload("train", 16, 128, 0).config()
    rows = []
    print(f"{'layers':>6} {'':<10} {'trace s':>8} {'compile s':>10} {'temporaries MB':>15}")
    for scan in (True, False):
        for depth in depths:
            model = base.model.model_copy(update={"num_layers": depth})
            compute = base.compute.model_copy(update={"scan_layers": scan})
            row = compile_seconds(base.model_copy(update={"model": model, "compute": compute}))
            rows.append({"layers": depth, "scan_layers": scan, **row})
            print(
                f"{depth:>6} {'scanned' if scan else 'unrolled':<10} {row['trace_seconds']:>8.1f} "
                f"{row['compile_seconds']:>10.1f} {row['temporary_megabytes']:>15,.0f}",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    cli.run(main)
