"""Held-out evaluation: ``python -m electra_jax.evaluate --workdir DIR [--step N] [key.path=value ...]``."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from electra_jax import cli
from electra_jax.config.compare import differences, format_differences
from electra_jax.data.prepare import prepare_eval_rows
from electra_jax.errors import UserError
from electra_jax.partitioning.mesh import check_batch, make_mesh
from electra_jax.tokenizers import load_tokenizer
from electra_jax.training.checkpoints import restore_params
from electra_jax.training.evaluation import evaluate
from electra_jax.training.logs import append_to
from electra_jax.training.program import build_program
from electra_jax.training.start import find_checkpoint
from electra_jax.training.workdir import WorkDir


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="electra_jax.evaluate",
        description="Evaluates a run on its held-out text, or on another (data.eval_source=...), over every row; "
        "prints the metrics as JSON and appends them to metrics.jsonl.",
        epilog="example:\n  python -m electra_jax.evaluate --workdir runs/tiny 'data.eval_source=text:other.txt'\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workdir", type=Path, required=True, help="directory of the run")
    parser.add_argument("--step", type=int, help="which checkpoint (default: the newest)")
    parser.add_argument(
        "overrides", nargs="*", metavar="key.path=value", help="settings that do not change the model"
    )
    args = parser.parse_args(argv)

    workdir = WorkDir(args.workdir)
    trained = workdir.load_config()
    config = workdir.load_config(args.overrides)
    model = [
        c for c in differences(trained, config) if c.key.split(".")[0] in ("model", "generator", "tokenizer")
    ]
    if model:
        raise UserError(
            f"the model in {workdir.root} cannot be evaluated as another: {format_differences(model)}"
        )
    step, directory = find_checkpoint(args.workdir, args.step)
    mesh = make_mesh(config.mesh)
    check_batch(config, mesh)
    tokenizer = load_tokenizer(workdir.tokenizer)
    rows = prepare_eval_rows(config, tokenizer)
    program = build_program(config, tokenizer, mesh)
    params = restore_params(directory, step, program.abstract.params)
    metrics = evaluate(
        program, params, rows, batch_size=config.train.batch_size, pad_id=tokenizer.pad_id, limit=None
    )
    record = {**metrics, "eval_source": config.data.eval_source or config.data.source}
    print(json.dumps({"step": step, **record}, indent=2))
    append_to(workdir.metrics, step, "eval", record)
    return 0


if __name__ == "__main__":
    cli.run(main)
