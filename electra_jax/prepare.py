"""`python -m electra_jax.prepare --config FILE`: makes the tokenizer and the rows of tokens, and says where.

Training does the same when it starts; this command does it ahead, on a machine without accelerators.
"""

from __future__ import annotations

from collections.abc import Sequence

from electra_jax import cli
from electra_jax.data.prepare import prepare
from electra_jax.data.token_rows import TokenRows


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares the data of a configuration; returns the exit status."""
    parser = cli.parser(
        "electra_jax.prepare", "Turn text into a tokenizer and rows of tokens, in data.cache_dir."
    )
    config = cli.load_config(parser.parse_args(argv))
    prepared = prepare(config)
    tokenizer = prepared.tokenizer
    print(f"tokenizer  {tokenizer.kind}, {tokenizer.vocab_size:,} tokens: {prepared.tokenizer_dir}")
    print(_line("training", prepared.train))
    print(_line("evaluation", prepared.eval))
    return 0


def _line(name: str, rows: TokenRows) -> str:
    return (
        f"{name:<10} {rows.num_rows:,} rows of {rows.sequence_length}, {rows.num_tokens:,} tokens, "
        f"{rows.manifest.padding_share:.2%} padding, {rows.manifest.unknown_token_share:.2%} unknown: "
        f"{rows.directory}"
    )


if __name__ == "__main__":
    cli.run(main)
