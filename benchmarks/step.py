"""The whole pre-training step, and inference, against Hugging Face's PyTorch: `python -m benchmarks.step`.

Every contender is a process of its own with the same number of threads. They run in turn, a round after another, while
the others wait, so that what else the machine does meets all of them alike. Times are medians over rounds; ratios are
medians of each round's ratio. Processor time (of all threads) is shown too: on a busy machine, with one thread, it is
what the step would take alone. The peak is that of a large float32 product, measured in every round too.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.ours import Vocabulary
from benchmarks.workload import Workload
from electra_jax import cli
from electra_jax.errors import UserError
from electra_jax.model.flops import discriminator_head_flops, encoder_flops
from electra_jax.model.network_config import network_config
from electra_jax.objectives import build_objective
from electra_jax.training.flops import train_step_flops

OURS, EAGER, COMPILED, PEAK = "electra_jax", "PyTorch eager", "torch.compile", "peak"
RIVALS = {"eager": EAGER, "compile": COMPILED}
WORKLOADS = ("train:16x128", "train:4x512", "inference:32x128")
PEAK_SIZE = 3072  # rows and columns of the product that the peak is measured with
# Long enough for the clock, short enough that the machine is the same for all contenders of a round.
_RUN_SECONDS = 2.0


class Contender:
    """A process that runs steps when it is told to (`benchmarks.contender`)."""

    def __init__(self, name: str, workload: Workload) -> None:
        self.name = name
        fields = json.dumps(dataclasses.asdict(workload))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contender", name, fields],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[1],
        )
        self.first_step = self._ask(1)["seconds"]
        settled = min(self._ask(1)["seconds"] for _ in range(2))
        self._steps = max(1, round(_RUN_SECONDS / settled))
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        self.memory = 0.0

    def run(self) -> None:
        """One more round: seconds a step."""
        answer = self._ask(self._steps)
        self.seconds.append(answer["seconds"] / self._steps)
        self.cpu.append(answer["cpu"] / self._steps)
        self.memory = answer["memory"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, steps: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{steps}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what there is to read says so
        line = self._process.stdout.readline()
        if not line:
            raise UserError(f"{self.name} ended before it had measured anything: see its messages above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def measure(workload: Workload, names: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """Return a row for each contender: medians, and the median ratio to PyTorch eager (None without it)."""
    contenders = [Contender(name, workload) for name in (PEAK, *names)]
    try:
        for number in range(rounds):
            # Every other round the other way around: nobody always comes after the same one.
            for contender in contenders if number % 2 == 0 else reversed(contenders):
                contender.run()
    finally:
        for contender in contenders:
            contender.close()
    by_name = {contender.name: contender for contender in contenders}
    peak_flops = 2 * PEAK_SIZE**3 / statistics.median(by_name[PEAK].seconds)
    flops = model_flops(workload)
    rows = []
    for name in names:
        contender = by_name[name]
        seconds = statistics.median(contender.seconds)
        eager = by_name.get(EAGER)
        rows.append(
            {
                "workload": workload.name,
                "contender": name,
                "milliseconds": seconds * 1e3,
                "sequences_per_second": workload.batch / seconds,
                "times_eager": eager and median_ratio(eager.seconds, contender.seconds),
                "cpu_milliseconds": statistics.median(contender.cpu) * 1e3,
                "times_eager_by_cpu": eager and median_ratio(eager.cpu, contender.cpu),
                "gflops_a_step": flops / 1e9,
                "share_of_peak": flops / seconds / peak_flops,
                "peak_gflops": peak_flops / 1e9,
                "first_step_seconds": contender.first_step,
                "memory_megabytes": contender.memory,
                "all_milliseconds": [s * 1e3 for s in contender.seconds],
            }
        )
    return rows


def median_ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """How many times as fast ours is: the median over rounds."""
    return statistics.median(their / our for their, our in zip(theirs, ours, strict=True))


def model_flops(workload: Workload) -> float:
    """FLOPs of a step of ``workload``: matrix products only, as `training.flops` counts them."""
    config = workload.config()
    if workload.kind == "train":
        return train_step_flops(build_objective(config, Vocabulary()), workload.batch, workload.length)
    encoder = network_config(config, Vocabulary.vocab_size).encoder
    row = encoder_flops(encoder, workload.length)
    return workload.batch * (row + discriminator_head_flops(encoder.block.hidden_size, workload.length))


def line(row: dict[str, Any]) -> str:
    """One line of the table."""
    ratio, by_cpu = (
        "–" if row[name] is None else f"{row[name]:.2f}" for name in ("times_eager", "times_eager_by_cpu")
    )
    return (
        f"{row['workload']:<18} {row['contender']:<14} {row['milliseconds']:>8,.0f} "
        f"{row['sequences_per_second']:>8.1f} {ratio:>8} {row['cpu_milliseconds']:>8,.0f} "
        f"{by_cpu:>8} {row['share_of_peak']:>6.0%} {row['memory_megabytes']:>8,.0f} {row['first_step_seconds']:>8.1f}"
    )


def parse_workload(text: str, threads: int) -> Workload:
    """``train:16x128`` or ``inference:32x128``.

    Raises:
        UserError: anything else.
    """
    kind, _, size = text.partition(":")
    batch, _, length = size.partition("x")
    if kind not in ("train", "inference") or not (batch.isdigit() and length.isdigit()):
        raise UserError(f"--workload {text} is none: write train:ROWSxTOKENS or inference:ROWSxTOKENS")
    return Workload("train" if kind == "train" else "inference", int(batch), int(length), threads)


def rivals(asked: str) -> list[str]:
    """Names of the rivals in ``asked`` ("eager,compile"); none, with a sentence, where the extra is missing."""
    unknown = [name for name in asked.split(",") if name and name not in RIVALS]
    if unknown:
        raise UserError(f"--rivals {unknown[0]} is not known: choose of {', '.join(RIVALS)}")
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if asked and missing:
        print(f"no rivals: {' and '.join(missing)} not installed (pip install -e '.[huggingface]')")
        return []
    return [RIVALS[name] for name in asked.split(",") if name]


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table, and write it with every round as JSON where that is asked for."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.step",
        description="Measure the step and inference against Hugging Face PyTorch.",
    )
    parser.add_argument(
        "--workload", action="append", metavar="KIND:ROWSxTOKENS", help=f"default: {WORKLOADS}"
    )
    parser.add_argument("--rivals", default="eager", metavar="NAMES", help="eager,compile (default: eager)")
    parser.add_argument("--rounds", type=int, default=7, help="of which the median is shown")
    parser.add_argument("--threads", type=int, default=2, help="threads of every contender")
    cli.add_overrides(parser, "settings over ELECTRA-small's, such as train.accumulation_steps=2")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write what was measured")
    args = parser.parse_args(argv)
    if args.rounds < 1 or not 1 <= args.threads <= (os.cpu_count() or 1):
        raise UserError(f"--rounds must be at least 1, and --threads between 1 and {os.cpu_count()}")
    workloads = [
        dataclasses.replace(parse_workload(text, args.threads), settings=args.overrides)
        for text in args.workload or WORKLOADS
    ]
    for workload in workloads:
        workload.config()  # refused before anything is started
    names = [OURS, *rivals(args.rivals)]
    print(
        f"{'':<33} {'ms':>8} {'rows/s':>8} {'× eager':>8} {'CPU ms':>8} {'× eager':>8} {'peak':>6} {'MB':>8} "
        f"{'first s':>8}"
    )
    rows = []
    for workload in workloads:
        for row in measure(workload, names, args.rounds):
            rows.append(row)
            print(line(row), flush=True)
        print(f"{rows[-1]['gflops_a_step']:.1f} GFLOP a step; peak {rows[-1]['peak_gflops']:.0f} GFLOP/s")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    cli.run(main)
