"""Held-out evaluation: ``python -m electra_jax.evaluate --workdir DIR [--step N] [key.path=value ...]``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from electra_jax import cli
from electra_jax.config.compare import Difference, differences, format_differences
from electra_jax.config.schema import Config
from electra_jax.data.prepare import check_prepare_eval, prepare_eval_rows
from electra_jax.distributed.agreement import broadcast_from_host_0, host_0_first, is_host_0
from electra_jax.distributed.common_settings import common_settings
from electra_jax.distributed.joining import joined
from electra_jax.errors import UserError
from electra_jax.partitioning.mesh import check_batch, make_mesh
from electra_jax.runtime.compilation_cache import use_compilation_cache
from electra_jax.runtime.malloc import keep_freed_memory
from electra_jax.tokenizers import load_tokenizer
from electra_jax.training.checkpoints import find_checkpoint, restore_params
from electra_jax.training.evaluation import evaluate
from electra_jax.training.logs import append_metrics_line
from electra_jax.training.program import build_program
from electra_jax.training.rolling_windows import evaluate_windows
from electra_jax.training.seed_selection import select_run
from electra_jax.training.workdir import WorkDir


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = cli.bare_parser(
        "electra_jax.evaluate",
        "Evaluates a checkpoint of a run on every row of its held-out text, or of another text "
        "(data.eval_source=...), with the run's own tokenizer.\n\n"
        "Prints the metrics as JSON on standard output and appends them to metrics.jsonl in the work directory, as "
        'a line of split "eval" with the checkpoint\'s step and an eval_source that says which text. What each '
        "metric means: docs/metrics.md.",
        epilog="examples:\n"
        "  python -m electra_jax.evaluate --workdir runs/tiny\n"
        "  python -m electra_jax.evaluate --workdir runs/tiny --step 1000 'data.eval_source=text:other/*.txt'\n",
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
    cli.add_overrides(parser, "settings that win over those of the run; the model's own cannot change")
    args = parser.parse_args(argv)

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
    if config.kind_of_run != "causal_lm":
        raise UserError(
            "--stride is for language models (objective.kind=causal_lm), and this is "
            f"{config.kind_of_run}: leave it out"
        )
    most = config.data.sequence_length - 2
    if not 0 <= stride <= most:
        raise UserError(
            f"--stride {stride} must be from 0 to {most}, so that a row of {most + 2} tokens has a new one"
        )
    if config.hosts.join == "on":
        raise UserError("--stride reads on one host: leave hosts.join=on out")


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
        print(json.dumps({"step": step, **record}, indent=2))
        append_metrics_line(workdir.metrics, step, "eval", record)
    return 0


def _find_checkpoint(root: Path, step: int | None) -> tuple[int, str]:
    step, directory = find_checkpoint(root, step)
    return step, str(directory)


def _changes_model(change: Difference) -> bool:
    return change.key == "objective.kind" or change.key.startswith(("model.", "generator.", "tokenizer."))


if __name__ == "__main__":
    cli.run(main)
