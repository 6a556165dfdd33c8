"""A paired bootstrap between two fine-tunings: ``python -m electra_jax.compare RUN_A RUN_B [--task NAME] …``."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from electra_jax import cli
from electra_jax.errors import UserError, listed
from electra_jax.tasks.finished_seeds import (
    FinishedSeed,
    Predicted,
    finished_seeds,
    load_split,
    read_seed,
)
from electra_jax.tasks.measures import Measure
from electra_jax.tasks.paired_bootstrap import Comparison, draws, measure_of, paired_bootstrap
from electra_jax.tasks.protocol import ChoiceExample, Example, RankingExample, Signed, Task
from electra_jax.tasks.text_metrics import LOWER_IS_BETTER, NOT_RESAMPLED


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = cli.bare_parser(
        "electra_jax.compare",
        "Says whether the difference between two fine-tunings would be there on other examples of the same kind: a "
        "paired bootstrap (Koehn 2004) over the examples that both predicted.\n\n"
        "Examples are drawn with replacement, as many as there are, and both runs are scored on each draw. Printed are "
        "both scores, their difference B - A, its 95 % interval, and p: how often the difference is gone or has the "
        "other sign, one-sided and never 0. A run is a work directory or the directory of one of its seeds. Nothing is "
        "trained, predicted or written.",
        epilog="examples:\n"
        "  python -m electra_jax.compare runs/mrpc runs/mrpc-longer\n"
        "  python -m electra_jax.compare runs/a runs/b --task ner --split test --seeds all --json\n",
    )
    parser.add_argument("run_a", type=cli.path, metavar="RUN_A", help="directory of the first run")
    parser.add_argument("run_b", type=cli.path, metavar="RUN_B", help="directory of the second")
    parser.add_argument("--task", metavar="NAME", help="which task, if they have several")
    parser.add_argument(
        "--split",
        default="dev",
        metavar="SPLIT",
        help="which examples: dev, test or another that was predicted (default: dev)",
    )
    parser.add_argument(
        "--metric", metavar="NAME", help="by which metric (default: the first of RUN_A's results)"
    )
    parser.add_argument(
        "--seeds",
        choices=("best", "all"),
        default="best",
        help="the best seed on dev of each run, or the mean over all seeds of each (default: best)",
    )
    parser.add_argument(
        "--samples", type=int, default=1000, metavar="N", help="how many draws (default: 1000)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    if args.samples < 1:
        raise UserError(f"--samples {args.samples} must be at least 1")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed} must not be negative")

    every = args.seeds == "all"
    runs = [finished_seeds(root, every=every) for root in (args.run_a, args.run_b)]
    name = _task(args, runs[0][0], runs[1][0])
    examples = _examples(runs[0][0], runs[1][0], name, args.split)
    read = [[read_seed(seed, name, args.split, examples) for seed in seeds] for seeds in runs]
    metric = args.metric or read[0][0].task.metric
    measures = [[_measure(examples, seed, metric) for seed in run] for run in read]
    _check_same_f1(metric, name, [seed.task for run in read for seed in run])
    drawn = tqdm(
        draws(len(examples), args.samples, args.seed),
        total=args.samples,
        unit="draw",
        file=sys.stderr,
        disable=None,
        dynamic_ncols=True,
    )
    compared = paired_bootstrap(measures[0], measures[1], len(examples), drawn)
    record = {
        "task": name,
        "split": args.split,
        "metric": metric,
        "examples": len(examples),
        "a": _described(args.run_a, runs[0], compared.first),
        "b": _described(args.run_b, runs[1], compared.second),
        "difference": compared.difference,
        "interval": [compared.low, compared.high],
        "p": compared.p,
        "samples": args.samples,
        "seed": args.seed,
        **_signature(metric, name, [seed.task for run in read for seed in run], examples),
    }
    if args.json:
        print(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        _print(record, compared)
    return 0


def _task(args: argparse.Namespace, first: FinishedSeed, second: FinishedSeed) -> str:
    """Return the task that is compared, which both runs have, of one kind."""
    both = [name for name in first.tasks if name in second.tasks]
    if not both or (args.task is not None and args.task not in both):
        wanted = "no task of the same name" if args.task is None else f"not both the task {args.task!r}"
        raise UserError(
            f"the two runs have {wanted}: {args.run_a} has {listed(first.tasks)}, and {args.run_b} has "
            f"{listed(second.tasks)}"
        )
    if args.task is None and len(both) > 1:
        raise UserError(f"both runs have several tasks: choose one by --task, of {listed(both)}")
    name: str = args.task or both[0]
    kinds = [seed.config.finetune.tasks[name].kind for seed in (first, second)]
    if kinds[0] != kinds[1]:
        raise UserError(
            f"{name} is {kinds[0]} in {args.run_a} and {kinds[1]} in {args.run_b}: two tasks of one name"
        )
    return name


def _examples(first: FinishedSeed, second: FinishedSeed, name: str, split: str) -> list[Example]:
    """Return the examples of a split, which must be the same for both runs, by their ids and right answers."""
    examples = load_split(first, name, split)
    if _where(first, name) == _where(second, name):
        return examples
    others = load_split(second, name, split)
    differ = f"the {split} examples of {name} are not the same in {first.root} and {second.root}"
    if len(examples) != len(others):
        raise UserError(f"{differ}: {len(examples):,} and {len(others):,}")
    for number, (one, other) in enumerate(zip(examples, others, strict=True), start=1):
        if one.id != other.id:
            raise UserError(
                f"{differ}: number {number} has the id {one.id!r} in one, {other.id!r} in the other"
            )
        if one.gold != other.gold:
            raise UserError(
                f"{differ}: the right answer of {one.id!r} is {one.gold!r} in one, {other.gold!r} in the other"
            )
        if _alternatives(one) != _alternatives(other):
            raise UserError(f"{differ}: {one.id!r} is chosen among others in one than in the other")
    return examples


def _alternatives(example: Example) -> tuple[str, ...]:
    """Return what an answer is chosen among, where it is."""
    if isinstance(example, RankingExample):
        return example.candidates
    return example.options if isinstance(example, ChoiceExample) else ()


def _where(seed: FinishedSeed, name: str) -> tuple[Any, str | None]:
    return seed.config.finetune.tasks[name], seed.config.data.tfds_data_dir


def _measure(examples: Sequence[Example], seed: Predicted, metric: str) -> Measure:
    if metric not in seed.scores:
        raise UserError(
            f"{seed.root} has no metric {metric!r} of {seed.task.name}; there are: {listed(seed.scores, 30)}"
        )
    if metric in NOT_RESAMPLED:
        raise UserError(
            f"{metric} counts kinds, which are fewer where examples are drawn twice, so a bootstrap says nothing of "
            "it: choose another --metric"
        )
    if not math.isfinite(seed.scores[metric]):
        raise UserError(f"{metric} of {seed.root} is {seed.scores[metric]}, which cannot be compared")
    return measure_of(seed.task, examples, seed.predictions, metric)


def _check_same_f1(metric: str, name: str, tasks: Sequence[Task]) -> None:
    of = {task.f1_of for task in tasks}
    if metric == "f1" and len(of) > 1:
        classes = " and ".join("all classes" if one is None else repr(one) for one in sorted(of, key=str))
        raise UserError(f"f1 of {name} is that of {classes}: choose another --metric, or set positive alike")


def _described(root: Path, seeds: Sequence[FinishedSeed], score: float) -> dict[str, Any]:
    return {"run": str(root), "seeds": [seed.config.seed for seed in seeds], "score": score}


def _signature(metric: str, name: str, tasks: Sequence[Task], examples: Sequence[Example]) -> dict[str, str]:
    """Return how a metric of written texts was computed, where a library computes it.

    Raises:
        UserError: not all seeds compute it alike.
    """
    found = {task.signatures(examples).get(metric) for task in tasks if isinstance(task, Signed)} - {None}
    if len(found) > 1:
        ways = " and ".join(sorted(map(str, found)))
        raise UserError(
            f"{metric} of {name} is computed as {ways}: set finetune.tasks.{name}.language alike and run one again"
        )
    return {"signature": str(*found)} if found else {}


def _print(record: dict[str, Any], compared: Comparison) -> None:
    lower = " (less is better)" if record["metric"] in LOWER_IS_BETTER else ""
    print(f"{record['metric']}{lower} of {record['task']}, {record['examples']:,} {record['split']} examples")
    sides = [(key.upper(), record[key]) for key in ("a", "b")]
    labels = [
        f"{letter}  {side['run']} ({'seed' if len(side['seeds']) == 1 else 'mean of seeds'} "
        f"{listed(side['seeds'])})"
        for letter, side in sides
    ]
    width = max(map(len, labels))
    for label, (_, side) in zip(labels, sides, strict=True):
        print(f"{label:<{width}}  {side['score']:8.2f}")
    print(
        f"{'B - A':<{width}}  {compared.difference:+8.2f}, 95 % interval {compared.low:+.2f} to {compared.high:+.2f}, "
        f"p = {compared.p:.{_decimals(record['samples'])}f} (one-sided, {record['samples']:,} draws)"
    )
    if "signature" in record:
        print(f"signature: {record['signature']}")


def _decimals(samples: int) -> int:
    """Return how many decimals 1 / (1 + samples) needs to be seen."""
    return max(2, math.ceil(math.log10(samples + 1)))


if __name__ == "__main__":
    cli.run(main)
