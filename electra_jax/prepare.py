"""`python -m electra_jax.prepare --config FILE`: makes the tokenizer and the rows of tokens, and says where.

Training does the same when it starts; this command does it ahead, on a machine without accelerators.
"""

from __future__ import annotations

from collections.abc import Sequence

from electra_jax import cli
from electra_jax.config.schema import Config
from electra_jax.data.prepare import prepare
from electra_jax.data.token_rows import TokenRows
from electra_jax.errors import UserError
from electra_jax.files.local_paths import local_path
from electra_jax.training.seed_selection import run_directory, select_run
from electra_jax.training.workdir import WorkDir


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare the data of a configuration; return the exit status."""
    parser = cli.parser(
        "electra_jax.prepare",
        "Prepares what training reads, and says where it is: a tokenizer (trained on the text, unless "
        "tokenizer.vocab_file names one) and rows of token ids, training and evaluation text apart.\n\n"
        "Everything is written below data.cache_dir, under names that are hashes of what decides the content: what "
        "is there already is used, and an interrupted preparation leaves nothing that could be taken for whole. "
        "Training does the same when it starts; this command needs no accelerator.",
        epilog="examples:\n"
        "  python -m electra_jax.prepare --config tiny\n"
        "  python -m electra_jax.prepare --config small 'data.source=text:corpus/*.jsonl.zst'\n",
        setting="data.sequence_length=256",
    )
    config = cli.load_config(parser.parse_args(argv))
    if config.finetuning:
        raise UserError(
            "there is nothing to prepare for fine-tuning: electra_jax.train reads the examples as they are"
        )
    config = _with_accents_of_start(config)
    prepared = prepare(config.data, config.tokenizer)
    tokenizer = prepared.tokenizer
    print(f"tokenizer  {tokenizer.kind}, {tokenizer.vocab_size:,} tokens: {prepared.tokenizer_dir}")
    print(_line("training", prepared.train))
    print(_line("evaluation", prepared.eval))
    return 0


def _with_accents_of_start(config: Config) -> Config:
    """Return the configuration with ``tokenizer.strip_accents`` of the run that ``init_from`` names, where it is null.

    So the rows are those that training reads, whose `training.start.resolve_cleaning` asks the checkpoint; that needs
    jax, and the run's config.yaml says the same.

    Raises:
        UserError: it is no run.
    """
    if config.init_from is None or config.tokenizer.strip_accents is not None:
        return config
    path = local_path(config.init_from, "init_from").absolute()
    is_checkpoint = path.parent.name == "checkpoints"
    run = run_directory(path.parent if is_checkpoint else select_run(path)[1] / "checkpoints")
    strip_accents = WorkDir(run).load_config().tokenizer.strip_accents
    tokenizer = config.tokenizer.model_copy(update={"strip_accents": strip_accents})
    return config.model_copy(update={"tokenizer": tokenizer})


def _line(name: str, rows: TokenRows) -> str:
    return (
        f"{name:<10} {rows.num_rows:,} rows of {rows.sequence_length}, {rows.num_tokens:,} tokens, "
        f"{rows.manifest.padding_share:.2%} padding, {rows.manifest.unknown_token_share:.2%} unknown, "
        f"{rows.most_frequent_token_share:.2%} the commonest token: "
        f"{rows.directory}"
    )


if __name__ == "__main__":
    cli.run(main)
