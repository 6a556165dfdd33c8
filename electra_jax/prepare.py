"""`python -m electra_jax.prepare --config FILE`: makes the tokenizer and the rows of tokens, and says where.

Training does the same when it starts; this command does it ahead, on a machine without accelerators.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from electra_jax import cli
from electra_jax.config.loading import validate
from electra_jax.config.schema import Config
from electra_jax.data.prepare import prepare
from electra_jax.data.token_rows import TokenRows
from electra_jax.errors import UserError
from electra_jax.files.json_files import read_object
from electra_jax.files.local_paths import local_path
from electra_jax.training.seed_selection import select_run


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

    So the rows are those that training reads: `training.start.resolve_cleaning` takes the same value, and cannot be
    called here, as it needs jax.

    Raises:
        UserError: there is no checkpoint, or it cannot be read.
    """
    if config.init_from is None or config.tokenizer.strip_accents is not None:
        return config
    checkpoint = _checkpoint_of_start(config.init_from)
    remedy = "restore it from a copy, or set tokenizer.strip_accents"
    saved = read_object(checkpoint / "run" / "metadata", remedy).get("config")
    if not isinstance(saved, dict):
        raise UserError(f"{checkpoint}/run/metadata holds no configuration: {remedy}")
    strip_accents = validate(saved, str(checkpoint)).tokenizer.strip_accents
    tokenizer = config.tokenizer.model_copy(update={"strip_accents": strip_accents})
    return config.model_copy(update={"tokenizer": tokenizer})


def _checkpoint_of_start(init_from: str) -> Path:
    """Return the checkpoint that ``init_from`` names, of a run its newest.

    Raises:
        UserError: there is none.
    """
    path = local_path(init_from, "init_from").absolute()
    if path.parent.name == "checkpoints" and _is_step(path):
        return path
    directory = select_run(path)[1] / "checkpoints"
    steps = (
        [int(there.name) for there in directory.iterdir() if _is_step(there)] if directory.is_dir() else []
    )
    if not steps:
        raise UserError(
            f"init_from {init_from}: there is no checkpoint in {directory}, whose run decides on accents: give the "
            "work directory of a run, or set tokenizer.strip_accents"
        )
    return directory / str(max(steps))


def _is_step(path: Path) -> bool:
    """Return whether a directory is a checkpoint: its name is its step as it is written, 17 and not 017 or ¹⁷."""
    return path.name.isdecimal() and str(int(path.name)) == path.name and path.is_dir()


def _line(name: str, rows: TokenRows) -> str:
    return (
        f"{name:<10} {rows.num_rows:,} rows of {rows.sequence_length}, {rows.num_tokens:,} tokens, "
        f"{rows.manifest.padding_share:.2%} padding, {rows.manifest.unknown_token_share:.2%} unknown, "
        f"{rows.most_frequent_token_share:.2%} the commonest token: "
        f"{rows.directory}"
    )


if __name__ == "__main__":
    cli.run(main)
