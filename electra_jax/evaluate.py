"""Held-out evaluation: ``python -m electra_jax.evaluate --workdir DIR [--step N] [key.path=value ...]``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from tqdm import tqdm

from electra_jax import cli
from electra_jax.answering import load_with_notes
from electra_jax.config.compare import Difference, differences, format_differences
from electra_jax.config.schema import Config
from electra_jax.config.text import DataConfig
from electra_jax.config.yaml_format import show
from electra_jax.convert.format_detection import detect_format
from electra_jax.data.prepare import check_prepare_eval, prepare_eval_rows
from electra_jax.distributed.agreement import broadcast_from_host_0, host_0_first, is_host_0
from electra_jax.distributed.common_settings import common_settings
from electra_jax.distributed.joining import joined
from electra_jax.errors import UserError, listed
from electra_jax.inference.error_detection import (
    area_under_roc,
    average_precision,
    best_threshold,
    detection,
    read_marked_sentences,
    suspicions_of_words,
    wrong_words,
)
from electra_jax.inference.model import Model
from electra_jax.inference.pairs import pair_accuracy, read_pairs
from electra_jax.inference.reviewing import check_reviewer, check_threshold
from electra_jax.inference.scoring import score_texts
from electra_jax.inference.similarity import layers_named, sts_figures
from electra_jax.inference.trained import trained_tasks
from electra_jax.objectives.kinds import is_causal
from electra_jax.partitioning.mesh import check_batch, make_mesh
from electra_jax.runtime.compilation_cache import use_compilation_cache
from electra_jax.runtime.cpu_devices import one_device_per_core
from electra_jax.runtime.malloc import keep_freed_memory
from electra_jax.scoring.methods import SCORES, choose_method
from electra_jax.tasks.sources.scored_pairs import read_scored_pairs
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

# Keys of the section data that say where a document ends, and so which are held out.
_CUT_DOCUMENTS = ("document_separator", "text_field", "encoding")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    args = _parse(argv)
    if args.pairs is not None:
        return _evaluate_pairs(args)
    if args.errors is not None:
        return _evaluate_errors(args)
    if args.sts is not None:
        return _evaluate_sts(args)
    return _evaluate_run(args)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
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
        "uid or group. What the scores are: docs/scoring.md.\n\n"
        "With --errors it reads a word and c (right) or i (wrong) a line, as in MultiGED's files, and prints how "
        "well the discriminator finds the wrong words, with a threshold given by --threshold or tuned on the words of "
        '--tune-on; the line in metrics.jsonl is of split "errors" (docs/review.md).\n\n'
        "With --sts it reads pairs of sentences and how alike they are (STS-B's columns sentence1, sentence2 and "
        "score, or SemEval's score, text, text), and prints Spearman's correlation of their vectors' cosine with that; "
        'the line in metrics.jsonl is of split "sts" (docs/sentence_vectors.md).',
        epilog="examples:\n"
        "  python -m electra_jax.evaluate --workdir runs/tiny\n"
        "  python -m electra_jax.evaluate --workdir runs/tiny --step 1000 'data.eval_source=text:other/*.txt'\n"
        "  python -m electra_jax.evaluate --workdir runs/tiny --pairs blimp.jsonl.xz --score pll\n"
        "  python -m electra_jax.evaluate --workdir runs/german --errors dev.tsv --tune-on train.tsv\n"
        "  python -m electra_jax.evaluate --workdir runs/tiny --sts STS-B/dev.tsv --layer all\n",
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
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--pairs", type=cli.path, metavar="FILE", help="minimal pairs to score")
    what.add_argument(
        "--errors",
        type=cli.path,
        metavar="FILE",
        help="words marked c or i, of which the wrong ones are to be found",
    )
    what.add_argument(
        "--sts", type=cli.path, nargs="+", metavar="FILE", help="pairs of sentences with how alike they are"
    )
    parser.add_argument(
        "--layer",
        metavar="N|all",
        help="with --sts, the layer that is pooled, or all of them (default: the last)",
    )
    parser.add_argument(
        "--pooling",
        choices=("mean", "first"),
        help="with --sts, how states of tokens become a vector (default: mean)",
    )
    parser.add_argument(
        "--score",
        choices=(*SCORES,),
        metavar="METHOD",
        help=f"by which score: {', '.join(SCORES)} (default: what the model is made for)",
    )
    parser.add_argument("--end", action="store_true", help="with --score lm, score that a text ends, too")
    parser.add_argument("--group", metavar="NAME", help="the field that groups pairs (default: uid or group)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--tune-on",
        type=cli.path,
        metavar="FILE",
        help="with --errors, marked words that the threshold is tuned on",
    )
    how.add_argument(
        "--threshold", type=float, metavar="P", help="with --errors, the threshold (default: 0.5)"
    )
    cli.add_overrides(parser, "settings that win over those of the run; the model's own cannot change")
    args = parser.parse_args(argv)
    belongs = {
        "pairs": ("score", "group", "end"),
        "errors": ("tune_on", "threshold"),
        "sts": ("layer", "pooling"),
    }
    for what_for, names in belongs.items():
        if getattr(args, what_for) is None:
            _check_belongs(args, what_for, names)
    return args


def _evaluate_run(args: argparse.Namespace) -> int:
    """Evaluate a checkpoint on held-out text."""
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
    _check_held_out(trained.data, config.data, workdir.root)
    if args.stride is not None:
        _check_stride(config, args.stride)
    with joined(config.hosts):
        return _evaluate(common_settings(config), workdir, args.step, args.stride)


def _check_held_out(trained: DataConfig, data: DataConfig, root: Path) -> None:
    """Refuse to hold out of the run's own text what it was trained on.

    Raises:
        UserError: it names the settings.
    """
    if data.eval_source is not None or data.source != trained.source:
        return
    changes = {key: (getattr(trained, key), getattr(data, key)) for key in _CUT_DOCUMENTS}
    changes = {key: values for key, values in changes.items() if values[0] != values[1]}
    if trained.eval_source is not None:
        changes["eval_source"] = (trained.eval_source, None)
    if data.eval_fraction > trained.eval_fraction:
        changes["eval_fraction"] = (trained.eval_fraction, data.eval_fraction)
    if changes:
        given = listed(f"data.{key}: {show(old)} -> {show(new)}" for key, (old, new) in changes.items())
        raise UserError(
            f"what would be held out now, the run in {root} was trained on: {given}; leave this out, or name other "
            "text by data.eval_source"
        )


def _check_belongs(args: argparse.Namespace, what: str, names: Sequence[str]) -> None:
    """Refuse arguments that say how to evaluate something else.

    Raises:
        UserError: one of them is given.
    """
    if given := [name for name in names if getattr(args, name) not in (None, False)]:
        raise UserError(f"--{given[0].replace('_', '-')} says how to evaluate --{what}, which is missing")


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


def _check_as_it_is(args: argparse.Namespace, what: str) -> None:
    if args.stride is not None:
        raise UserError(
            f"--stride is for held-out text, and --{what} looks at texts one by one: leave it out"
        )
    if args.overrides:
        raise UserError(f"--{what} evaluates a model as it is: leave out {args.overrides[0]}")


def _load_as_it_is(args: argparse.Namespace, step: int | None) -> Model:
    keep_freed_memory()
    one_device_per_core()
    return load_with_notes(args.workdir, step)


def _step_to_load(args: argparse.Namespace) -> int | None:
    is_ours = detect_format(args.workdir).format == "electra_jax"
    return find_checkpoint(args.workdir, args.step)[0] if is_ours else args.step


def _report(args: argparse.Namespace, step: int | None, split: str, record: dict[str, Any]) -> int:
    """Print what was measured, and append it to the metrics of a run that is ours."""
    print(json.dumps({"step": step, **record}, indent=2, ensure_ascii=False))
    if step is not None and detect_format(args.workdir).format == "electra_jax":
        append_metrics_line(WorkDir(args.workdir).metrics, step, split, record)
    return 0


def _evaluate_pairs(args: argparse.Namespace) -> int:
    _check_as_it_is(args, "pairs")
    pairs = read_pairs(str(args.pairs), args.group)
    step = _step_to_load(args)
    if (known := trained_tasks(args.workdir)) is not None:
        # What the kind alone can refuse, before parameters are read.
        choose_method(args.score, known[0].objective, None, end=args.end)
    model = _load_as_it_is(args, step)
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
    return _report(args, step, "pairs", record)


def _evaluate_errors(args: argparse.Namespace) -> int:
    _check_as_it_is(args, "errors")
    threshold = 0.5 if args.threshold is None else args.threshold
    check_threshold(threshold)
    sentences = read_marked_sentences(args.errors)
    tuning = None if args.tune_on is None else read_marked_sentences(args.tune_on)
    step = _step_to_load(args)
    if (known := trained_tasks(args.workdir)) is not None:
        check_reviewer(known[0].objective, None, 0)
    model = _load_as_it_is(args, step)
    check_reviewer(model.config.objective, model._params, 0)
    if tuning is not None:
        threshold = best_threshold(suspicions_of_words(model, tuning), wrong_words(tuning))
    scores, wrong = suspicions_of_words(model, sentences), wrong_words(sentences)
    found = detection(scores, wrong, threshold)
    record: dict[str, Any] = {
        "f05": found.f05,
        "precision": found.precision,
        "recall": found.recall,
        "threshold": threshold,
        "auc": area_under_roc(scores, wrong),
        "average_precision": average_precision(scores, wrong),
        "f05_of_marking_all": detection(scores, wrong, 0.0).f05,
        "words": len(wrong),
        "wrong": int(wrong.sum()),
        "eval_source": str(args.errors),
        "tuned_on": None if args.tune_on is None else str(args.tune_on),
    }
    return _report(args, step, "errors", record)


def _evaluate_sts(args: argparse.Namespace) -> int:
    _check_as_it_is(args, "sts")
    files = [(str(path), read_scored_pairs(path)) for path in args.sts]
    step = _step_to_load(args)
    if (known := trained_tasks(args.workdir)) is not None:
        layers_named(args.layer, known[0].model.num_layers)
    model = _load_as_it_is(args, step)
    layers = layers_named(args.layer, model.config.model.num_layers)
    record = sts_figures(model, files, layers, args.pooling or "mean")
    return _report(args, step, "sts", {**record, "eval_source": ", ".join(name for name, _ in files)})


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
