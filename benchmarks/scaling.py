"""The table of docs/scaling.md: `python -m benchmarks.scaling` plans every run of it, which takes an hour or more.

Each row is one `python -m electra_jax.plan --json` for TPUs that are not there, which needs libtpu:
pip install -e '.[plan]'.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electra_jax import cli
from electra_jax.config import load_config
from electra_jax.errors import UserError
from electra_jax.planning.machine import parse_topology

_ROWS_A_DEVICE = {"small": 128, "base": 8, "large": 8}
_ATTENTION = {
    "": ["compute.attention=xla"],
    "†": ["compute.attention=splash", "model.attention_dropout=0"],
    "‡": ["compute.attention=blocked"],
}
_HEADER = (
    "| run | chips | mesh | batch | memory a device | moved | sent | to other slices | step, ms | MFU | "
    "tokens/s, millions | chip-hours |\n|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


@dataclass(frozen=True)
class Row:
    """One run: a preset, the mark of its attention, slices of a topology, and settings such as ``mesh.fsdp=8``."""

    preset: str
    attention: str
    topology: str
    mesh: tuple[str, ...] = ()
    slices: int = 1

    @property
    def name(self) -> str:
        """As --only asks for it."""
        slices = f"{self.slices} x " if self.slices > 1 else ""
        return " ".join([f"{self.preset}{self.attention} {slices}{self.topology}", *self.mesh])

    @property
    def arguments(self) -> list[str]:
        """Those of ``electra_jax.plan``; as many rows in all as the preset, which is the paper, trains on."""
        preset = Path(f"configs/pretrain/{self.preset}.yaml")
        paper = load_config(preset).train
        batch = self.slices * math.prod(parse_topology(self.topology)[1]) * _ROWS_A_DEVICE[self.preset]
        return [
            f"--config={preset}",
            f"--topology={self.topology}",
            f"--slices={self.slices}",
            "compute.dtype=bfloat16",
            "compute.scan_layers=true",
            f"train.batch_size={batch}",
            f"train.steps={round(paper.total_steps * paper.batch_size / batch)}",
            *_ATTENTION[self.attention],
            *self.mesh,
        ]


ROWS = (
    Row("small", "", "v5e:2x4"),
    Row("small", "", "v5e:16x16"),
    Row("small", "", "v4:2x2x2"),
    Row("small", "", "v5p:2x2x2"),
    Row("small", "", "v6e:2x4"),
    Row("small", "", "v6e:16x16"),
    Row("base", "", "v5e:2x4"),
    Row("base", "", "v5e:16x16"),
    Row("base", "", "v4:2x2x2"),
    Row("base", "", "v4:4x4x8"),
    Row("base", "", "v5p:2x2x2"),
    Row("base", "", "v6e:2x4"),
    Row("base", "‡", "v5e:2x4"),
    Row("base", "‡", "v4:2x2x2"),
    Row("base", "‡", "v5p:2x2x2"),
    Row("base", "‡", "v6e:2x4"),
    Row("base", "†", "v5e:2x4"),
    Row("base", "†", "v6e:2x4"),
    Row("base", "†", "v6e:8x8"),
    Row("base", "†", "v5e:16x16", slices=2),
    Row("base", "", "v5e:4x4", ("mesh.fsdp=4", "mesh.tensor=4")),
    Row("large", "", "v5e:2x4", ("mesh.fsdp=8",)),
    Row("large", "", "v5e:16x16", ("mesh.fsdp=8",)),
    Row("large", "", "v4:2x2x2"),
    Row("large", "", "v5p:2x2x2"),
    Row("large", "", "v5p:4x4x4", ("mesh.fsdp=8",)),
    Row("large", "", "v5p:4x4x4", ("mesh.fsdp=8",), slices=2),
    Row("large", "", "v6e:2x4"),
    Row("large", "", "v6e:4x4", ("mesh.fsdp=4",)),
    Row("large", "‡", "v6e:2x4"),
    Row("large", "†", "v6e:2x4"),
)


def plan(row: Row, kept: Path | None) -> dict[str, Any]:
    """Plan a row with ``electra_jax.plan``, or read the plan from ``kept`` if it is there.

    Raises:
        UserError: it failed.
    """
    file = kept / f"{row.name.replace(' ', '_').replace(':', '_')}.json" if kept is not None else None
    if file is not None and file.exists():
        return dict(json.loads(file.read_text()))
    ended = subprocess.run(
        [sys.executable, "-m", "electra_jax.plan", "--json", *row.arguments], capture_output=True, text=True
    )
    if ended.returncode:
        raise UserError(f"{row.name}: electra_jax.plan {' '.join(row.arguments)} failed: {ended.stderr}")
    if file is not None:
        file.write_text(ended.stdout)
    return dict(json.loads(ended.stdout))


def line(row: Row, said: dict[str, Any]) -> str:
    """Format the row of the table."""
    best, worst = said["times"]["best"], said["times"]["worst"]
    mesh = " × ".join(f"{axis} {size}" for axis, size in said["mesh"].items() if size > 1)
    memory = sum(size for size in said["memory"].values() if size is not None)
    slices = f"{row.slices} × " if row.slices > 1 else ""
    to_others = said["work"]["slices_bytes"]
    cells = [
        f"{row.preset} {row.attention}".strip(),
        f"{slices}{row.topology}",
        mesh,
        f"{said['batch_size']:,}",
        f"{memory / 1e9:.1f} GB",
        f"{said['work']['memory_bytes'] / 1e9:.1f} GB",
        f"{said['work']['sent_bytes'] / 1e6:,.0f} MB",
        f"{to_others / 1e6:,.0f} MB" if to_others else "",
        _between(best["seconds_a_step"] * 1e3, worst["seconds_a_step"] * 1e3, ".1f"),
        _between(best["model_flops_utilization"] * 100, worst["model_flops_utilization"] * 100, ".1f", " %"),
        _between(best["tokens_per_second"] / 1e6, worst["tokens_per_second"] / 1e6, ".3g"),
        _between(best["chip_hours"], worst["chip_hours"], ",.0f"),
    ]
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _between(best: float, worst: float, form: str, unit: str = "") -> str:
    return f"{best:{form}} – {worst:{form}}{unit}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for every run as soon as it is planned."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.scaling", description="Plan the runs of docs/scaling.md and print its table."
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="runs whose name holds TEXT, such as 'base† v6e'"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the runs and plan none")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep each plan there, and do not plan it again"
    )
    args = parser.parse_args(argv)
    rows = [row for row in ROWS if args.only in row.name]
    if not rows:
        raise UserError(f"--only {args.only}: no run is called so (--list prints their names)")
    if args.keep is not None:
        args.keep.mkdir(parents=True, exist_ok=True)
    if args.list:
        print("\n".join(row.name for row in rows))
        return 0
    print(_HEADER, flush=True)
    failed = []
    for row in rows:
        try:
            print(line(row, plan(row, args.keep)), flush=True)
        except UserError as error:  # such as a compiler that crashes; the others are still wanted
            failed.append(row.name)
            print(error, file=sys.stderr, flush=True)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(rows)} runs could not be planned, see above: {', '.join(failed)}"
        )
    return 0


if __name__ == "__main__":
    cli.run(main)
