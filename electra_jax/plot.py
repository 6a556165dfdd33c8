"""Learning curves: ``python -m electra_jax.plot WORKDIR [WORKDIR ...] [--out FILE]``, drawn from metrics.jsonl."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from electra_jax import cli
from electra_jax.errors import UserError, one_line
from electra_jax.files.json_files import parse_json
from electra_jax.files.local_paths import short_names
from electra_jax.files.regular_files import read_regular
from electra_jax.training.workdir import WorkDir

DEFAULT_METRICS = ("loss", "masked_lm_loss", "masked_lm_accuracy", "disc_loss", "disc_auc", "learning_rate")
COLUMNS = 3
MAX_BYTES = 1 << 30  # of metrics.jsonl: millions of lines
Curves = Mapping[str, Mapping[str, list[tuple[int, float]]]]  # split → metric → points (step, value)


@dataclass(frozen=True)
class Run:
    """The curves of one work directory, and a name that no other in the picture has."""

    name: str
    curves: Curves


def read_run(workdir: WorkDir) -> Run:
    """Read metrics.jsonl; a line cut short, of a run that was killed, is left out.

    Evaluations on another text than the run's own (``electra_jax.evaluate`` with data.eval_source) get curves of
    their own.

    Raises:
        UserError: there is no such file, or nothing in it, or a line is not what training writes.
    """
    try:
        lines = read_regular(workdir.metrics, MAX_BYTES).splitlines()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", error)
        seeds = sorted(path.parent.name for path in workdir.root.glob("seed-*/metrics.jsonl"))
        what = f"that of a seed, such as {workdir.root / seeds[0]}" if seeds else "a run's directory"
        raise UserError(f"{workdir.metrics} cannot be read ({reason}): give {what}") from None
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record: dict[str, Any] = parse_json(line, f"{workdir.metrics} line {number}", "remove it")
            step, split = int(record.pop("step")), one_line(str(record.pop("split")))
        except (UserError, ValueError, OverflowError, KeyError, TypeError, AttributeError):
            cut = line.startswith(b'{"step"') and not line.endswith(b"}")  # and another was appended
            if cut or number == len(lines):
                continue
            raise UserError(f"{workdir.metrics} line {number} is not a line of metrics: remove it") from None
        if source := record.pop("eval_source", None):
            split = f"{split} on {source}"
        for name, value in record.items():
            if isinstance(value, (int, float)):
                curves.setdefault(split, {}).setdefault(name, []).append((step, float(value)))
    if not curves:
        raise UserError(f"{workdir.metrics} holds no metrics yet: wait for the first train.log_every steps")
    return Run(workdir.root.resolve().name, curves)


def draw(runs: Sequence[Run], metrics: Sequence[str], out: Path) -> None:
    """Write a picture with one panel a metric; the format follows from the ending of ``out``.

    A split of a run has one colour in all panels, and one entry in the legend.

    Raises:
        UserError: matplotlib is not installed, no run has a metric, or ``out`` cannot be written as asked.
    """
    known = _all_metrics(runs)
    if unknown := [name for name in metrics if name not in known]:
        raise UserError(f"no run has the metric {', '.join(unknown)}; there are: {', '.join(known)}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(
            "drawing needs matplotlib: python -m pip install matplotlib (or 'electra_jax[plot]')"
        ) from None

    rows = -(-len(metrics) // COLUMNS)
    columns = min(COLUMNS, len(metrics))
    figure = Figure(figsize=(4.2 * columns, 3.1 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    drawn = _splits_with(runs, metrics)
    lines: dict[int, Any] = {}
    for panel, name in zip(panels, metrics):
        for number, (run, split) in enumerate(drawn):
            if points := sorted(run.curves[split].get(name, [])):
                style = "-" if split == "train" else "o-"
                (line,) = panel.plot(*zip(*points), style, markersize=3, linewidth=1.2, color=f"C{number}")
                lines.setdefault(number, line)
        panel.set_title(name, parse_math=False)
        panel.set_xlabel("step")
        panel.grid(alpha=0.3)
    for panel in panels[len(metrics) :]:
        panel.remove()
    handles = [lines[number] for number in range(len(drawn))]
    legend = figure.legend(handles, [""] * len(drawn), loc="outside lower center", ncols=min(4, len(drawn)))
    # A label that begins with _ would be left out, and one with $ in it be taken for a formula.
    for text, (run, split) in zip(legend.get_texts(), drawn, strict=True):
        text.set_parse_math(False)
        text.set_text(split if len(runs) == 1 else f"{run.name}: {split}")
    try:
        figure.savefig(out, dpi=110)
    except ValueError as error:  # an ending that matplotlib does not write
        raise UserError(f"--out {out}: {error}") from None


def available_metrics(runs: Sequence[Run]) -> list[str]:
    """Return those of the default metrics that a run has; where none has any, all metrics there are."""
    known = _all_metrics(runs)
    return [name for name in DEFAULT_METRICS if name in known] or known


def _all_metrics(runs: Sequence[Run]) -> list[str]:
    return sorted({name for run in runs for split in run.curves.values() for name in split})


def _splits_with(runs: Sequence[Run], metrics: Sequence[str]) -> list[tuple[Run, str]]:
    """Return the runs, each with its splits that have one of the metrics."""
    return [
        (run, split)
        for run in runs
        for split, curves in run.curves.items()
        if any(name in curves for name in metrics)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``electra_jax.plot``; return the exit status."""
    parser = cli.bare_parser(
        "electra_jax.plot",
        "Draws the learning curves of one or more runs, one panel a metric, into one picture.",
        epilog="examples:\n"
        "  python -m electra_jax.plot runs/tiny\n"
        "  python -m electra_jax.plot runs/a runs/b --metric disc_auc --metric loss --out compared.svg\n",
    )
    parser.add_argument("workdirs", nargs="+", type=cli.path, metavar="WORKDIR", help="directory of a run")
    parser.add_argument(
        "--metric",
        action="append",
        metavar="NAME",
        help=f"may be repeated (default: those there are of {', '.join(DEFAULT_METRICS)}; if there are none, all)",
    )
    parser.add_argument(
        "--out",
        type=cli.path,
        metavar="FILE",
        help="picture, .png .svg or .pdf (default: curves.png in the first WORKDIR)",
    )
    args = parser.parse_args(argv)
    if args.out is not None and (args.out.is_dir() or not args.out.suffix):
        raise UserError(f"--out {args.out} names no picture: give a file that ends in .png, .svg or .pdf")
    roots = list(dict.fromkeys(args.workdirs))
    read = [read_run(WorkDir(root)) for root in roots]
    runs = [replace(run, name=name) for run, name in zip(read, short_names(roots), strict=True)]
    out = args.out or args.workdirs[0] / "curves.png"
    draw(runs, args.metric or available_metrics(runs), out)
    print(out)
    return 0


if __name__ == "__main__":
    cli.run(main)
