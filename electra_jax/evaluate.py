"""Held-out evaluation: ``python -m electra_jax.evaluate --workdir DIR [--step N] [key.path=value ...]``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from tqdm import tqdm

from electra_jax import cli
from electra_jax.config.compare import Difference, differences, format_differences
from electra_jax.config.schema import Config
from electra_jax.convert.format_detection import detect_format
from electra_jax.data.prepare import check_prepare_eval, prepare_eval_rows
from electra_jax.distributed.agreement import broadcast_from_host_0, host_0_first, is_host_0
from electra_jax.distributed.common_settings import common_settings
from electra_jax.distributed.joining import joined
from electra_jax.errors import UserError
from electra_jax.inference.load import load, trained_tasks
from electra_jax.inference.pairs import pair_accuracy, read_pairs
from electra_jax.inference.scoring import score_texts
from electra_jax.objectives.kinds import is_causal
from electra_jax.partitioning.mesh import check_batch, make_mesh
from electra_jax.runtime.compilation_cache import use_compilation_cache
from electra_jax.runtime.cpu_devices import one_device_per_core
from electra_jax.runtime.malloc import keep_freed_memory
from electra_jax.scoring.methods import SCORES, choose_method
from electra_jax.tokenizers import load_tokenizer
from electra_jax.training.checkpoints import find_checkpoint, restore_params
from electra_jax.training.evaluation import evaluate
from electra_jax.training.logs import append_metrics_line, in_json
from electra_jax.training.program import build_program
from electra_jax.training.rolling_windows import evaluate_windows
from electra_jax.training.seed_selection import select_run
from electra_jax.training.workdir import WorkDir

# Minimal pairs that are scored before the progress line moves.
_PAIRS_AT_ONCE = 2048


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = cli.bare_parser(
        "electra_jax.evaluate",
        "Evaluates a checkpoint of a run on every row of its held-out text, or of another text "
        "(data.eval_source=...), with the run's own tokenizer.\n\n"
        "Prints the metrics as JSON on standard output and appends them to metrics.jsonl in the work directory, as "
        'a line of split "eval" with the checkpoint\'s step and an eval_source that says which text. What each '
        "metric means: docs/metrics.md.\n\n"
        "With --pairs it reads minimal pairs instead, texts of which one is good and one bad, and prints how often "
        'the good one has the larger score, by group; the line in metrics.jsonl is of split "pairs". The file is JSON '
        "lines, .csv or .tsv, compressed or not, with good and bad (or sentence_good and sentence_bad) and for groups "
        "uid or group. What the scores are: docs/scoring.md.",
        epilog="examples:\n"
        "  python -m electra_jax.evaluate --workdir runs/tiny\n"
        "  python -m electra_jax.evaluate --workdir runs/tiny --step 1000 'data.eval_source=text:other/*.txt'\n"
        "  python -m electra_jax.evaluate --workdir runs/tiny --pairs blimp.jsonl.xz --score pll\n",
    )
    parser.add_argument("--workdir", type=cli.path, required=True, metavar="DIR", help="directory of the run")
    parser.add_argument("--step", type=int, metavar="N", help="which checkpoint (default: the newest)")
    parser.add_argument(
        "--stride",
        type=int,
        metavar="N",
        help="language models: read whole documents in windows that overlap by N tokens, so that every token but the "
        "first ones of a document is predicted from N tokens at least",
    )
    parser.add_argument("--pairs", type=cli.path, metavar="FILE", help="minimal pairs to score")
    parser.add_argument(
        "--score",
        choices=(*SCORES,),
        metavar="METHOD",
        help=f"by which score: {', '.join(SCORES)} (default: what the model is made for)",
    )
    parser.add_argument("--end", action="store_true", help="with --score lm, score that a text ends, too")
    parser.add_argument("--group", metavar="NAME", help="the field that groups pairs (default: uid or group)")
    cli.add_overrides(parser, "settings that win over those of the run; the model's own cannot change")
    args = parser.parse_args(argv)
    if args.pairs is not None:
        return _evaluate_pairs(args)
    if given := [name for name in ("score", "group", "end") if getattr(args, name)]:
        raise UserError(f"--{given[0]} says how to evaluate --pairs, which is missing")

    workdir = WorkDir(args.workdir)
    trained = workdir.load_config()
    config = workdir.load_config(args.overrides)
    if config.compute.keep_memory:
        keep_freed_memory()
    if trained.finetuning:
        run, _ = select_run(workdir.root)
        best = f", of which {run.name} is the best," if run != workdir.root else ""
        raise UserError(
            f"{workdir.root} was fine-tuned, which evaluates itself: its metrics are in results.json (of one seed: "
            f"result.json), and electra_jax.predict with that directory{best} answers for other examples"
        )
    if model := [change for change in differences(trained, config) if _changes_model(change)]:
        raise UserError(
            f"the model in {workdir.root} cannot be evaluated as another: {format_differences(model)}; "
            "leave these settings out"
        )
    if args.stride is not None:
        _check_stride(config, args.stride)
    with joined(config.hosts):
        return _evaluate(common_settings(config), workdir, args.step, args.stride)


def _check_stride(config: Config, stride: int) -> None:
    if not is_causal(config.objective):
        raise UserError(
            "--stride is for language models (objective.kind=causal_lm), and this is "
            f"{config.kind_of_run}: leave it out"
        )
    most = config.data.sequence_length - 2
    if not 0 <= stride <= most:
        raise UserError(
            f"--stride {stride} must be from 0 to {most}, so that a row of {most + 2} tokens has a new one"
        )


def _evaluate_pairs(args: argparse.Namespace) -> int:
    if args.stride is not None:
        raise UserError("--stride is for held-out text, and --pairs scores texts one by one: leave it out")
    if args.overrides:
        raise UserError(f"--pairs evaluates a model as it is: leave out {args.overrides[0]}")
    pairs = read_pairs(str(args.pairs), args.group)
    is_ours = detect_format(args.workdir).format == "electra_jax"
    step = find_checkpoint(args.workdir, args.step)[0] if is_ours else args.step
    if (known := trained_tasks(args.workdir)) is not None:
        # What the kind alone can refuse, before parameters are read.
        choose_method(args.score, known[0].objective, None, end=args.end)
    keep_freed_memory()
    one_device_per_core()
    notes: list[str] = []
    model = load(args.workdir, notes=notes, step=step)
    for line in notes:
        cli.note(line)
    method = choose_method(args.score, model.config.objective, model._params, end=args.end)
    scores: tuple[list[float], list[float]] = ([], [])
    cut: list[bool] = []
    with tqdm(total=len(pairs), unit="pair", file=sys.stderr, disable=None, dynamic_ncols=True) as bar:
        for start in range(0, len(pairs), _PAIRS_AT_ONCE):
            some = pairs[start : start + _PAIRS_AT_ONCE]
            texts = [pair.good for pair in some] + [pair.bad for pair in some]
            found = [score.score for score in score_texts(model, texts, method, end=args.end, cut=cut)]
            scores[0].extend(found[: len(some)])
            scores[1].extend(found[len(some) :])
            bar.update(len(some))
    accuracy = pair_accuracy(pairs, *scores)
    record: dict[str, Any] = {
        "accuracy": accuracy.accuracy,
        "accuracy_over_pairs": accuracy.over_pairs,
        "pairs": len(pairs),
        "ties": accuracy.ties,
        "truncated": sum(cut),
        "score": f"{method} with the end" if args.end else method,
        "eval_source": str(args.pairs),
        "groups": accuracy.groups,
    }
    print(json.dumps({"step": step, **record}, indent=2, ensure_ascii=False))
    if is_ours and step is not None:
        append_metrics_line(WorkDir(args.workdir).metrics, step, "pairs", record)
    return 0


def _evaluate(config: Config, workdir: WorkDir, step: int | None, stride: int | None) -> int:
    step, found = broadcast_from_host_0("checkpoint", lambda: _find_checkpoint(workdir.root, step))
    directory = Path(found)
    tokenizer = load_tokenizer(workdir.tokenizer)
    check_prepare_eval(config.data)
    mesh = make_mesh(config.mesh)
    check_batch(config.train, config.model, mesh)
    use_compilation_cache(config.compute, config.data, mesh.devices.flat[0].platform)
    rows = host_0_first(
        "preparing text",
        lambda: prepare_eval_rows(config.data, tokenizer),
        lambda made: made.fingerprint,
        timeout=config.hosts.prepare_timeout,
    )
    program = build_program(config, tokenizer, mesh)
    params = restore_params(directory, step, program.abstract.params)
    record: dict[str, float | str | None] = {"eval_source": config.data.eval_source or config.data.source}
    if stride is None:
        size, pad_id = config.train.batch_size, tokenizer.pad_id
        record |= evaluate(program, params, rows, batch_size=size, pad_id=pad_id, limit=None)
    else:
        record |= evaluate_windows(cast(Any, program), params, rows, tokenizer, stride=stride) | {
            "stride": stride
        }
    if is_host_0():
        print(json.dumps({"step": step, **in_json(record)}, indent=2))
        append_metrics_line(workdir.metrics, step, "eval", record)
    return 0


def _find_checkpoint(root: Path, step: int | None) -> tuple[int, str]:
    step, directory = find_checkpoint(root, step)
    return step, str(directory)


def _changes_model(change: Difference) -> bool:
    return change.key == "objective.kind" or change.key.startswith(("model.", "generator.", "tokenizer."))


if __name__ == "__main__":
    cli.run(main)
