"""The results of a benchmark, as one JSON object and as one table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from electra_jax.benchmark.costs import Costs
from electra_jax.benchmark.measured import Measured, compare
from electra_jax.training.logs import in_json, value_in_json


@dataclass(frozen=True)
class Examined:
    """A run and what was measured of it.

    Attributes:
        run: its directory.
        label: a short name, its own in the table.
        step: of its checkpoint; None of a foreign one.
        costs: what it cost.
        measured: its figures, in the order of the table.
        skipped: parts that it could not take, and why.
    """

    run: str
    label: str
    step: int | None
    costs: Costs
    measured: Sequence[Measured]
    skipped: Mapping[str, str]


def as_json(runs: Sequence[Examined], samples: int) -> dict[str, Any]:
    """Return the figures of all runs, and every later run compared with the first; what is not defined is None."""
    first = {some.name: some for some in runs[0].measured}
    comparisons = []
    for other in runs[1:]:
        for some in other.measured:
            compared = compare(first[some.name], some, samples) if some.name in first else None
            if compared is not None:
                record = in_json(asdict(compared))
                comparisons.append(
                    {"run": other.label, "with": runs[0].label, "measure": some.name, **record}
                )
    return {
        "runs": [
            {
                "run": one.run,
                "label": one.label,
                "step": one.step,
                **asdict(one.costs),
                "scores": {some.name: _score(some) for some in one.measured},
                "skipped": dict(one.skipped),
            }
            for one in runs
        ],
        "comparisons": comparisons,
    }


def _score(measured: Measured) -> dict[str, Any]:
    return {
        **in_json({"value": measured.value, "deviation": measured.deviation}),
        "by_seed": [value_in_json(value) for value in measured.by_seed],
        "items": measured.items,
        "of": measured.of_what,
        "truncated": measured.truncated,
    }


def as_table(results: Mapping[str, Any]) -> str:
    """Return a table with a line for each figure and a column for each run; * where it differs from the first run."""
    runs = results["runs"]
    sure = {(some["run"], some["measure"]): _leaves_out_zero(some) for some in results["comparisons"]}
    lines = [["", *(run["label"] for run in runs)]]
    for title, name, show in _COSTS:
        lines.append([title, *(show(run[name]) for run in runs)])
    for name in dict.fromkeys(name for run in runs for name in run["scores"]):
        cells = []
        for run in runs:
            score = run["scores"].get(name)
            cells.append("-" if score is None else _figure(score, sure.get((run["label"], name), False)))
        lines.append([name, *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
        )
        for line in lines
    ]
    notes = (
        [f"* differs from {runs[0]['label']}: 0 is not in the 95 % interval of the difference"]
        if any(sure.values())
        else []
    )
    skipped = [
        f"{run['label']} skipped {part}: {why}" for run in runs for part, why in run["skipped"].items()
    ]
    cut = [
        f"{run['label']} cut {score['truncated']:,} texts of {name}, which are longer than it reads"
        for run in runs
        for name, score in run["scores"].items()
        if score["truncated"]
    ]
    return "\n".join([*shown, *notes, *cut, *skipped])


def _leaves_out_zero(compared: Mapping[str, Any]) -> bool:
    low, high = compared["low"], compared["high"]
    return low is not None and high is not None and low * high > 0


def _figure(score: Mapping[str, Any], sure: bool) -> str:
    if score["value"] is None:
        return "- "
    deviation = "" if score["deviation"] is None else f" ± {score['deviation']:.1f}"
    return f"{score['value']:.1f}{deviation}{'*' if sure else ' '}"


def _count(value: float | None) -> str:
    if value is None:
        return "- "
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.2f}{unit} "
    return f"{value:.0f} "


def _power(value: float | None) -> str:
    return "- " if value is None else f"{value:.2e} "


def _minutes(value: float | None) -> str:
    return "- " if value is None else f"{value / 60:.1f} "


_COSTS = (
    ("parameters", "parameters", _count),
    ("of these kept", "kept", _count),
    ("tokens", "tokens", _count),
    ("FLOPs", "flops", _power),
    ("minutes of steps", "seconds", _minutes),
)
