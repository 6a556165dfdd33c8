"""Words marked wrong by corrections: ``python -m benchmarks.marked_words dev.src dev.ref0 dev.ref1 … > dev.tsv``.

Files have a sentence a line, its words apart, and each correction the same lines, as JFLEG (Napoles et al., EACL 2017)
has them. A word counts as wrong where at least half of the corrections do not keep it, by the longest matching blocks
of `difflib`. What is printed is a file for ``electra_jax.evaluate --errors``.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

from electra_jax import cli
from electra_jax.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Print the words and their marks."""
    parser = cli.bare_parser("benchmarks.marked_words", __doc__ or "")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="sentences, one a line")
    parser.add_argument(
        "corrections", type=Path, nargs="+", metavar="CORRECTION", help="the same lines, corrected"
    )
    args = parser.parse_args(argv)
    sources, *corrections = map(_lines, (args.source, *args.corrections))
    for path, lines in zip(args.corrections, corrections, strict=True):
        if len(lines) != len(sources):
            raise UserError(f"{path} has {len(lines):,} lines, and {args.source} has {len(sources):,}")
    for source, *corrected in zip(sources, *corrections, strict=True):
        words = source.split()
        marks = wrong_words(words, [line.split() for line in corrected])
        print(
            *(f"{word}\t{'i' if wrong else 'c'}" for word, wrong in zip(words, marks, strict=True)),
            "",
            sep="\n",
        )
    return 0


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 ({error.reason} at byte {error.start:,})") from error
    return text.removesuffix("\n").split("\n")


def wrong_words(words: Sequence[str], corrections: Sequence[Sequence[str]]) -> list[bool]:
    """Return of each word whether at least half of the corrections do not keep it."""
    lost = [0] * len(words)
    for corrected in corrections:
        kept = {
            block.a + offset
            for block in SequenceMatcher(None, words, corrected, autojunk=False).get_matching_blocks()
            for offset in range(block.size)
        }
        for place in range(len(words)):
            lost[place] += place not in kept
    return [2 * count >= len(corrections) for count in lost]


if __name__ == "__main__":
    cli.run(main)
