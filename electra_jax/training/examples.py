"""Examples of what a trained model does on held-out text, printed when a run ends."""

import sys
from typing import Any, TextIO

import jax
import numpy as np

from electra_jax.data.prepare import Prepared
from electra_jax.distributed.agreement import is_host_0
from electra_jax.objectives import PretrainingObjective
from electra_jax.partitioning.mesh import replicated
from electra_jax.training.compile_messages import compile_message
from electra_jax.training.program import Program, run_once_options
from electra_jax.training.step import EXAMPLES_STREAM, stream_key


def show_examples(
    program: Program[PretrainingObjective[Any, Any]],
    params: object,
    prepared: Prepared,
    *,
    count: int,
    seed: int,
    out: TextIO | None = None,
) -> None:
    """Print the examples of the program's objective on some held-out rows; nothing where it has none.

    Args:
        program: Of the run.
        params: Trained parameters.
        prepared: Held-out rows, and the tokenizer.
        count: The most rows to show.
        seed: Of the run; the examples are the same each time.
        out: Where to print; None is standard output.
    """
    examples = program.objective.examples
    if examples is None:
        return
    out = out or sys.stdout
    held_out = prepared.eval.num_rows
    rows = prepared.eval.read(np.linspace(0, held_out - 1, min(count, held_out)).astype(np.int64))
    compute = jax.jit(
        examples.compute,
        out_shardings=replicated(program.mesh),
        compiler_options=run_once_options(program.mesh),
    )
    with program.on_mesh(), compile_message("the examples"):
        outputs = jax.device_get(compute(params, rows, stream_key(seed, EXAMPLES_STREAM)))
    if not is_host_0():
        return
    for line in examples.lines(rows, outputs, prepared.tokenizer, out.isatty()):
        print(line, file=out)
